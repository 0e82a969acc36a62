#!/usr/bin/env python3
"""Looks into a repository from outside, and damages it: objects.py LOCATION COMMAND [ARGUMENT...].

LOCATION is a directory or s3://BUCKET[/PREFIX]; a bucket's store is named by S3_ENDPOINT, S3_ACCESS_KEY,
S3_SECRET_KEY and, where it is no throwaway one, S3_REGION, S3_CA_FILE. The commands are the functions
below that are marked so."""

import base64
import contextlib
import datetime
import hashlib
import hmac
import http.client
import json
import os
import re
import shutil
import signal
import ssl
import sys
import urllib.parse
import xml.etree.ElementTree

COMMANDS = {}


def command(name):
    def add(function):
        COMMANDS[name] = function
        return function
    return add


# ---- Requests --------------------------------------------------------------------------------------


class StoreError(Exception):
    def __init__(self, status, body, what):
        code = re.search(rb"<Code>([^<]*)", body)
        super().__init__(f"{what}: {status} {code[1].decode() if code else ''}")
        self.status = status


def sign(method, path, query, headers, keys, region, now):
    """The Authorization of a request whose headers (names in lower case) hold host and
    x-amz-content-sha256; sets x-amz-date. path is encoded, query a list of pairs."""
    def digest(key, text):
        return hmac.new(key, text.encode(), hashlib.sha256).digest()

    moment = now.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{moment[:8]}/{region}/s3/aws4_request"
    headers["x-amz-date"] = moment
    signed = sorted(name for name in headers if name in ("host", "content-md5") or name.startswith("x-amz-"))
    names = ";".join(signed)
    canonical = "\n".join((method, path, encode_query(query), *(f"{name}:{headers[name].strip()}" for name in signed),
                           "", names, headers["x-amz-content-sha256"]))
    text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = ("AWS4" + keys[1]).encode()
    for part in scope.split("/"):
        key = digest(key, part)
    return (f"AWS4-HMAC-SHA256 Credential={keys[0]}/{scope}, SignedHeaders={names}, "
            f"Signature={digest(key, text).hex()}")


def encode_query(query):
    return "&".join(sorted(f"{urllib.parse.quote(name, safe='~')}={urllib.parse.quote(value, safe='~')}"
                           for name, value in query))


class Store:
    """A connection to an S3 server, in path style."""

    def __init__(self, environment=None):
        environment = environment or os.environ
        self.url = urllib.parse.urlsplit(environment["S3_ENDPOINT"])
        self.keys = environment["S3_ACCESS_KEY"], environment["S3_SECRET_KEY"]
        self.region = environment.get("S3_REGION", "us-east-1")
        if self.url.scheme == "https":
            context = ssl.create_default_context(cafile=environment.get("S3_CA_FILE"))
            self.connection = http.client.HTTPSConnection(self.url.netloc, timeout=60, context=context)
        else:
            self.connection = http.client.HTTPConnection(self.url.netloc, timeout=60)

    def request(self, method, path, query=(), headers=None, body=b""):
        """(headers, body) of the answer; StoreError if it is no success."""
        path = urllib.parse.quote(path, safe="/~")
        headers = {name.lower(): value for name, value in (headers or {}).items()}
        headers["host"] = self.url.netloc
        headers["x-amz-content-sha256"] = hashlib.sha256(body).hexdigest()
        now = datetime.datetime.now(datetime.timezone.utc)
        headers["authorization"] = sign(method, path, query, headers, self.keys, self.region, now)
        text = encode_query(query)
        self.connection.request(method, f"{path}?{text}" if text else path, body, headers)
        response = self.connection.getresponse()
        answer = response.read()
        if response.status >= 300:
            raise StoreError(response.status, answer, f"{method} {path}?{text}")
        return {name.lower(): value for name, value in response.getheaders()}, answer


def parse(answer):
    text = re.sub(rb' xmlns="[^"]*"', b"", answer, count=1)
    return xml.etree.ElementTree.fromstring(text)


def seconds(moment):
    return datetime.datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp()


# ---- Places where objects are ----------------------------------------------------------------------


