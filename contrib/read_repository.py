#!/usr/bin/python3
"""Reads a Holdfast repository in a directory, with nothing of Holdfast: written from docs/format.md alone.

    read_repository.py --key FILE REPOSITORY list
    read_repository.py --key FILE REPOSITORY extract BACKUP DIRECTORY
    read_repository.py --key FILE REPOSITORY wal NAME > SEGMENT

NAME is an object's name (wal/SYSTEM/TIMELINE/FILE) or a WAL file's own name where only one has it. With
--passphrase-file FILE instead of --key, the repository is opened by the passphrase on its first line.

Needs Debian's python3-cryptography and python3-zstandard. It is made to be read beside the format, and
for the day on which nothing else is left; it is not fast. Every byte is authenticated before it is used.
"""

import argparse
import base64
import hashlib
import hmac
import json
import os
import pathlib
import sys

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

TAG = 16
MIB = 1024 * 1024
ZERO_CHUNK = bytes(32)


class Damaged(Exception):
    """An object is not what the format says."""


class KeyProblem(Exception):
    """The key does not open the repository."""


# ---- Integers, strings and the primitives


class Reader:
    """The bytes of one object, from the front. Every length is bounded by what is left."""

    def __init__(self, data, what):
        self.data, self.what, self.at = bytes(data), what, 0

    def left(self):
        return len(self.data) - self.at

    def raw(self, size):
        if size > self.left():
            raise Damaged(f"{self.what} is cut off")
        self.at += size
        return self.data[self.at - size : self.at]

    def fixed(self, size):
        return int.from_bytes(self.raw(size), "little")

    def u8(self):
        return self.fixed(1)

    def u32(self):
        return self.fixed(4)

    def u64(self):
        return self.fixed(8)

    def varint(self):
        value = 0
        for shift in range(0, 70, 7):
            byte = self.u8()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value >= 2**64:
                    break
                return value
        raise Damaged(f"{self.what} has an impossible varint")

    def count(self, item_size):
        number = self.varint()
        if number * item_size > self.left():
            raise Damaged(f"{self.what} is cut off")
        return number

    def bytes(self):
        return self.raw(self.varint())

    def magic(self, expected):
        if self.raw(8) != expected:
            raise Damaged(f"{self.what} does not begin as such an object does")

    def end(self):
        if self.left():
            raise Damaged(f"{self.what} has bytes behind its end")


def u32(value):
    return value.to_bytes(4, "little")


def u64(value):
    return value.to_bytes(8, "little")


def hkdf(salt, key, info, size=32):
    # An empty salt is that of RFC 5869: zero bytes.
    return HKDF(hashes.SHA256(), size, salt or None, info.encode()).derive(key)


def mac(key, *parts):
    return hmac.digest(key, b"".join(parts), "sha256")


def gcm_open(key, nonce, associated, sealed, what):
    try:
        return AESGCM(key).decrypt(nonce, sealed, associated)
    except (InvalidTag, ValueError) as error:
        raise Damaged(f"{what} does not authenticate") from error


def counter_nonce(counter, last=False):
    return u32(counter) + bytes([1 if last else 0]) + bytes(7)


def public_key_of(secret):
    public = X25519PrivateKey.from_private_bytes(secret).public_key()
    return public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def open_sealed(secret, context, associated, sealed, what):
    """Opens what was sealed to the public key of `secret`."""
    ephemeral = sealed[:32]
    try:
        shared = X25519PrivateKey.from_private_bytes(secret).exchange(
            X25519PublicKey.from_public_bytes(ephemeral)
        )
    except ValueError as error:
        raise Damaged(f"{what} does not authenticate") from error
    key = hkdf(ephemeral + public_key_of(secret), shared, "holdfast seal v1 " + context)
    return gcm_open(key, bytes(12), associated, sealed[32:], what)


def unpack(codec, data, length, limit, what):
    """The plain bytes: codec 0 is none, 1 is zstd."""
    if length > limit:
        raise Damaged(f"{what} has an impossible length")
    if codec == 0:
        plain = data
    elif codec == 1:
        try:
            # Decompressing in a stream takes no more memory than it gives.
            stream = zstandard.ZstdDecompressor().stream_reader(data)
            plain = stream.read(length + 1) if length else b""
        except zstandard.ZstdError as error:
            raise Damaged(f"{what} cannot be decompressed") from error
    else:
        raise Damaged(f"{what} has an unknown codec")
    if len(plain) != length:
        raise Damaged(f"{what} has a wrong length")
    return plain


