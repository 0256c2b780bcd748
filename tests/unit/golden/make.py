#!/usr/bin/env python3
"""Write the golden frames: bytes made from the schema by hand, in Python.

Shares no code with blockproto/.  Each NAME.hex holds one whole frame as it
stands on the wire; test_message_golden.c has the same values in C.  Frames
whose name begins with "old_" or "odd_" are only read, never written by us.
Run it in this directory; it must change nothing unless a frame is added.
"""

import hashlib
import struct

ID_A = bytes(range(32))
ID_B = hashlib.sha256(b"").digest()
SHORT_A = int.from_bytes(ID_A[:8], "big")
SHORT_B = int.from_bytes(ID_B[:8], "big")
EMPTY = hashlib.sha256(b"").digest()
HELLO_WORLD = hashlib.sha256(b"hello world\n").digest()
ZERO_128K = hashlib.sha256(bytes(131072)).digest()
ZERO_1 = hashlib.sha256(b"\0").digest()


def varint(v):
    v &= (1 << 64) - 1
    out = bytearray()
    while v > 0x7F:
        out.append(v & 0x7F | 0x80)
        v >>= 7
    out.append(v)
    return bytes(out)


def num(field, v):
    return varint(field << 3) + varint(v) if v else b""


def data(field, v):
    if isinstance(v, str):
        v = v.encode()
    return varint(field << 3 | 2) + varint(len(v)) + v if v else b""


def nested(field, v):
    return varint(field << 3 | 2) + varint(len(v)) + v


def vector(*counters):
    return b"".join(nested(1, num(1, i) + num(2, v)) for i, v in counters)


def block(offset, size, sha, weak=0):
    return nested(16, num(1, offset) + num(2, size) + data(3, sha) +
                  num(4, weak))


def file_info(name, kind=0, size=0, perms=0, mtime=0, ns=0, deleted=0,
              invalid=0, no_perms=0, version=b"", seq=0, by=0, block_size=0,
              platform=None, blocks=b"", link=b"", blocks_hash=b"",
              previous=b"", before=b"", after=b""):
    return nested(2, before + data(1, name) + num(2, kind) + num(3, size) +
                  num(4, perms) + num(5, mtime) + num(6, deleted) +
                  num(7, invalid) + num(8, no_perms) + nested(9, version) +
                  num(10, seq) + num(11, ns) + num(12, by) +
                  num(13, block_size) +
                  (nested(14, platform) if platform is not None else b"") +
                  blocks + data(17, link) + data(18, blocks_hash) +
                  data(20, previous) + after)


def frame(kind, body, compression=0, header_extra=b""):
    header = num(1, kind) + num(2, compression) + header_extra
    return (struct.pack(">H", len(header)) + header +
            struct.pack(">I", len(body)) + body)


def hello(body):
    return bytes.fromhex("2EA7D90B") + struct.pack(">H", len(body)) + body


