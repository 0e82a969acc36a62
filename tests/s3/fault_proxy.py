#!/usr/bin/env python3
"""Stands between an S3 client and its store and does to requests what networks and stores do to them.

    fault_proxy.py serve UPSTREAM_PORT [WORD...] [--port N] [--control N] [--seed N]
    fault_proxy.py tell CONTROL_PORT WORD...

serve prints "PORT CONTROL_PORT" once it listens (0 and no --port: any that are free). The words, at the start
and at any time later:

    rate=SHARE     of the requests that meet a fault, 0.2 say; faults=KIND,... limits it to those kinds
    stall=SECONDS  that a "stall" holds a request before it resets it
    delay=MS       that every request takes longer
    down=SECONDS   refuses connections, and resets those there are, for so long; up ends that early
    mode=NAME,...  strip-if-none-match, refuse-if-none-match, refuse-checksums: as stores that do not know them
    skew=SECONDS   by which the store's clock is ahead; needs S3_ACCESS_KEY and S3_SECRET_KEY, to sign anew
    counts         answers with what has been seen, as JSON; zero begins anew

SIGUSR1 prints the counts, and so does the end."""

import argparse
import asyncio
import collections
import contextlib
import datetime
import email.utils
import json
import os
import random
import re
import signal
import socket
import struct
import sys
import urllib.parse

import objects

CHUNK = 256 * 1024
MOST_REPEATED = 64 * 1024 * 1024  # bodies up to this size are kept, to be sent twice
ERRORS = {500: "InternalError", 501: "NotImplemented", 503: "SlowDown"}


class Reset(Exception):
    """The connection to the client is to be reset."""


class Faults:
    """One for each request, by chance."""
    WEIGHTS = {"500": 3, "503": 3, "reset-before": 3, "reset-after": 4, "stall": 1, "cut-response": 3,
               "cut-request": 3, "repeat": 3, "delay": 4}

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.rate = 0.0
        self.kinds = list(self.WEIGHTS)

    def draw(self):
        if self.rng.random() >= self.rate:
            return None
        return self.rng.choices(self.kinds, [self.WEIGHTS[kind] for kind in self.kinds])[0]


class Message:
    """The head of a request or an answer, and how long its body is."""

    def __init__(self, start, headers):
        self.start, self.headers = start, headers
        self.chunked = "chunked" in self.get("transfer-encoding", "").lower()
        self.length = int(self.get("content-length", "0"))

    @classmethod
    async def read(cls, reader):
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head[:-4].decode("latin-1").split("\r\n")
        return cls(lines[0], [tuple(part.strip() for part in line.split(":", 1)) for line in lines[1:]])

    def get(self, name, default=None):
        return next((value for key, value in self.headers if key.lower() == name), default)

    def set(self, name, value):
        self.remove(name)
        self.headers.append((name, value))

    def remove(self, name):
        self.headers = [(key, value) for key, value in self.headers if key.lower() != name]

    def encode(self):
        lines = [self.start, *(f"{name}: {value}" for name, value in self.headers)]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"

    async def body(self, reader, until_end=False):
        """Its pieces, as they come; those of a chunked body with what is between them."""
        left = self.length
        while left:
            piece = await reader.read(min(left, CHUNK))
            if not piece:
                raise ConnectionResetError
            left -= len(piece)
            yield piece
        while self.chunked:
            line = await reader.readuntil(b"\r\n")
            size = int(line.split(b";")[0], 16)
            yield line + await reader.readexactly(size + 2)
            if not size:
                return
        while until_end and (piece := await reader.read(CHUNK)):
            yield piece


class Request(Message):
    def __init__(self, start, headers):
        super().__init__(start, headers)
        self.method, self.target, _ = start.split(" ", 2)
        self.path, _, query = self.target.partition("?")
        self.query = urllib.parse.parse_qsl(query, keep_blank_values=True)

    def kind(self):
        """What is counted as one: "put", "list", "part", …"""
        names = {name for name, _ in self.query}
        of_bucket = len(self.path.strip("/").split("/")) == 1
        if "uploadId" in names:
            return {"PUT": "part", "POST": "complete", "DELETE": "abort"}.get(self.method, "list")
        for name, kind in (("uploads", "initiate" if self.method == "POST" else "list"), ("delete", "delete-many"),
                           ("list-type", "list"), ("versions", "list"), ("restore", "thaw")):
            if name in names:
                return kind
        properties = names - {"versionId", "prefix", "delimiter", "max-keys", "marker"}
        kind = " ".join((self.method.lower(), *("bucket" for _ in range(of_bucket)), *sorted(properties)))
        return "list" if kind == "get bucket" else kind

    def skewed_by(self, seconds):
        """Signs it anew, now. False if its time is too far from a clock that is so much ahead."""
        now = datetime.datetime.now(datetime.timezone.utc)
        sent = datetime.datetime.strptime(self.get("x-amz-date") + "+0000", "%Y%m%dT%H%M%SZ%z")
        if abs((now - sent).total_seconds() + seconds) > 900:
            return False
        headers = {name.lower(): value for name, value in self.headers}
        region = re.search(r"Credential=[^/]+/\d+/([^/]+)/", headers["authorization"])[1]
        keys = os.environ["S3_ACCESS_KEY"], os.environ["S3_SECRET_KEY"]
        headers["authorization"] = objects.sign(self.method, self.path, self.query, headers, keys, region, now)
        self.headers = list(headers.items())
        return True


