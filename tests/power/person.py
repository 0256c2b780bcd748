"""A person at one machine: saves, deletes, moves; says what is durable.

Runs as a process of its own, because whoever waits for a disk that lost its
power waits for ever and has to be killed.  Every content is made from its
token, which nobody else ever writes.  What it did goes to standard output, a
line each, after it was done; what is flushed is told after the flush:

    begun N SHA PATH          act N will write content SHA at PATH
    made N SHA PATH           it is there now
    gone N SHA PATH WHY       ... and SHA no longer is: replaced, deleted, ...
    moved N SHA PATH PATH     from the one to the other
    safe N                    act N survives a power cut

Names ending in ".part" are the person's own way to save; nobody syncs them.
A save exchanges the two names, so it is known, not guessed, what it replaced.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import random
import signal
import sys
import time
from typing import Optional

NOREPLACE, EXCHANGE = 1, 2
AT_FDCWD = -100
LIBC = ctypes.CDLL(None, use_errno=True)
FILES_MAX = 40


def content(token: str, size: int) -> bytes:
    head = f"token {token} of {size} bytes\n".encode()
    rest = max(0, size - len(head))
    return head + hashlib.shake_128(token.encode()).digest(rest)


def rename(old: str, new: str, flags: int) -> None:
    if LIBC.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new),
                      flags) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), old)


def sha_of(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def flush(path: str) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)




class Person:
    def __init__(self, root: str, name: str, seed: int, careless: int):
        os.chdir(root)
        self.careless = careless  # beside 80 acts, so many flush nothing
        self.name = name
        self.rng = random.Random(seed)
        self.stopped = False
        self.turn = 0  # names given
        self.act = 0
        self.seed = seed

    def tell(self, what: str, *words: str) -> None:
        line = " ".join((what, f"{self.name}{self.act}", *words)) + "\n"
        os.write(1, line.encode())

    # -- choosing ------------------------------------------------------------

    def new_id(self) -> str:
        self.turn += 1
        return f"{self.name}{self.seed:x}-{self.turn}"

    def size(self) -> int:
        return self.rng.choices(
            (60, 900, 4096, 20_000, 130_000, 700_000, 4_000_000),
            (20, 20, 10, 20, 15, 6, 1))[0]

    def files(self, top: str) -> list[str]:
        out = []
        for here, _, names in os.walk(top):
            out += [os.path.join(here, n) for n in names
                    if not n.endswith(".part") and ".sync-conflict-" not in n]
        return sorted(out)

    def folder(self, top: str) -> str:
        dirs = [here for here, _, _ in os.walk(top)]
        return self.rng.choice(sorted(dirs)) if dirs else top

    def new_path(self, top: str) -> str:
        return f"{self.folder(top)}/{self.new_id()}"

    def pick(self, top: str) -> Optional[str]:
        found = self.files(top)
        return self.rng.choice(found) if found else None

    # -- with care -----------------------------------------------------------

    def save(self, top: str, path: Optional[str]) -> None:
        """Write beside it, flush, exchange or rename, flush the name."""
        path = path or self.new_path(top)
        token = self.new_id()
        part = f"{os.path.dirname(path)}/{token}.part"
        data = content(token, self.size())
        sha = hashlib.sha256(data).hexdigest()
        self.tell("begun", sha, path)
        with open(part, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        replaced = None
        try:
            rename(part, path, EXCHANGE)
            replaced = sha_of(part)
        except FileNotFoundError:
            rename(part, path, NOREPLACE)
        self.tell("made", sha, path)
        if replaced:
            self.tell("gone", replaced, path, "replaced")
        flush(os.path.dirname(path))
        self.tell("safe")
        if replaced:
            os.unlink(part)

    def delete(self, path: str) -> None:
        part = f"{os.path.dirname(path)}/{self.new_id()}.part"
        rename(path, part, NOREPLACE)
        self.tell("gone", sha_of(part), path, "deleted")
        os.unlink(part)
        if self.rng.random() < 0.7:
            flush(os.path.dirname(path))
            self.tell("safe")

    def move(self, top: str, path: str) -> None:
        to = self.new_path(top)
        rename(path, to, NOREPLACE)
        self.tell("moved", sha_of(to), path, to)
        for place in {os.path.dirname(path), os.path.dirname(to)}:
            flush(place)
        self.tell("safe")

    def make_dir(self, top: str) -> None:
        path = self.new_path(top)
        os.mkdir(path)
        self.save(top, f"{path}/{self.new_id()}")
        flush(os.path.dirname(path))

    def move_dir(self, top: str) -> None:
        dirs = [here for here, _, _ in os.walk(top) if here != top]
        if dirs:
            path = self.rng.choice(sorted(dirs))
            to = f"{top}/{self.new_id()}"
            rename(path, to, NOREPLACE)
            flush(os.path.dirname(path))
            flush(top)

    # -- without -------------------------------------------------------------

    def scribble(self, top: str, path: Optional[str]) -> None:
        """Write, in place or beside it, and flush nothing."""
        token = self.new_id()
        if path and self.rng.random() < 0.5:
            size = os.stat(path).st_size
            old = sha_of(path)
            data = content(token, max(size, 60))
            part = path
            mode = "r+b"
        else:
            data = content(token, self.size())
            part = f"{os.path.dirname(path or top + '/x')}/{token}.part"
            path = path or self.new_path(top)
            old = sha_of(path) if os.path.exists(path) else None
            mode = "xb"
        sha = hashlib.sha256(data).hexdigest()
        self.tell("begun", sha, path)
        if old:
            self.tell("gone", old, path, "scribbled")
        with open(part, mode) as file:
            file.write(data)
            if self.rng.random() < 0.4:  # begins to write it, waits for nothing
                file.flush()
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        if part != path:
            try:
                rename(part, path, EXCHANGE)
                self.tell("gone", sha_of(part), path, "replaced")
                os.unlink(part)
            except FileNotFoundError:
                rename(part, path, NOREPLACE)
        self.tell("made", sha, path)

    def unpack(self, top: str) -> None:
        """An archive: many files at once."""
        path = f"{top}/{self.new_id()}"
        os.mkdir(path)
        for _ in range(self.rng.randrange(5, 30)):
            token = self.new_id()
            data = content(token, self.rng.choice((60, 3000, 20_000)))
            sha = hashlib.sha256(data).hexdigest()
            self.tell("begun", sha, f"{path}/{token}")
            with open(f"{path}/{token}", "xb") as file:
                file.write(data)
            self.tell("made", sha, f"{path}/{token}")

    def drop_dir(self, top: str) -> None:
        """A whole directory is deleted, file by file."""
        dirs = sorted(here for here, _, _ in os.walk(top) if here != top)
        if dirs:
            path = self.rng.choice(dirs)
            for here, _, names in os.walk(path, topdown=False):
                for name in names:
                    self.delete(f"{here}/{name}")
                os.rmdir(here)

    # -- a while -------------------------------------------------------------

    def step(self) -> None:
        rng = self.rng
        self.act += 1
        top = rng.choices((self.name, "both", "loose-" + self.name),
                          (50, 30, self.careless))[0]
        path = self.pick(top)
        if top.startswith("loose"):
            if path and rng.random() < 0.15:
                self.delete(path)
            elif rng.random() < 0.08:
                self.unpack(top)
            elif rng.random() < (0.3 if len(self.files(top)) > 150 else 0.02):
                self.drop_dir(top)
            else:
                self.scribble(top, path if rng.random() < 0.6 else None)
            return
        crowded = len(self.files(top)) > FILES_MAX
        what = rng.choices(
            ("new", "save", "delete", "move", "mkdir", "mvdir"),
            (0 if crowded else 30, 40, 30 if crowded else 12, 10,
             0 if crowded else 4, 3))[0]
        if what == "mkdir":
            self.make_dir(top)
        elif what == "mvdir":
            self.move_dir(top)
        elif what == "new" or path is None:
            self.save(top, None)
        elif what == "save":
            self.save(top, path)
        elif what == "delete":
            self.delete(path)
        else:
            self.move(top, path)

    def live(self, pause: float) -> None:
        """Until SIGTERM, and then to the end of the act."""
        signal.signal(signal.SIGTERM, self.stop)
        while not self.stopped:
            try:
                self.step()
            except FileNotFoundError:
                pass  # the engine was quicker
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY,
                                       errno.ENOTDIR, errno.EISDIR):
                    raise
            time.sleep(self.rng.expovariate(1 / pause))

    def stop(self, *_: object) -> None:
        self.stopped = True


if __name__ == "__main__":
    ROOT, NAME, SEED, CARELESS, PAUSE = sys.argv[1:]
    Person(ROOT, NAME, int(SEED), int(CARELESS)).live(float(PAUSE))