def unpack_pages(data, length, limit, what):
    """The plain bytes of codec 2: zstd over pages that were rearranged."""
    if not data or not 9 <= data[0] <= 16 or length % (1 << data[0]):
        raise Damaged(f"{what} has an impossible page size")
    return restore_pages(unpack(1, data[1:], length, limit, what), 1 << data[0])


def restore_pages(rearranged, size):
    plain = bytearray(len(rearranged))
    count = len(plain) // size
    for k in range(24):
        plain[k::size] = rearranged[k * count : (k + 1) * count]
    for page in range(0, len(plain), size):
        body = rearranged[24 * count + page // size * (size - 24) :][: size - 24]
        plain[page + 24 : page + size] = body
        # These keep their places: pd_lower, pd_upper, pd_special, and the first line pointer.
        lower, upper, special = (u16_at(plain, page + at) for at in (12, 14, 16))
        stride = (u16_at(plain, page + 26) // 2 + 7) // 8 * 8
        if not (28 <= lower <= upper < special < size and 8 <= stride <= 64):
            continue
        if (special - upper) % stride:
            continue
        tuples = (special - upper) // stride
        for k in range(stride):
            column = body[upper - 24 + k * tuples :][:tuples]
            plain[page + upper + k : page + special : stride] = column
    return bytes(plain)


def u16_at(data, at):
    return int.from_bytes(data[at : at + 2], "little")


# ---- Keys


class Keyring:
    def __init__(self, data):
        reader = Reader(data, "the keyring")
        if reader.u8() != 1:
            raise Damaged("the keyring has an unknown version")
        self.repository = reader.raw(16)
        self.identity = reader.raw(32)
        self.metadata = reader.raw(32)
        self.secrets = {}  # by public key; None where it is write-only
        self.pairs = reader.count(33)
        for _ in range(self.pairs):
            public = reader.raw(32)
            self.secrets[public] = reader.raw(32) if reader.u8() == 1 else None
        reader.end()

    def full(self):
        return any(self.secrets.values())

    def secret_for(self, public, what):
        secret = self.secrets.get(public)
        if secret is None:
            raise KeyProblem(f"{what} cannot be read with this key")
        return secret


def parse_key_file(text):
    """The type and the payload of a key file."""
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    words = " ".join(lines).split()
    if len(words) < 3 or words[0] != "holdfast-key-1":
        raise KeyProblem("this is not a key file")
    head = lines[0].split()
    try:
        if len(head) == 4 and head[3] == "lines":
            data = read_typed_lines(lines[1:], int(head[2]))
        else:
            data = base64.b64decode("".join(words[2:]), validate=True)
    except ValueError as error:
        raise KeyProblem("the key file is cut off or altered") from error
    payload, checksum = data[:-4], data[-4:]
    if hashlib.sha256(payload).digest()[:4] != checksum:
        raise KeyProblem("the key file is cut off or altered")
    return words[1].upper(), payload


BASE32 = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def read_typed_lines(lines, count):
    """The bytes of a key that was printed in lines, each with its number and its check."""
    bytes_of = {}
    for line in lines:
        number, _, digits = line.upper().translate(str.maketrans("OIL", "011")).partition(":")
        values = [BASE32.index(digit) for digit in digits if digit not in " \t-"]
        bits = "".join(f"{value:05b}" for value in values)
        data_bits, check = bits[:-20], bits[-20:]
        data = bytes(int(data_bits[i : i + 8], 2) for i in range(0, len(data_bits) - 7, 8))
        digest = hashlib.sha256(u32(int(number)) + data).digest()
        if f"{int.from_bytes(digest[:3], 'big') >> 4:020b}" != check:
            raise KeyProblem(f"line {number} of the key is mistyped")
        bytes_of[int(number)] = data
    if sorted(bytes_of) != list(range(1, count + 1)):
        raise KeyProblem("a line of the key is missing")
    return b"".join(bytes_of[number] for number in sorted(bytes_of))


class Slot:
    def __init__(self, name, data):
        self.name = name
        reader = Reader(data, name)
        reader.magic(b"HFKEY\0\0\1")
        self.kind, self.rights = reader.u8(), reader.u8()
        self.repository = reader.raw(16)
        self.label = reader.bytes()
        reader.u64()  # created
        self.salt = reader.raw(16)
        self.cost = reader.u8(), reader.u8(), reader.u8()
        self.public_key = reader.raw(32)
        self.proof = reader.raw(32)
        self.head = data[: reader.at]
        self.sealed = reader.bytes()
        checked = name.encode() + data[: reader.at]
        if reader.raw(32) != hashlib.sha256(checked).digest():
            raise Damaged(f"{name} has a wrong checksum")
        reader.end()

    def secret(self, kind, user_secret):
        if kind == 1:
            return hkdf(self.salt, user_secret, "holdfast key file v1")
        log2_n, r, p = self.cost
        if not (14 <= log2_n <= 20 and 1 <= r <= 16 and 1 <= p <= 4):
            raise Damaged(f"{self.name} has an impossible cost")
        return hashlib.scrypt(
            user_secret, salt=self.salt, n=1 << log2_n, r=r, p=p, maxmem=3 << 30, dklen=32
        )

    def open(self, secret):
        associated = self.name.encode() + self.head
        keyring = Keyring(open_sealed(secret, "key slot", associated, self.sealed, self.name))
        proof_key = hkdf(self.salt, secret, "holdfast key slot proof v1")
        proof = mac(proof_key, keyring.repository, keyring.identity, keyring.metadata)
        if proof != self.proof or keyring.repository != self.repository:
            raise Damaged(f"{self.name} holds a keyring that was not made with this key")
        return keyring


# ---- The repository


class Repository:
    def __init__(self, root, kind, user_secret):
        """kind: 0 an exported keyring, 1 a key file, 2 a passphrase."""
        self.root = pathlib.Path(root)
        data = self.get("format")
        reader = Reader(data, "format")
        reader.magic(b"HFREPO\0\1")
        if reader.u32() != 1:
            raise Damaged("the repository has a version that this reader does not know")
        self.id = reader.raw(16)
        self.parameters = json.loads(reader.bytes())
        before = data[: reader.at]
        format_mac = reader.raw(32)
        reader.end()

        self.keys = Keyring(user_secret) if kind == 0 else self.open_slot(kind, user_secret)
        if self.keys.repository != self.id:
            raise KeyProblem("the key is of another repository")
        if format_mac != mac(self.keys.metadata, b"holdfast format v1", before):
            raise Damaged("format does not authenticate")
        self.chunks = None
        self.pack_keys = {}

    def get(self, name):
        path = self.root / name
        if not path.is_file():
            raise Damaged(f"{name} is missing")
        return path.read_bytes()

    def names(self, prefix):
        found = (self.root / prefix).rglob("*")
        return sorted(str(path.relative_to(self.root)) for path in found if path.is_file())

    def open_slot(self, kind, user_secret):
        fitting = []
        for name in self.names("keys"):
            try:
                slot = Slot(name, self.get(name))
                if slot.kind == kind and slot.repository == self.id:
                    secret = slot.secret(kind, user_secret)
                    if public_key_of(secret) == slot.public_key:
                        fitting.append(slot.open(secret))
            except Damaged as error:
                print(f"read_repository: {error}", file=sys.stderr)  # another slot may do
        if not fitting:
            raise KeyProblem("the key opens no slot of the repository")
        return max(fitting, key=lambda keyring: (keyring.full(), keyring.pairs))

    def get_metadata(self, name, kind):
        data = self.get(name)
        reader = Reader(data, name)
        reader.magic(b"HFMETA\0\1")
        stored_kind, codec, length, salt = reader.u8(), reader.u8(), reader.u64(), reader.raw(32)
        key = hkdf(salt, self.keys.metadata, "holdfast metadata v1")
        associated = data[:50] + self.id + name.encode()
        text = gcm_open(key, bytes(12), associated, reader.raw(reader.left()), name)
        if stored_kind != kind:
            raise Damaged(f"{name} is another kind of object")
        return unpack(codec, text, length, 1024 * MIB, name)

    # -- records

    def record(self, name):
        """(header, chunk ids of the file table)"""
        reader = Reader(self.get_metadata(name, 2), name)
        header = json.loads(reader.bytes())
        table = [reader.raw(32) for _ in range(reader.count(32))]
        for _ in range(reader.count(16)):
            reader.raw(16)  # the index objects that the backup wrote
        reader.end()
        return header, table

    def backups(self):
        return [self.record(name)[0] for name in self.names("backups")]

    # -- the index

    def load_index(self):
        """Chunk id -> (pack id, class, number, offset, stored length, plain length, codec, kind)."""
        self.chunks = {}
        indexed = set()
        for name in self.names("index"):
            reader = Reader(self.get_metadata(name, 1), name)
            for _ in range(reader.count(16 + 1 + 8 + 1)):
                pack, pack_class, _ = reader.raw(16), reader.u8(), reader.u64()
                self.add_pack(pack, pack_class, reader, with_pages=False)
                indexed.add(pack)
            if reader.left():
                for _ in range(reader.count(16)):
                    reader.raw(16)  # the index objects that this one replaces
            reader.end()
        for name in self.names("packs"):
            pack = bytes.fromhex(name.rpartition("/")[2])
            if pack not in indexed:
                self.add_unindexed(pack)

    def add_pack(self, pack, pack_class, reader, with_pages):
        offset = 121
        for number in range(reader.count(32 + 4)):
            chunk, kind, codec = reader.raw(32), reader.u8(), reader.u8()
            stored, length = reader.varint(), reader.varint()
            page_size = None
            if with_pages and kind == 1:
                page_size = reader.varint()
                if page_size == 0 or length % page_size:
                    raise Damaged("a pack's directory has an impossible page size")
                reader.raw(8 * (length // page_size))
            self.chunks[chunk] = (pack, pack_class, number, offset, stored, length, codec, kind)
            offset += stored

    def add_unindexed(self, pack):
        """A pack whose index object is missing: its own directory says the same."""
        name = pack_name(pack)
        data = self.get(name)
        if len(data) < 121 + 52:
            raise Damaged(f"{name} is cut off")
        head, foot = data[:121], Reader(data[-52:], name)
        length, sealed_length, salt = foot.u64(), foot.u32(), foot.raw(32)
        foot.magic(b"HFPACKE\1")
        if sealed_length > len(data) - 121 - 52:
            raise Damaged(f"{name} has a directory of an impossible length")
        sealed = data[len(data) - 52 - sealed_length : -52]
        key = hkdf(salt, self.keys.metadata, "holdfast pack directory v1")
        text = gcm_open(key, bytes(12), self.id + pack + head, sealed, name)
        reader = Reader(unpack(1, text, length, 64 * MIB, name), name)
        self.add_pack(pack, Reader(head[8:], name).u8(), reader, with_pages=True)
        reader.end()

    # -- chunks

    def pack_key(self, pack, pack_class):
        if pack not in self.pack_keys:
            name = pack_name(pack)
            with open(self.root / name, "rb") as file:
                reader = Reader(file.read(121), name)
            reader.magic(b"HFPACK\0\1")
            if reader.u8() != pack_class:
                raise Damaged(f"{name} is of another class than its index says")
            public_or_salt, sealed = reader.raw(32), reader.raw(80)
            if pack_class == 1:
                secret = self.keys.secret_for(public_or_salt, name)
                key = open_sealed(secret, "pack key", self.id + pack, sealed, name)
            else:
                key = hkdf(public_or_salt, self.keys.metadata, "holdfast metadata pack v1")
            self.pack_keys[pack] = key
        return self.pack_keys[pack]

    def chunk(self, chunk_id):
        if self.chunks is None:
            self.load_index()
        if chunk_id not in self.chunks:
            raise Damaged(f"chunk {chunk_id.hex()} is in no pack")
        pack, pack_class, number, offset, stored, length, codec, _ = self.chunks[chunk_id]
        what = f"chunk {chunk_id.hex()} in {pack_name(pack)}"
        key = self.pack_key(pack, pack_class)
        with open(self.root / pack_name(pack), "rb") as file:
            file.seek(offset)
            sealed = file.read(stored)
        associated = self.id + pack + chunk_id + bytes([codec]) + u32(length)
        text = gcm_open(key, counter_nonce(number), associated, sealed, what)
        if codec == 2:
            return unpack_pages(text, length, 4 * MIB, what)
        return unpack(codec, text, length, 4 * MIB, what)

    # -- files

    def files(self, table):
        for chunk_id in table:
            reader = Reader(self.chunk(chunk_id), "the file table")
            while reader.left():
                yield self.file_entry(reader)

    def file_entry(self, reader):
        entry = {"path": os.fsdecode(reader.bytes()), "type": reader.u8(), "mode": reader.varint()}
        has_attributes = entry["type"] & 0x80
        entry["type"] &= 0x7F
        entry["owner"], entry["uid"] = reader.bytes(), reader.varint()
        entry["group"], entry["gid"] = reader.bytes(), reader.varint()
        modified = reader.u64()
        entry["modified"] = modified - 2**64 if modified >= 2**63 else modified
        entry["size"] = reader.varint()
        entry["target"] = os.fsdecode(reader.bytes())
        where = reader.u8()
        if where == 0:
            entry["extents"] = read_extents(reader)
        elif where == 1:
            ids = [reader.raw(32) for _ in range(reader.count(32))]
            joined = Reader(b"".join(map(self.chunk, ids)), "the extents of " + entry["path"])
            entry["extents"] = read_extents(joined)
            joined.end()
        else:
            raise Damaged("the file table is of an unknown kind")
        entry.update(ns=0, xattrs={}, link=None)
        if has_attributes:
            self.read_attributes(reader, entry)
        parts = entry["path"].split("/")
        if any(part in ("", ".", "..") for part in parts) or "\0" in entry["path"]:
            raise Damaged(f"the file table has an impossible path: {entry['path']!r}")
        return entry

    @staticmethod
    def read_attributes(reader, entry):
        while tag := reader.u8():
            value = Reader(reader.bytes(), "an attribute of " + entry["path"])
            if tag == 1:
                entry["ns"] = value.varint()
            elif tag == 2:
                name = value.bytes()
                entry["xattrs"][os.fsdecode(name)] = value.raw(value.left())
            elif tag == 3:
                entry["link"] = os.fsdecode(value.raw(value.left()))
            elif tag not in (4, 5):
                raise Damaged(f"{entry['path']} has an attribute of an unknown kind")

    def write_file(self, entry, path):
        left = entry["size"]
        with open(path, "xb") as file:
            for length, chunk_id, offset in entry["extents"]:
                if length > left:
                    raise Damaged(f"{entry['path']} has more content than its size")
                left -= length
                if chunk_id == ZERO_CHUNK:
                    file.seek(length, os.SEEK_CUR)
                    file.truncate()
                    continue
                content = self.chunk(chunk_id)[offset : offset + length]
                if len(content) != length:
                    raise Damaged(f"{entry['path']} has an extent behind the end of a chunk")
                file.write(content)
            if left:
                raise Damaged(f"{entry['path']} has less content than its size")

    def extract(self, backup, directory):
        names = [name for name in self.names("backups") if name.endswith("/" + backup)]
        if not names:
            raise Damaged(f"there is no backup {backup}")
        _, table = self.record(names[0])
        root = pathlib.Path(directory)
        root.mkdir(parents=True, exist_ok=True)
        if any(root.iterdir()):
            raise Damaged(f"{directory} is not empty")
        entries = list(self.files(table))
        written = set()
        for entry in entries:
            path = root / entry["path"]
            if entry["type"] == 2:
                path.mkdir(parents=True, exist_ok=True)
            elif entry["type"] == 1:
                path.parent.mkdir(parents=True, exist_ok=True)
                if entry["link"] in written:
                    os.link(root / entry["link"], path)
                else:
                    self.write_file(entry, path)
                written.add(entry["path"])
            elif entry["type"] == 4:
                path.parent.mkdir(parents=True, exist_ok=True)
                os.mkfifo(path)
        # Links last, so that nothing is written through one; directories' own marks behind all.
        for entry in entries:
            if entry["type"] == 3:
                os.symlink(entry["target"], root / entry["path"])
        for entry in reversed(entries):
            path = root / entry["path"]
            if entry["type"] != 3:
                for name, value in entry["xattrs"].items():
                    os.setxattr(path, name, value)
                os.chmod(path, entry["mode"] & 0o7777)
                modified = entry["modified"] * 1000 + entry["ns"]
                os.utime(path, ns=(modified, modified))
        return len(entries)

    # -- log objects

    def log(self, name):
        """The content of a log object, piece by piece."""
        data = self.get(name)
        reader = Reader(data, name)
        reader.magic(b"HFLOG\0\0\1")
        public, sealed_key, salt = reader.raw(32), reader.raw(80), reader.raw(32)
        bound_to = self.id + name.encode()
        key = hkdf(salt, self.keys.metadata, "holdfast log metadata v1")
        sealed_metadata = reader.raw(reader.u32())
        body = gcm_open(key, bytes(12), bound_to + public + sealed_key, sealed_metadata, name)
        metadata = Reader(body, name)
        length, digest, _ = metadata.varint(), metadata.raw(32), metadata.u64()
        inline = metadata.bytes()

        prefix = hkdf(b"", self.keys.identity, "holdfast log frame v1", 64)
        frame_hashes = []
        total = 0
        frames = [inline] if inline else self.log_frames(reader, name, public, sealed_key, bound_to)
        for frame in frames:
            frame_hashes.append(hashlib.sha256(prefix + frame).digest())
            total += len(frame)
            yield frame
        reader.end()
        if total != length:
            raise Damaged(f"{name} does not hold as much as it says")
        if digest != mac(self.keys.identity, b"\2", u64(length), *frame_hashes):
            raise Damaged(f"{name} does not hold what was archived")

    def log_frames(self, reader, name, public, sealed_key, bound_to):
        if not reader.left():
            return
        secret = self.keys.secret_for(public, name)
        key = open_sealed(secret, "log key", bound_to, sealed_key, name)
        number = 0
        while reader.left():
            head = reader.raw(9)
            codec, length, stored = head[0], *(Reader(head[i : i + 4], name).u32() for i in (1, 5))
            sealed = reader.raw(stored)
            nonce = counter_nonce(number, last=not reader.left())
            text = gcm_open(key, nonce, bound_to + head, sealed, f"{name}, frame {number}")
            yield unpack(codec, text, length, 4 * MIB, name)
            number += 1


def read_extents(reader):
    return [
        (reader.varint(), reader.raw(32), reader.varint()) for _ in range(reader.count(1 + 32 + 1))
    ]


def pack_name(pack):
    return f"packs/{pack.hex()[:2]}/{pack.hex()}"


# ---- The program


def open_repository(arguments):
    if arguments.passphrase_file:
        text = pathlib.Path(arguments.passphrase_file).read_bytes()
        return Repository(arguments.repository, 2, text.splitlines()[0])
    kind, payload = parse_key_file(pathlib.Path(arguments.key).read_text("ascii", "replace"))
    if kind == "KEYFILE":
        return Repository(arguments.repository, 1, payload)
    if kind in ("FULL", "WRITE-ONLY"):
        return Repository(arguments.repository, 0, payload)
    raise KeyProblem("the key file is of an unknown type")


def find_log(repository, name):
    if "/" in name:
        return name
    matching = [found for found in repository.names("wal") if found.endswith("/" + name)]
    if len(matching) != 1:
        raise Damaged(f"{len(matching)} objects are named {name}")
    return matching[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    secret = parser.add_mutually_exclusive_group(required=True)
    secret.add_argument("--key", metavar="FILE", help="a key file, or an exported key")
    secret.add_argument("--passphrase-file", metavar="FILE")
    parser.add_argument("repository", help="the repository's directory")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="the records of all backups, one JSON object a line")
    extract = commands.add_parser("extract", help="a backup's files into an empty directory")
    extract.add_argument("backup")
    extract.add_argument("directory")
    wal = commands.add_parser("wal", help="a WAL object's content to stdout")
    wal.add_argument("name")
    arguments = parser.parse_args()
    try:
        repository = open_repository(arguments)
        if arguments.command == "list":
            for header in repository.backups():
                print(json.dumps(header, sort_keys=True))
        elif arguments.command == "extract":
            count = repository.extract(arguments.backup, arguments.directory)
            print(f"{count} entries", file=sys.stderr)
        else:
            # Nothing is printed before all of it has been authenticated.
            content = list(repository.log(find_log(repository, arguments.name)))
            sys.stdout.buffer.writelines(content)
    except (Damaged, KeyProblem, OSError) as error:
        sys.exit(f"read_repository: {error}")


if __name__ == "__main__":
    main()