class Proxy:
    def __init__(self, upstream_port, seed):
        self.upstream_port = upstream_port
        self.faults = Faults(seed)
        self.stall, self.delay, self.skew = 2.0, 0.0, 0.0
        self.modes = set()
        self.seen = collections.defaultdict(collections.Counter)
        self.clients = set()
        self.server = self.port = self.down = None

    # ---- Its life --------------------------------------------------------------------------------

    async def listen(self, port=0):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", port, limit=CHUNK, backlog=1000)
        self.port = self.server.sockets[0].getsockname()[1]

    async def be_down(self, seconds):
        self.server.close()
        for writer in list(self.clients):
            reset(writer)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(seconds)
        await self.listen(self.port)
        self.down = None

    async def tell(self, word):
        """Does what a word says; its answer."""
        name, _, value = word.partition("=")
        if name == "rate":
            self.faults.rate = float(value)
        elif name == "faults":
            self.faults.kinds = [kind for kind in Faults.WEIGHTS if not value or kind in value.split(",")]
        elif name == "mode":
            self.modes = set(filter(None, value.split(",")))
        elif name in ("stall", "skew"):
            setattr(self, name, float(value))
        elif name == "delay":
            self.delay = float(value) / 1000
        elif name in ("down", "up"):
            if self.down:
                self.down.cancel()
                await self.down
            if name == "down":
                self.down = asyncio.create_task(self.be_down(float(value)))
                await asyncio.sleep(0)  # so that it has begun
        elif name == "counts":
            return json.dumps(self.seen)
        elif name == "zero":
            self.seen.clear()
        else:
            return f"what is {word}?"
        return "ok"

    async def control(self, reader, writer):
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                writer.write((await self.tell(line.decode().strip())).encode() + b"\n")
                await writer.drain()
        writer.close()

    # ---- A connection ----------------------------------------------------------------------------

    async def serve(self, reader, writer):
        self.clients.add(writer)
        writer.transport.set_write_buffer_limits(high=1024 * 1024)
        connection = Connection(self, reader, writer)
        try:
            while await connection.exchange():
                pass
            writer.close()
        except (Reset, ConnectionError, asyncio.IncompleteReadError):
            reset(writer)
        finally:
            connection.end_upstream()
            self.clients.discard(writer)

    def refusal(self, request, fault):
        """The status with which the store would answer, without doing anything; or None."""
        if fault in ("500", "503"):
            return int(fault)
        if "refuse-if-none-match" in self.modes and request.get("if-none-match"):
            return 501
        if "refuse-checksums" in self.modes and any(
                name.lower().startswith(("x-amz-checksum-", "x-amz-sdk-checksum-")) for name, _ in request.headers):
            return 400
        if self.skew and not request.skewed_by(self.skew):
            return 403
        return None


