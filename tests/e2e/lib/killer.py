"""Counts a program's system calls and ends it with SIGKILL before the k-th.

strace counts for each thread and each call apart; here all threads together
make one count, so that k walks through the whole of a program's doing.  The
call at which it dies is not carried out.

    killer.py K REPORT CALLS pid PID       a program that runs, from now on
    killer.py K REPORT CALLS run ARGV...   a program from its first call on

K = 0 only counts.  CALLS is "all", or "effects": only those that change
something outside the program.  Between two of these the disk stays as it is,
so to die before one of the others leaves the same disk as to die before the
next of these.  REPORT gets a line: the count and the last call's name.  When
this program ends, the other does too; it ends with 3 when the other ended
otherwise than by SIGKILL or with 0.  Linux on x86-64.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import sys
from pathlib import Path
from typing import NoReturn

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.ptrace.restype = ctypes.c_long
_LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p,
                         ctypes.c_void_p]

(_CONT, _SYSCALL, _SEIZE, _INTERRUPT, _LISTEN, _SYSCALL_INFO) = (
    7, 24, 0x4206, 0x4207, 0x4208, 0x420e)
# System calls marked, new threads followed, all ended with the tracer.
_OPTIONS = 0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x100000
_EVENT_STOP, _ENTRY, _WALL = 128, 1, 0x40000000

# Numbers of x86-64.
EFFECTS = {
    1: "write", 18: "pwrite64", 20: "writev", 296: "pwritev",
    44: "sendto", 46: "sendmsg", 49: "bind", 74: "fsync", 75: "fdatasync",
    306: "syncfs", 77: "ftruncate", 76: "truncate", 82: "rename",
    264: "renameat", 316: "renameat2", 83: "mkdir", 258: "mkdirat",
    84: "rmdir", 87: "unlink", 263: "unlinkat", 86: "link", 265: "linkat",
    88: "symlink", 266: "symlinkat", 90: "chmod", 91: "fchmod",
    268: "fchmodat", 93: "fchown", 260: "fchownat", 280: "utimensat",
    190: "fsetxattr", 285: "fallocate", 326: "copy_file_range",
    257: "openat",
}
# Only when it may make something; openat2 here never does.
_OPENAT, _O_CREAT = 257, 0o100


def usable() -> bool:
    return platform.machine() == "x86_64" and os.geteuid() == 0


def _ptrace(request: int, tid: int, addr: int = 0, data: int = 0) -> int:
    rc = _LIBC.ptrace(request, tid, addr, data)
    if rc < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return rc


class Counter:
    """One traced program.  Thread: the one that made it, as ptrace wants."""

    def __init__(self, k: int, effects: bool):
        self.k, self.effects = k, effects
        self.count, self.last = 0, ""
        self.ended_well = True
        self.buffer = ctypes.create_string_buffer(88)

    def attach(self, pid: int) -> None:
        """Take all threads; those born meanwhile are found again."""
        taken: set[int] = set()
        while True:
            found = {int(t) for t in os.listdir(f"/proc/{pid}/task")} - taken
            if not found:
                return
            for tid in found:
                _ptrace(_SEIZE, tid, 0, _OPTIONS)
                _ptrace(_INTERRUPT, tid)
            taken |= found

    def is_counted(self, tid: int) -> bool:
        """Is this stop before a call that counts?"""
        size = _ptrace(_SYSCALL_INFO, tid, len(self.buffer),
                       ctypes.addressof(self.buffer))
        if size < 40 or self.buffer.raw[0] != _ENTRY:
            return False
        words = (ctypes.c_uint64 * 11).from_buffer(self.buffer)
        number = words[3]
        self.last = EFFECTS.get(number, f"call {number}")
        if not self.effects:
            return True
        if number == _OPENAT:
            return bool(words[6] & _O_CREAT)
        return number in EFFECTS

    def step(self, pid: int) -> bool:
        """One stop of one thread; False when the program has ended."""
        tid, status = os.waitpid(-1, _WALL)
        if os.WIFEXITED(status) or os.WIFSIGNALED(status):
            self.ended_well = tid != pid or status in (0, signal.SIGKILL)
            return tid != pid
        number, event = os.WSTOPSIG(status), status >> 16
        deliver = 0
        try:
            if number == signal.SIGTRAP | 0x80:
                if self.is_counted(tid):
                    self.count += 1
                    if self.count == self.k:
                        os.kill(pid, signal.SIGKILL)
                        return True
            elif event == 0:
                deliver = number
            _ptrace(_SYSCALL, tid, 0, deliver)
        except ProcessLookupError:
            pass  # it was killed meanwhile; waitpid tells
        return True


def main(argv: list[str]) -> int:
    k, report, calls, how, rest = \
        int(argv[1]), Path(argv[2]), argv[3], argv[4], argv[5:]
    counter = Counter(k, calls == "effects")

    def tell() -> None:
        report.write_text(f"{counter.count} {counter.last}\n")

    def end(*_: object) -> NoReturn:
        tell()
        os._exit(0)

    if how == "pid":
        pid = int(rest[0])
        signal.signal(signal.SIGINT, end)
        signal.signal(signal.SIGTERM, end)
    else:
        pid = os.fork()
        if pid == 0:
            os.kill(os.getpid(), signal.SIGSTOP)
            os.execvp(rest[0], rest)
        os.waitpid(pid, os.WUNTRACED)
        # Who ends this program means the other, and waits for its end.
        signal.signal(signal.SIGINT, lambda *_: os.kill(pid, 9))
        signal.signal(signal.SIGTERM, lambda *_: os.kill(pid, 15))
    counter.attach(pid)
    if how == "run":
        os.kill(pid, signal.SIGCONT)
    else:
        report.write_text("attached\n")
    while counter.step(pid):
        pass
    tell()
    return 0 if counter.ended_well else 3


if __name__ == "__main__":
    sys.exit(main(sys.argv))