class Bucket:
    def __init__(self, bucket, prefix, store=None):
        self.store = store or Store()
        self.path = f"/{bucket}"
        self.prefix = f"{prefix}/" if prefix else ""

    def request(self, method, name, query=(), headers=None, body=b""):
        return self.store.request(method, f"{self.path}/{self.prefix}{name}", query, headers, body)

    def pages(self, query, next_key):
        """Every element of a listing, which comes in pages."""
        marker = []
        while True:
            page = parse(self.store.request("GET", self.path, [*query, *marker])[1])
            yield from page
            if page.findtext("IsTruncated") != "true":
                return
            marker = [(name, page.findtext(element)) for name, element in next_key.items()]

    def list(self, prefix):
        """(name, size, seconds when it was put) of each, sorted."""
        query = [("list-type", "2"), ("prefix", self.prefix + prefix)]
        return [(entry.findtext("Key")[len(self.prefix):], int(entry.findtext("Size")),
                 seconds(entry.findtext("LastModified")))
                for entry in self.pages(query, {"continuation-token": "NextContinuationToken"})
                if entry.tag == "Contents"]

    def versions(self, prefix):
        """(name, version, kind, size) of each version and each delete marker, the newest first."""
        query = [("versions", ""), ("prefix", self.prefix + prefix)]
        return [(entry.findtext("Key")[len(self.prefix):], entry.findtext("VersionId"), entry.tag,
                 int(entry.findtext("Size", "0")))
                for entry in self.pages(query, {"key-marker": "NextKeyMarker",
                                                "version-id-marker": "NextVersionIdMarker"})
                if entry.tag in ("Version", "DeleteMarker")]

    def get(self, name):
        return self.request("GET", name)[1]

    def put(self, name, content, headers=None):
        self.request("PUT", name, headers=headers, body=content)

    def remove(self, name, version=None):
        self.request("DELETE", name, [("versionId", version)] if version else ())

    def set(self, what, document):
        """A property of the bucket: its policy, its versioning."""
        body = document.encode()
        headers = {"Content-MD5": base64.b64encode(hashlib.md5(body).digest()).decode()}
        self.store.request("PUT", self.path, [(what, "")], headers, body)


class Directory:
    def __init__(self, root):
        self.root = root

    def list(self, prefix):
        found = []
        for folder, _, files in os.walk(os.path.join(self.root, os.path.dirname(prefix))):
            for file in files:
                path = os.path.join(folder, file)
                name = os.path.relpath(path, self.root)
                if not name.startswith(prefix) or name.startswith("tmp/"):
                    continue
                with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                    status = os.stat(path)
                    found.append((name, status.st_size, status.st_mtime))
        return sorted(found)

    def get(self, name):
        with open(os.path.join(self.root, name), "rb") as file:
            return file.read()

    def put(self, name, content):
        path = os.path.join(self.root, name)
        folder = os.path.dirname(path)
        os.makedirs(folder, exist_ok=True)
        if os.path.exists(path):
            os.unlink(path)
        with open(path, "xb") as file:
            file.write(content)
        status = os.stat(folder)
        os.chmod(path, 0o600)
        os.chown(path, status.st_uid, status.st_gid)

    def remove(self, name):
        os.unlink(os.path.join(self.root, name))


def open_location(location):
    if not location.startswith("s3://"):
        return Directory(location)
    bucket, _, prefix = location[5:].partition("/")
    return Bucket(bucket, prefix.rstrip("/"))


# ---- Commands: of directories and buckets ----------------------------------------------------------


@command("ls")
def list_objects(place, prefix="", *, long=False):
    """[PREFIX] [--long]: names; with --long size and time too."""
    for name, size, moment in place.list(prefix):
        print(f"{name} {size} {moment:.3f}" if long else name)


@command("newest")
def newest(place, prefix=""):
    """[PREFIX]: the second in which the newest object was put, 0 if there is none."""
    print(int(max((moment for _, _, moment in place.list(prefix)), default=0)))


@command("bytes")
def count_bytes(place, prefix=""):
    """[PREFIX]: how many bytes the objects have together."""
    print(sum(size for _, size, _ in place.list(prefix)))


@command("get")
def get(place, name, file):
    """NAME FILE"""
    with open(file, "wb") as target:
        target.write(place.get(name))


@command("put")
def put(place, name, file):
    """NAME FILE: also over what is there."""
    with open(file, "rb") as source:
        place.put(name, source.read())


@command("rm")
def remove(place, *names):
    """NAME..."""
    for name in names:
        place.remove(name)