def reset(writer):
    """So that the other side sees no end, but an error."""
    raw = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Connection:
    """Of one client, with one of its own to the store: exchange after exchange."""

    def __init__(self, proxy, reader, writer):
        self.proxy, self.reader, self.writer = proxy, reader, writer
        self.upstream = None  # (reader, writer)

    def end_upstream(self):
        if self.upstream:
            self.upstream[1].transport.abort()
        self.upstream = None

    async def connect(self):
        if self.upstream and not self.upstream[0].at_eof():
            return
        self.end_upstream()
        try:
            self.upstream = await asyncio.open_connection("127.0.0.1", self.proxy.upstream_port, limit=CHUNK)
        except OSError as error:
            raise Reset from error
        self.upstream[1].transport.set_write_buffer_limits(high=1024 * 1024)

    async def exchange(self):
        """One request and its answer; whether another may follow."""
        try:
            request = await Request.read(self.reader)
        except asyncio.IncompleteReadError as error:
            if error.partial:
                raise
            return False
        proxy = self.proxy
        proxy.seen["requests"][request.kind()] += 1
        fault = proxy.faults.draw()
        if fault:
            proxy.seen["faults"][fault] += 1
        await asyncio.sleep(proxy.delay + (proxy.faults.rng.uniform(0.01, 0.3) if fault == "delay" else 0))
        if fault == "stall":
            await asyncio.sleep(proxy.stall)
            raise Reset
        if fault == "reset-before" or fault == "cut-request" and request.length < 2:
            raise Reset
        status = proxy.refusal(request, fault)
        if status:
            return await self.refuse(request, status)
        if "strip-if-none-match" in proxy.modes:
            request.remove("if-none-match")
        if request.get("expect"):
            request.remove("expect")
            self.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await self.connect()
        if fault == "repeat" and not request.chunked and request.length <= MOST_REPEATED:
            return await self.repeat(request)
        return await self.forward(request, fault)

    async def refuse(self, request, status):
        waits = request.get("expect")  # then no body comes
        if not waits:
            async for _ in request.body(self.reader):
                pass
        code = {400: "InvalidRequest", 403: "RequestTimeTooSkewed"}.get(status) or ERRORS[status]
        body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>on purpose</Message></Error>'
        answer = Message(f"HTTP/1.1 {status} {code}", [("Content-Type", "application/xml")])
        answer.set("Content-Length", str(len(body)))
        answer.set("Date", self.date())
        if waits:
            answer.set("Connection", "close")
        self.proxy.seen["statuses"][str(status)] += 1
        self.writer.write(answer.encode() + (b"" if request.method == "HEAD" else body.encode()))
        await self.writer.drain()
        return not waits

    def date(self):
        moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=self.proxy.skew)
        return email.utils.format_datetime(moment, usegmt=True)

    async def send(self, request, cut):
        """The request's head and body to the store; half of the body where it is cut."""
        writer = self.upstream[1]
        writer.write(request.encode())
        sent = 0
        async for piece in request.body(self.reader):
            sent += len(piece)
            if cut and sent >= request.length // 2:
                writer.write(piece[:len(piece) // 2])
                await writer.drain()
                raise Reset
            writer.write(piece)
            await writer.drain()
        self.proxy.seen["bytes"]["up"] += sent
        await writer.drain()

    async def answer(self):
        """The head of the store's answer."""
        while True:
            answer = await Message.read(self.upstream[0])
            if not answer.start.startswith("HTTP/1.1 1"):
                return answer

    async def forward(self, request, fault):
        sending = asyncio.create_task(self.send(request, fault == "cut-request"))
        answering = asyncio.create_task(self.answer())
        try:
            await asyncio.wait({sending, answering}, return_when=asyncio.FIRST_COMPLETED)
            whole = sending.done()  # else the store answers before it has heard all
            if whole and not answering.done():
                await sending
            answer = await answering
        finally:
            for task in (sending, answering):
                task.cancel()
            await asyncio.gather(sending, answering, return_exceptions=True)
        return await self.relay(request, answer, fault) and whole

    async def repeat(self, request):
        body = b"".join([piece async for piece in request.body(self.reader)])
        for attempt in (1, 2):
            await self.connect()
            self.upstream[1].write(request.encode() + body)
            await self.upstream[1].drain()
            answer = await self.answer()
            if attempt == 1 and not await self.relay(request, answer, "discard"):
                self.end_upstream()
        return await self.relay(request, answer, None)

    async def relay(self, request, answer, fault):
        """The answer to the client, or to nobody; whether the connections can be used again."""
        status = answer.start.split(" ", 2)[1]
        self.proxy.seen["statuses"][status] += 1
        bare = request.method == "HEAD" or status in ("204", "304")
        if bare:
            answer.length, answer.chunked = 0, False
        until_end = not bare and not answer.chunked and answer.get("content-length") is None
        if self.proxy.skew:
            answer.set("Date", self.date())
        cut = fault == "cut-response"
        silent = fault in ("reset-after", "discard") or cut and not answer.length
        if not silent:
            self.writer.write(answer.encode())
        passed = 0
        async for piece in answer.body(self.upstream[0], until_end):
            passed += len(piece)
            if cut and passed >= answer.length // 2:
                self.writer.write(piece[:len(piece) // 2])
                await self.writer.drain()
                break
            if not silent:
                self.writer.write(piece)
                await self.writer.drain()
        self.proxy.seen["bytes"]["down"] += passed
        if cut or fault == "reset-after":
            raise Reset
        await self.writer.drain()
        return not until_end and answer.get("connection", "").lower() != "close"


async def serve(arguments):
    proxy = Proxy(arguments.upstream, arguments.seed)
    for word in arguments.words:
        print(await proxy.tell(word), file=sys.stderr)
    await proxy.listen(arguments.port)
    control = await asyncio.start_server(proxy.control, "127.0.0.1", arguments.control)
    print(proxy.port, control.sockets[0].getsockname()[1], flush=True)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, lambda: print(json.dumps(proxy.seen), flush=True))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    await ended.wait()
    print(json.dumps(proxy.seen), flush=True)
    os._exit(0)  # whatever is under way


def tell(port, words):
    with socket.create_connection(("127.0.0.1", port)) as connection, connection.makefile("rw") as file:
        for word in words:
            file.write(word + "\n")
            file.flush()
            answer = file.readline().strip()
            if answer != "ok":
                print(answer)


def main():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    serving = commands.add_parser("serve")
    serving.add_argument("upstream", type=int)
    for name in ("port", "control", "seed"):
        serving.add_argument(f"--{name}", type=int, default=0)
    telling = commands.add_parser("tell")
    telling.add_argument("port", type=int)
    for command in (serving, telling):
        command.add_argument("words", nargs="*")
    arguments = parser.parse_args()
    if arguments.command == "serve":
        asyncio.run(serve(arguments))
    else:
        tell(arguments.port, arguments.words)


if __name__ == "__main__":
    main()