def lz4_literals(body):
    """One LZ4 block without a match: a token, its lengths, the bytes."""
    n = len(body)
    if n < 15:
        out = bytes([n << 4])
    else:
        out = b"\xf0" + b"\xff" * ((n - 15) // 255) + bytes([(n - 15) % 255])
    return struct.pack(">I", n) + out + body


def sha(*hashes):
    return hashlib.sha256(b"".join(hashes)).digest()


HELLO = (data(1, "laptop") + data(2, "syncthing") + data(3, "v1.19.2") +
         num(4, 1) + num(5, 1700000000123456789))

CLUSTER_CONFIG = nested(
    1,
    data(1, "default") + data(2, "Default Folder") +
    nested(16, data(1, ID_A) + data(2, "laptop") +
           data(3, "tcp://192.0.2.1:22000") + data(3, "dynamic") +
           data(5, "syncthing") + num(6, 1234567) +
           num(8, 0x8000000000000001)) +
    nested(16, data(1, ID_B) + data(2, "phone") + num(4, 2) + num(7, 1) +
           num(9, 1) + data(10, b"\x01\xff\x00token"))) + nested(
    1,
    data(1, "paused") + num(3, 2) + num(7, 1) +
    nested(16, data(1, ID_A)))

DIR = file_info("docs", kind=1, perms=0o755, mtime=1600000000, ns=5,
                version=vector((SHORT_A, 1)), seq=1, by=SHORT_A)
FILE = file_info("docs/hello.txt", size=12, perms=0o644, mtime=1600000001,
                 ns=999999999,
                 version=vector((SHORT_A, 3), (SHORT_B, 1700000000)), seq=2,
                 by=SHORT_B, block_size=131072,
                 blocks=block(0, 12, HELLO_WORLD),
                 blocks_hash=sha(HELLO_WORLD))
EMPTY_FILE = file_info("empty", perms=0o600, mtime=-1,
                       version=vector((SHORT_A, 1)), seq=3, by=SHORT_A,
                       block_size=131072, blocks=block(0, 0, EMPTY),
                       blocks_hash=sha(EMPTY))
LINK = file_info("link", kind=4, no_perms=1, version=vector((SHORT_A, 2)),
                 seq=4, by=SHORT_A, link=b"../t\xffrget")
GONE = file_info("gone", perms=0o644, mtime=1600000002, deleted=1,
                 version=vector((SHORT_A, 2)), seq=5, by=SHORT_A)
UNSERVED = file_info("unserved", mtime=1600000003, invalid=1, no_perms=1,
                     version=vector((SHORT_A, 7)), seq=900, by=SHORT_A)
INDEX = data(1, "default") + DIR + FILE + EMPTY_FILE + LINK + GONE + UNSERVED
TWO_BLOCKS = file_info("two", size=131073, perms=0o644, mtime=1600000004,
                       version=vector((SHORT_A, 9)), seq=901, by=SHORT_A,
                       block_size=131072, platform=nested(
                           1, data(1, "user") + num(3, 1000) + num(4, 1000)),
                       blocks=block(0, 131072, ZERO_128K) +
                       block(131072, 1, ZERO_1),
                       blocks_hash=sha(ZERO_128K, ZERO_1),
                       previous=sha(HELLO_WORLD))

REQUEST = (num(1, 7) + data(2, "default") + data(3, "two") + num(4, 131072) +
           num(5, 1) + data(6, ZERO_1) + num(7, 1) + num(9, 1))

# The same file as a 1.19 sends it: weak hashes, a pre-2.0 blocks_hash, no
# version yet, fields in another order, and the extras of strangers.
OLD_FILE = file_info(
    "old.txt", size=12, perms=0o664, mtime=1600000001, seq=8, by=SHORT_A,
    block_size=131072, blocks=block(0, 12, HELLO_WORLD, 0x1E720467),
    version=vector((SHORT_A, 1)),
    blocks_hash=hashlib.sha256(HELLO_WORLD + bytes.fromhex("1e720467"))
    .digest(), before=num(2000, 5), after=data(2001, "unknown") +
    varint(2002 << 3 | 5) + b"\1\2\3\4" +
    varint(2003 << 3 | 1) + b"\1\2\3\4\5\6\7\x08")
OLD_LINK = file_info("old-link", kind=2, perms=0o777, seq=9, by=SHORT_A,
                     version=vector((SHORT_A, 1)), link="target")
OLD_DIR = file_info("dir128", kind=1, size=128, perms=0o755, seq=10,
                    version=vector((SHORT_A, 1)), platform=b"")
# Not canonical, twice the same field, and a type nobody knows.
ODD_FILES = (
    file_info("odd", size=5, perms=0o100644, mtime=1, ns=-1, seq=11,
              version=vector((SHORT_B, 2), (SHORT_A, 1), (7, 0)),
              blocks=block(0, 5, ZERO_1), after=num(3, 1) +
              block(1, 1, ZERO_1)) +
    file_info("type7", kind=7, seq=12, version=b"") +
    file_info("short", size=5, seq=13, version=b"",
              blocks=block(0, 5, ZERO_1[:31])) +
    file_info("neg", size=-5, seq=14, version=b"",
              blocks=block(0, -5, ZERO_1)))

PROGRESS = (data(1, "default") +
            nested(2, data(2, "two") + nested(3, vector((SHORT_A, 9))) +
                   varint(4 << 3) + varint(0) + varint(4 << 3) + varint(300) +
                   num(5, 131072)) +
            nested(2, num(1, 1) + data(2, "gone") + nested(3, b"")))
PROGRESS_PACKED = (data(1, "default") +
                   nested(2, data(2, "two") +
                          data(4, varint(0) + varint(300)) +
                          varint(4 << 3) + varint(-1) +
                          nested(3, vector((SHORT_A, 9))) + num(5, 131072)))

CHUNKS = (num(1, 3) +
          nested(3, varint(65536) + varint(16384) + varint(1)) +
          nested(4, struct.pack("<QQQ", 0x0102030405060708, 0,
                                0xFFFFFFFFFFFFFFFF)))

FRAMES = {
    "hello_empty": hello(b""),
    "hello": hello(HELLO),
    "hello_holdfast": hello(
        data(1, "hub") + data(2, "holdfast") + data(3, "v0.1.0") + num(4, 1) +
        num(5, 1700000000123456789) +
        nested(2047, num(1, 0x486F6C64) + num(2, 1) + num(3, 3))),
    "odd_hello_other_extension": hello(
        HELLO + nested(2047, num(1, 0x486F6C65) + num(2, 1) + num(3, 3)) +
        data(2000, bytes(range(256))) + num(1875, 9)),
    "cluster_config_empty": frame(0, b""),
    "cluster_config": frame(0, CLUSTER_CONFIG),
    "cluster_config_secondary": frame(0, num(2, 1)),
    "index": frame(1, INDEX + num(3, 900)),
    "index_empty": frame(1, data(1, "default")),
    "index_update": frame(2, data(1, "default") + TWO_BLOCKS + num(3, 901) +
                          num(4, 900)),
    "request": frame(3, REQUEST),
    "request_first": frame(3, data(2, "default") + data(3, "docs/hello.txt") +
                           num(5, 12) + data(6, HELLO_WORLD)),
    "response": frame(4, num(1, 7) + data(2, b"\0")),
    "response_refused": frame(4, num(1, -1) + num(3, 2)),
    "progress": frame(5, PROGRESS),
    "ping": frame(6, b""),
    "close": frame(7, data(1, "bye")),
    "chunks_request": frame(2001, num(1, 3) + data(2, "default") +
                            data(3, "two") +
                            nested(4, vector((SHORT_A, 9)))),
    "chunks_request_ranges": frame(
        2001, num(1, 4) + data(2, "default") + data(3, "two") +
        nested(4, vector((SHORT_A, 9))) +
        nested(5, varint(0) + varint(1 << 33)) +
        nested(6, varint(131072) + varint(1))),
    "chunks": frame(2002, CHUNKS),
    "chunks_refused": frame(2002, num(1, 3) + num(2, 1)),
    "echo": frame(2003, num(1, 0xFEDCBA9876543210)),
    "echo_reply": frame(2003, num(1, 0xFEDCBA9876543210) + num(2, 1)),
    "echo_more": frame(2003, num(1, 5) + num(4, 1)),
    "echo_facts": frame(2003, num(1, 5) + num(2, 1) + data(5, "laptop") +
                        data(6, "192.0.2.7:22000") + num(7, 3600)),
    "echo_refused": frame(2003, num(1, 5) + num(2, 1) + num(3, 1)),
    "signal": frame(2004, data(1, "over here")),
    "members": frame(2005, data(1, "who is one")),
    "forward_open": frame(2006, num(1, 1) + num(2, 1) + num(3, 1) +
                          num(4, 22) + num(5, 262144)),
    "forward_accept": frame(2006, num(1, 2) + num(2, 1) + num(5, 262144)),
    "forward_data": frame(2006, num(1, 3) + num(2, 0xFEDCBA9876543210) +
                          num(3, 1) + data(7, "SSH-2.0\r\n")),
    "forward_credit": frame(2006, num(1, 4) + num(2, 1) +
                            num(5, 0xFFFFFFFF)),
    "forward_end": frame(2006, num(1, 5) + num(2, 1) + num(3, 1)),
    "forward_reset": frame(2006, num(1, 6) + num(2, 1) + num(6, 2)),
    "old_index": frame(1, data(1, "default") + OLD_FILE + OLD_LINK + OLD_DIR,
                       header_extra=num(3, 77)),
    "odd_index": frame(1, data(1, "default") + ODD_FILES),
    "odd_index_lz4": frame(1, lz4_literals(INDEX + num(3, 900)), 1),
    "odd_progress_packed": frame(5, PROGRESS_PACKED),
    "odd_response_order": frame(4, data(2, b"wrong") + data(2, b"\0") +
                                num(1, 7)),
    "odd_unknown_type": frame(42, b"\xff\xff\xff"),
}

KNOWN = {
    "ping": "0002080600000000",
    "cluster_config_empty": "000000000000",
    "hello_empty": "2EA7D90B0000",
}


def main():
    for name, want in KNOWN.items():
        assert FRAMES[name] == bytes.fromhex(want), name
    assert EMPTY.hex().startswith("e3b0c442")
    assert ZERO_128K.hex().startswith("fa43239b")
    assert sha(EMPTY).hex().startswith("5df6e0e2761359d3")
    assert sha(HELLO_WORLD).hex().startswith("f83e4b6bba3efac4")
    assert FRAMES["odd_index_lz4"][:6] == bytes.fromhex("000408011001")
    for name, raw in FRAMES.items():
        text = raw.hex()
        with open(name + ".hex", "w", encoding="ascii") as out:
            for i in range(0, len(text), 64):
                out.write(text[i:i + 64] + "\n")


if __name__ == "__main__":
    main()