@command("damage")
def damage(place, name, how):
    """NAME flip|cut|spoil: one bit of it, in the middle; its last byte; four bytes near its end."""
    content = bytearray(place.get(name))
    if how == "flip":
        content[len(content) // 2] ^= 1
    elif how == "cut":
        del content[-1]
    else:
        content[-100:-96] = b"XXXX"
    place.put(name, bytes(content))


@command("save")
def save(place, directory):
    """DIRECTORY: a copy of everything, to be looked at."""
    for name, _, _ in place.list(""):
        path = os.path.join(directory, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(place.get(name))


@command("stop-at")
def stop_at(place, prefix, count, process):
    """PREFIX COUNT PROCESS: SIGSTOP to the process once there are so many objects. Exits 1 if it ends first."""
    process = int(process)
    try:
        while len(place.list(prefix)) < int(count):
            with open(f"/proc/{process}/stat", encoding="ascii") as file:
                if file.read().rpartition(")")[2].split()[0] == "Z":
                    sys.exit(1)
        os.kill(process, signal.SIGSTOP)
    except (FileNotFoundError, ProcessLookupError):
        sys.exit(1)


@command("empty")
def empty(place):
    """Removes everything."""
    if isinstance(place, Directory):
        shutil.rmtree(place.root)
        return
    for name, version, _, _ in place.versions(""):
        place.remove(name, version)


# ---- Commands: of buckets alone --------------------------------------------------------------------


@command("make-bucket")
def make_bucket(place, *, versioned=False, object_lock=False):
    """[--versioned] [--object-lock]"""
    headers = {"x-amz-bucket-object-lock-enabled": "true"} if object_lock else None
    place.store.request("PUT", place.path, headers=headers)
    if versioned:
        place.set("versioning", "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>")


@command("head")
def head(place, name, version=None):
    """NAME [VERSION]: the headers of an answer to HEAD, as JSON."""
    print(json.dumps(place.request("HEAD", name, [("versionId", version)] if version else ())[0]))


@command("versions")
def list_versions(place, prefix=""):
    """[PREFIX]: NAME VERSION Version|DeleteMarker SIZE, the newest of each name first."""
    for entry in place.versions(prefix):
        print(*entry)


@command("rm-version")
def remove_version(place, name, version):
    """NAME VERSION: destroys it."""
    place.remove(name, version)


@command("lock")
def lock(place, name, time):
    """NAME SECONDS: locks it for so long from now on."""
    until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=int(time))
    place.request("PUT", name, [("retention", "")], body=(
        "<Retention><Mode>COMPLIANCE</Mode>"
        f"<RetainUntilDate>{until:%Y-%m-%dT%H:%M:%SZ}</RetainUntilDate></Retention>").encode())


@command("attack")
def attack(place):
    """Destroys all that these credentials can: each version of each object, by every way there is to shorten
    its retention first; then overwrites and deletes every name. Prints the names of which a version is gone."""
    names = set()
    for name, version, kind, _ in place.versions(""):
        names.add(name)
        soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=1)
        retention = f"<RetainUntilDate>{soon:%Y-%m-%dT%H:%M:%SZ}</RetainUntilDate></Retention>"
        bypass = {"x-amz-bypass-governance-retention": "true"}
        for body in ("<Retention/>", "<Retention><Mode>GOVERNANCE</Mode>" + retention,
                     "<Retention><Mode>COMPLIANCE</Mode>" + retention):
            with contextlib.suppress(StoreError):
                place.request("PUT", name, [("retention", ""), ("versionId", version)], bypass, body.encode())
        with contextlib.suppress(StoreError):
            place.request("DELETE", name, [("versionId", version)], bypass)
            print(name, kind)
    for name in names:
        place.put(name, b"nothing is left of it")
        place.remove(name)


@command("uploads")
def list_uploads(place, prefix=""):
    """[PREFIX]: NAME UPLOAD of the multipart uploads that are not finished."""
    query = [("uploads", ""), ("prefix", place.prefix + prefix)]
    for entry in place.pages(query, {"key-marker": "NextKeyMarker", "upload-id-marker": "NextUploadIdMarker"}):
        if entry.tag == "Upload":
            print(entry.findtext("Key")[len(place.prefix):], entry.findtext("UploadId"))


@command("begin-upload")
def begin_upload(place, name):
    """NAME: begins a multipart upload, sends a part, and leaves it so."""
    upload = parse(place.request("POST", name, [("uploads", "")])[1]).findtext("UploadId")
    place.request("PUT", name, [("partNumber", "1"), ("uploadId", upload)], body=b"x" * 5 * 1024 * 1024)


@command("policy")
def set_policy(place, file, user=None):
    """FILE [USER]: the bucket's policy; with USER an IAM policy becomes one of the bucket for that user.
    FILE - removes it."""
    if file == "-":
        place.store.request("DELETE", place.path, [("policy", "")])
        return
    with open(file, encoding="utf-8") as source:
        policy = json.load(source)
    for statement in policy["Statement"] if user else ():
        statement["Principal"] = {"AWS": f"arn:aws:iam:::user/{user}"}
    place.set("policy", json.dumps(policy))


def main():
    arguments = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
    options = {argument[2:].replace("-", "_"): True for argument in sys.argv[1:] if argument.startswith("--")}
    if len(arguments) < 2 or arguments[1] not in COMMANDS:
        lines = [f"  {name} {function.__doc__}" for name, function in COMMANDS.items()]
        sys.exit("usage: objects.py LOCATION COMMAND [ARGUMENT...]\n" + "\n".join(lines))
    try:
        COMMANDS[arguments[1]](open_location(arguments[0]), *arguments[2:], **options)
    except StoreError as error:
        print(f"objects.py: {error}", file=sys.stderr)
        sys.exit(3 if error.status == 403 else 4 if error.status == 404 else 1)
    except (OSError, http.client.HTTPException) as error:
        sys.exit(f"objects.py: {error}")


if __name__ == "__main__":
    main()
