"""A daemon with a wall clock of its own, which a test moves.

A small library, compiled on the spot and loaded before the C library, adds
seconds to CLOCK_REALTIME.  They stand in a file that is mapped, so that the
daemon's sandbox has nothing to open.
"""

from __future__ import annotations

import mmap
import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from .proc import SANITIZED

_SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *shift; /* [0] seconds, [1] times it was asked */

__attribute__((constructor)) static void
shift_open(void)
{
	const int fd = open(getenv("CLOCK_SHIFT"), O_RDWR | O_CLOEXEC);

	shift = mmap(NULL, 16, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

int
clock_gettime(clockid_t id, struct timespec *ts)
{
	const int rc = (int)syscall(SYS_clock_gettime, id, ts);

	if (rc == 0 && id == CLOCK_REALTIME && shift != NULL) {
		ts->tv_sec += shift[0];
		shift[1]++;
	}
	return rc;
}

time_t
time(time_t *out)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	if (out != NULL)
		*out = ts.tv_sec;
	return ts.tv_sec;
}

int
gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
	struct timespec ts;

	(void)zone;
	clock_gettime(CLOCK_REALTIME, &ts);
	tv->tv_sec = ts.tv_sec;
	tv->tv_usec = ts.tv_nsec / 1000;
	return 0;
}
"""


class Shift:
    """Give a node's `env` these variables before it starts."""

    def __init__(self, base: Path):
        compiler = shutil.which("gcc") or shutil.which("cc")
        if compiler is None:
            pytest.skip("no compiler")
        source, library = base / "clock.c", base / "clock.so"
        source.write_text(_SOURCE)
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o",
                        str(library), str(source)], check=True)
        self.file = base / "clock.shift"
        self.file.write_bytes(bytes(16))
        with open(self.file, "r+b") as file:
            self.view = mmap.mmap(file.fileno(), 16)
        # A sanitizer wants to be first; it asks the next one for the time.
        first = ""
        if SANITIZED:
            name = f"lib{os.environ['HOLDFAST_SANITIZER']}.so"
            first = subprocess.run(
                [compiler, f"-print-file-name={name}"], check=True, text=True,
                capture_output=True).stdout.strip() + ":"
        self.env = {"LD_PRELOAD": first + str(library),
                    "CLOCK_SHIFT": str(self.file)}

    def set(self, seconds: int) -> None:
        self.view[:8] = struct.pack("<q", seconds)

    def asked(self) -> int:
        """How often the wall clock was looked at."""
        return int(struct.unpack("<q", self.view[8:])[0])
