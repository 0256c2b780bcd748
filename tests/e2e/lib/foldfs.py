"""A file system like those on memory cards, for kernels that have none.

In memory, spoken to by the kernel's FUSE protocol.  "A" and "a" are one name
and the first spelling stays; times are kept to two seconds; there are no
permission bits and no exchange of names.  Symbolic links there are, so that
it can be seen where they lead.

    foldfs.py DIRECTORY      mounts there and serves until it is unmounted
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

import pytest

_NAME_MAX = 255
_MAX_WRITE = 1 << 17
_ROOT = 1
(LOOKUP, FORGET, GETATTR, SETATTR, READLINK, SYMLINK) = range(1, 7)
(MKNOD, MKDIR, UNLINK, RMDIR, RENAME, LINK, OPEN, READ, WRITE, STATFS,
 RELEASE) = range(8, 19)
(FSYNC, FLUSH, INIT, OPENDIR, READDIR, RELEASEDIR, FSYNCDIR, CREATE,
 INTERRUPT, DESTROY, BATCH_FORGET, RENAME2, SYNCFS) = (
    20, 25, 26, 27, 28, 29, 30, 35, 36, 38, 42, 45, 50)
_NO_ANSWER = (FORGET, BATCH_FORGET, INTERRUPT)
_NOTHING_TO_DO = (RELEASE, RELEASEDIR, FSYNC, FSYNCDIR, FLUSH, SYNCFS,
                  DESTROY)


class Refused(Exception):
    """An errno, as the answer."""


@dataclass
class Inode:
    number: int
    kind: int  # stat.S_IFREG, S_IFDIR, S_IFLNK
    data: bytearray = field(default_factory=bytearray)
    names: dict[bytes, tuple[bytes, "Inode"]] = field(default_factory=dict)
    mtime_ns: int = 0
    ctime_ns: int = 0
    linked: bool = True

    def attr(self) -> bytes:
        size = len(self.data)
        s, ns = divmod(self.mtime_ns, 10 ** 9)
        cs, cns = divmod(self.ctime_ns, 10 ** 9)
        return struct.pack(
            "<QQQQqqIIIIIIIIII", self.number, size, (size + 511) // 512, s,
            s, cs, ns, ns, cns, self.kind | 0o755, int(self.linked),
            os.getuid(), os.getgid(), 0, 4096, 0)


def fold(name: bytes) -> bytes:
    return name.decode("utf-8", "surrogateescape").casefold().encode(
        "utf-8", "surrogateescape")


def coarse(ns: int) -> int:
    return ns // (2 * 10 ** 9) * (2 * 10 ** 9)


class FoldFs:
    """One mount.  Nothing is ever forgotten; tests are short."""

    def __init__(self, fd: int):
        self.fd = fd
        self.inodes: dict[int, Inode] = {}
        self.make(stat.S_IFDIR)
        self.calls: dict[int, Callable[[int, bytes], bytes]] = {
            INIT: self.init, LOOKUP: self.lookup, GETATTR: self.getattr,
            SETATTR: self.setattr, READLINK: self.readlink,
            SYMLINK: self.symlink, MKNOD: self.mknod, MKDIR: self.mkdir,
            UNLINK: self.unlink, RMDIR: self.rmdir, RENAME: self.rename,
            RENAME2: self.rename2, OPEN: self.open, OPENDIR: self.open,
            READ: self.read, WRITE: self.write, STATFS: self.statfs,
            READDIR: self.readdir, CREATE: self.create}

    def serve(self) -> None:
        while True:
            try:
                request = os.read(self.fd, _MAX_WRITE + 4096)
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return  # unmounted
                continue
            _, code, unique, node = struct.unpack_from("<IIQQ", request)
            if code in _NO_ANSWER:
                continue
            number, body = 0, b""
            try:
                if code in self.calls:
                    body = self.calls[code](node, request[40:])
                elif code not in _NOTHING_TO_DO:
                    raise Refused(errno.ENOSYS)
            except Refused as refused:
                number = refused.args[0]
            try:
                os.write(self.fd, struct.pack("<IiQ", 16 + len(body),
                                              -number, unique) + body)
            except OSError:
                pass  # whoever asked is gone

    # -- inodes --------------------------------------------------------------

    def make(self, kind: int) -> Inode:
        now = time.time_ns()
        made = Inode(len(self.inodes) + _ROOT, kind,
                     mtime_ns=coarse(now), ctime_ns=now)
        self.inodes[made.number] = made
        return made

    def find(self, node: int, name: bytes) -> Inode:
        found = self.inodes[node].names.get(fold(name))
        if found is None:
            raise Refused(errno.ENOENT)
        return found[1]

    def put(self, node: int, name: bytes, inode: Inode) -> None:
        if len(name) > _NAME_MAX:
            raise Refused(errno.ENAMETOOLONG)
        place = self.inodes[node]
        place.names[fold(name)] = (name, inode)
        self.touch(place)

    def take(self, node: int, name: bytes) -> Inode:
        inode = self.find(node, name)
        del self.inodes[node].names[fold(name)]
        self.touch(self.inodes[node])
        return inode

    @staticmethod
    def touch(inode: Inode) -> None:
        inode.ctime_ns = time.time_ns()
        inode.mtime_ns = coarse(inode.ctime_ns)

    @staticmethod
    def entry(inode: Inode) -> bytes:
        return struct.pack("<QQQQII", inode.number, 0, 0, 0, 0, 0) \
            + inode.attr()

    def new(self, node: int, name: bytes, kind: int) -> Inode:
        if fold(name) in self.inodes[node].names:
            raise Refused(errno.EEXIST)
        made = self.make(kind)
        self.put(node, name, made)
        return made

    # -- requests ------------------------------------------------------------

    def init(self, node: int, arg: bytes) -> bytes:
        major, minor = struct.unpack_from("<II", arg)
        flags = 1 << 5  # big writes
        return struct.pack("<IIIIHHIIHHI28x", major, min(minor, 36), 1 << 17,
                           flags, 12, 9, _MAX_WRITE, 1, 0, 0, 0)

    def lookup(self, node: int, arg: bytes) -> bytes:
        return self.entry(self.find(node, arg.rstrip(b"\0")))

    def getattr(self, node: int, arg: bytes) -> bytes:
        return struct.pack("<QII", 0, 0, 0) + self.inodes[node].attr()

    def setattr(self, node: int, arg: bytes) -> bytes:
        inode = self.inodes[node]
        valid, _, _, size, _, _, mtime, _, _, mtime_ns = struct.unpack_from(
            "<IIQQQqqqII", arg)
        inode.ctime_ns = time.time_ns()
        if valid & 8:
            del inode.data[size:]
            inode.data.extend(bytes(size - len(inode.data)))
            inode.mtime_ns = coarse(inode.ctime_ns)
        if valid & 256:
            inode.mtime_ns = coarse(inode.ctime_ns)
        elif valid & 32:
            inode.mtime_ns = coarse(mtime * 10 ** 9 + mtime_ns)
        return self.getattr(node, b"")

    def readlink(self, node: int, arg: bytes) -> bytes:
        return bytes(self.inodes[node].data)

    def symlink(self, node: int, arg: bytes) -> bytes:
        name, target = arg.split(b"\0")[:2]
        made = self.new(node, name, stat.S_IFLNK)
        made.data[:] = target
        return self.entry(made)

    def mknod(self, node: int, arg: bytes) -> bytes:
        mode, = struct.unpack_from("<I", arg)
        if not stat.S_ISREG(mode):
            raise Refused(errno.EPERM)
        return self.entry(self.new(node, arg[16:].rstrip(b"\0"),
                                   stat.S_IFREG))

    def mkdir(self, node: int, arg: bytes) -> bytes:
        return self.entry(self.new(node, arg[8:].rstrip(b"\0"),
                                   stat.S_IFDIR))

    def unlink(self, node: int, arg: bytes) -> bytes:
        gone = self.take(node, arg.rstrip(b"\0"))
        gone.linked = False
        gone.ctime_ns = time.time_ns()
        return b""

    def rmdir(self, node: int, arg: bytes) -> bytes:
        if self.find(node, arg.rstrip(b"\0")).names:
            raise Refused(errno.ENOTEMPTY)
        return self.unlink(node, arg)

    def rename_to(self, node: int, to_node: int, flags: int,
                  names: bytes) -> bytes:
        name, to_name = names.split(b"\0")[:2]
        if flags & ~1:
            raise Refused(errno.EINVAL)
        inode = self.find(node, name)
        there = self.inodes[to_node].names.get(fold(to_name))
        if there is not None and there[1] is not inode:
            if flags & 1:
                raise Refused(errno.EEXIST)
            if there[1].names:
                raise Refused(errno.ENOTEMPTY)
            there[1].linked = False
        self.take(node, name)
        self.put(to_node, to_name, inode)
        inode.ctime_ns = time.time_ns()
        return b""

    def rename(self, node: int, arg: bytes) -> bytes:
        to_node, = struct.unpack_from("<Q", arg)
        return self.rename_to(node, to_node, 0, arg[8:])

    def rename2(self, node: int, arg: bytes) -> bytes:
        to_node, flags = struct.unpack_from("<QI", arg)
        return self.rename_to(node, to_node, flags, arg[16:])

    def open(self, node: int, arg: bytes) -> bytes:
        return struct.pack("<QIi", node, 0, 0)

    def create(self, node: int, arg: bytes) -> bytes:
        made = self.new(node, arg[16:].rstrip(b"\0"), stat.S_IFREG)
        return self.entry(made) + self.open(made.number, b"")

    def read(self, node: int, arg: bytes) -> bytes:
        _, offset, size = struct.unpack_from("<QQI", arg)
        return bytes(self.inodes[node].data[offset:offset + size])

    def write(self, node: int, arg: bytes) -> bytes:
        _, offset, size = struct.unpack_from("<QQI", arg)
        inode = self.inodes[node]
        if len(inode.data) < offset:
            inode.data.extend(bytes(offset - len(inode.data)))
        inode.data[offset:offset + size] = arg[40:40 + size]
        self.touch(inode)
        return struct.pack("<II", size, 0)

    def statfs(self, node: int, arg: bytes) -> bytes:
        return struct.pack("<QQQQQIIII24x", 1 << 20, 1 << 19, 1 << 19,
                           1 << 20, 1 << 19, 4096, _NAME_MAX, 4096, 0)

    def readdir(self, node: int, arg: bytes) -> bytes:
        _, offset, size = struct.unpack_from("<QQI", arg)
        items = [(b".", self.inodes[node]), (b"..", self.inodes[node]),
                 *self.inodes[node].names.values()]
        out = bytearray()
        for at, (name, inode) in enumerate(items[offset:], offset + 1):
            one = struct.pack("<QQII", inode.number, at, len(name),
                              inode.kind >> 12) + name
            one += bytes(-len(one) % 8)
            if len(out) + len(one) > size:
                break
            out += one
        return bytes(out)


def mount(place: Path) -> subprocess.Popen[bytes]:
    """Mount one at `place`; unmounting it ends the program."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK) or os.geteuid() != 0:
        pytest.skip("no /dev/fuse, or not root")
    proc = subprocess.Popen([sys.executable, __file__, str(place)],
                            stdout=subprocess.PIPE)
    assert proc.stdout is not None
    if proc.stdout.readline() != b"mounted\n":
        proc.wait(10)
        pytest.skip("FUSE cannot be mounted here")
    return proc


def main(place: str) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={fd},rootmode=40000,user_id=0,group_id=0,allow_other"
    if libc.mount(b"foldfs", os.fsencode(place), b"fuse.foldfs", 6,
                  options.encode()) < 0:
        print(os.strerror(ctypes.get_errno()), file=sys.stderr)
        return 1
    print("mounted", flush=True)
    FoldFs(fd).serve()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
