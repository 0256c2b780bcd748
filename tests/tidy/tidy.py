#!/usr/bin/env python3
"""What the house style leaves to a machine (docs/hacking.md).

Checks, and prints one line for each:
  format   clang-format would change nothing
  arrows   includes go the way the rooms stand, and carry their folder
  purity   pure libraries call nothing that touches the outside
  names    base names of sources are unique
  prefix   what X.c exports begins with X_, or less of it
  paths    nothing in the tree names a place of one machine
  reasons  syncctl(1) lists each reason code of the one table, and no other
  faults   docs/faults.md has each line of the catalogue, with tests that are

Needs a build directory for purity and prefix (--build); they are done on the
objects that are there.  The last line is "N passed, N failed".
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Iterable, Iterator

ROOT = Path(__file__).resolve().parents[2]

# What each room may include, besides itself.
BELOW = {
    "engine/base": set(),
    "blockproto": {"engine/base"},
    "engine": {"engine/base", "blockproto"},
    "watcher": {"engine/base"},
    "mesh": {"engine/base", "blockproto"},
    "cli": {"engine/base", "blockproto", "engine", "watcher", "mesh"},
}
PURE_ROOMS = ["base", "blockproto", "engine", "watcher", "mesh"]

# What pure code may take from libc: functions of their arguments alone.
LIBC_PURE = set("""
    memcpy memmove memset memcmp memchr memrchr memmem
    strlen strcmp strncmp strchr strrchr strstr strspn strcspn strpbrk
    strnlen strcpy strcat strncpy strncat
    strtol strtoul strtoll strtoull __isoc23_strtol __isoc23_strtoul
    snprintf vsnprintf __snprintf_chk __vsnprintf_chk
    __memcpy_chk __memmove_chk __memset_chk __strcpy_chk __strcat_chk
    __strncpy_chk __strncat_chk
    qsort bsearch abs labs
    __stack_chk_fail _GLOBAL_OFFSET_TABLE_
""".split())
# The few files where more is their purpose.
LIBC_EXTRA = {
    "mem.c": {"malloc", "calloc", "realloc", "aligned_alloc", "free", "abort",
              "stderr", "fprintf", "__fprintf_chk"},
    "assert.c": {"abort", "stderr", "fprintf", "__fprintf_chk"},
    "err.c": {"strerror"},
}
# Two files whose header has a second noun beside the file's own.
PREFIX_EXTRA = {
    "buf.c": {"reader_"},
    "map.c": {"umap_"},
}


def sources(*suffixes: str) -> Iterator[Path]:
    for room in ("engine", "blockproto", "watcher", "mesh", "cli", "tests"):
        for path in sorted((ROOT / room).rglob("*")):
            if path.is_file() and path.suffix in suffixes:
                yield path


def room_of(path: Path) -> str:
    parts = path.relative_to(ROOT).parts
    if parts[:2] == ("engine", "base"):
        return "engine/base"
    return parts[0]


def check_format() -> Iterator[str]:
    """One call over all files; clang-format names what it would change."""
    files = [str(p.relative_to(ROOT)) for p in sources(".c", ".h")]
    if not shutil.which("clang-format"):
        yield "clang-format is not installed"
        return
    done = subprocess.run(["clang-format", "--dry-run", *files], cwd=ROOT,
                          capture_output=True, text=True)
    bad = sorted({m.group(1) for m in re.finditer(
        r"^(\S+?):\d+:\d+: warning: code should be clang-formatted",
        done.stderr, re.M)})
    yield from (f"{f}: run ./dev format" for f in bad)
    if done.returncode != 0 and not bad:
        yield done.stderr.strip()


INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)


def included_room(name: str) -> str:
    return "engine/base" if name.startswith("engine/base/") \
        else name.split("/")[0]


def check_arrows() -> Iterator[str]:
    for path in sources(".c", ".h"):
        here, room = path.relative_to(ROOT), room_of(path)
        for kind, name in INCLUDE.findall(path.read_text()):
            if kind == "<":
                if (ROOT / name).exists():
                    yield f"{here}: <{name}> is ours: use quotes"
                continue
            if room == "tests" and "/" not in name:
                if not (path.parent / name).exists():
                    yield f"{here}: no {name} beside it"
                continue
            if "/" not in name or not (ROOT / name).exists():
                yield f"{here}: \"{name}\" does not carry its folder"
                continue
            to = included_room(name)
            if room != "tests" and to != room and to not in BELOW[room]:
                yield f"{here}: {room} may not know {to} (\"{name}\")"


def symbols(build: Path, library: str, flag: str) \
        -> Iterator[tuple[str, str]]:
    """(file, symbol) of an archive: "-u" for undefined, "-g" for exported."""
    archive = build / f"lib{library}.a"
    if not archive.exists():
        return
    args = ["nm", "-A", "-u"] if flag == "-u" else \
        ["nm", "-A", "-g", "--defined-only"]
    done = subprocess.run([*args, str(archive)], capture_output=True,
                          text=True, check=True)
    for line in done.stdout.splitlines():
        # build/libbase.a:arena.c.o:                 U memcpy
        head, _, _ = line.rpartition(" ")
        found = re.match(r".*:([^:]+)\.o:", line)
        if found and not head.endswith(" w"):
            yield found.group(1), line.split()[-1]


def library_names(build: Path) -> list[str]:
    return [f"{room}{kind}" for room in PURE_ROOMS
            for kind in ("", "_algo", "_host")
            if (build / f"lib{room}{kind}.a").exists()]


def check_purity(build: Path) -> Iterator[str]:
    ours = {symbol
            for room in PURE_ROOMS for kind in ("", "_algo")
            for _, symbol in symbols(build, room + kind, "-g")}
    seen = False
    for room in PURE_ROOMS:
        for file, symbol in symbols(build, room, "-u"):
            seen = True
            if symbol in ours or symbol in LIBC_PURE or \
                    symbol in LIBC_EXTRA.get(file, ()):
                continue
            yield f"{room}: {file} calls {symbol}"
    if not seen:
        yield f"no pure library in {build}: build first"


def prefixes_of(file: str) -> set[str]:
    """fs_posix_walk.c may export fs_posix_walk_*, fs_posix_* and fs_*."""
    words = file.removesuffix(".c").split("_")
    return {"_".join(words[:n]) + "_" for n in range(1, len(words) + 1)} | \
        PREFIX_EXTRA.get(file, set())


def check_prefix(build: Path) -> Iterator[str]:
    seen = False
    for library in library_names(build):
        for file, symbol in symbols(build, library, "-g"):
            seen = True
            allowed = prefixes_of(file)
            whole = {p.rstrip("_") for p in allowed}
            if symbol not in whole and \
                    not any(symbol.startswith(p) for p in allowed):
                yield f"{library}: {file} exports {symbol}"
    if not seen:
        yield f"no library in {build}: build first"


def check_names() -> Iterator[str]:
    """Base names are unique, so that a call tells its file."""
    seen: dict[str, Path] = {}
    for path in sources(".c"):
        if room_of(path) == "tests":
            continue
        if path.name in seen:
            yield f"{path.relative_to(ROOT)}: there is {seen[path.name]} too"
        seen[path.name] = path.relative_to(ROOT)


def tracked() -> Iterable[Path]:
    if shutil.which("git"):
        done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT,
                              capture_output=True, text=True)
        if done.returncode == 0:
            return [ROOT / f for f in done.stdout.split("\0") if f]
    return [p for p in ROOT.rglob("*") if p.is_file() and
            p.relative_to(ROOT).parts[0] not in ("build", ".git")]


# A home directory with a name in it, and directories at the root that no
# Debian has: places of whoever wrote the file.
MACHINE = re.compile(
    rb"(?<![\w.])/(home/(?!(USER|you|me|pi|alice|bob|ann|user)\b)[a-z][\w-]*"
    rb"|work/|farm/|workspace/|Users/(?!USER)[a-z])")


def check_paths() -> Iterator[str]:
    here = Path(__file__).resolve()
    for path in tracked():
        if path == here or path.is_symlink() or not path.is_file() or \
                "corpus" in path.parts or path.stat().st_size > 1 << 20:
            continue
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            found = MACHINE.search(line)
            if found:
                yield (f"{path.relative_to(ROOT)}:{number}: "
                       f"{found.group().decode()}")


FAULTS = 140
FAULT_TEST = re.compile(r"`(\w+\.(?:py|c))(?:::(\w+))?`")
# Without a file it is of the one named last.
MISSION_TEST = re.compile(
    r"`(?:[\w/]+/)?(?:(\w+\.(?:py|c))|(?=::))(?:::(\w+))?(?:\[[\w-]+\])?`")


def check_reasons() -> Iterator[str]:
    """Who scripts against the codes reads them in the manual."""
    table = set(re.findall(r'\[REASON_\w+\] = \{\s*"([a-z-]+)"',
                           (ROOT / "engine/reason.c").read_text())) - {"none"}
    manual = (ROOT / "docs/man/syncctl.1").read_text()
    part = manual.partition(".SH REASON CODES\n")[2].partition("\n.SH ")[0]
    listed = re.findall(r"[a-z]+(?:-[a-z]+)*", " ".join(
        line[4:].replace("\\-", "-")
        for line in part.partition("\n.TP\n")[2].splitlines()
        if line.startswith(".BR ")))
    yield from (f"docs/man/syncctl.1: REASON CODES lack {name}"
                for name in sorted(table - set(listed)))
    yield from (f"docs/man/syncctl.1: {name} is no reason, or stands twice"
                for name in sorted(set(listed))
                if name not in table or listed.count(name) > 1)


def check_faults() -> Iterator[str]:
    """Each number once, and a test that exists or a reason in words."""
    found = {p.name: p for p in tracked()
             if p.suffix in (".py", ".c") and "tests" in p.parts}
    seen = []
    for line in (ROOT / "docs/faults.md").read_text().splitlines():
        cells = [c.strip() for c in line.strip("|").split("|")]
        if not re.match(r"\| \d", line):
            continue
        seen.append(int(cells[0]))
        tests = FAULT_TEST.findall(cells[-1])
        if len(cells) != 4 or not cells[1] or not cells[2]:
            yield f"docs/faults.md: line {cells[0]} has not four cells"
        if not tests and not re.match(r"none: \w", cells[-1]):
            yield f"docs/faults.md: {cells[0]}: no test and no reason"
        for file, name in tests:
            path = found.get(file)
            if path is None or not path.exists():
                yield f"docs/faults.md: {cells[0]}: no {file}"
            elif name and not re.search(
                    rf"^(?:def )?{name}\(", path.read_text(), re.M):
                yield f"docs/faults.md: {cells[0]}: no {name} in {file}"
    if seen != list(range(1, FAULTS + 1)):
        yield f"docs/faults.md: not the numbers 1 to {FAULTS}, each once"


def check_mission() -> Iterator[str]:
    """Every line of the mesh once, and the tests it names are there."""
    found = {p.name: p for p in tracked()
             if p.suffix in (".py", ".c") and "tests" in p.parts}
    seen, file = [], ""
    for line in (ROOT / "docs/mission.md").read_text().splitlines():
        number = re.match(r"\| S(\d+) \|", line)
        if number:
            seen.append(int(number[1]))
        for named, name in MISSION_TEST.findall(line):
            file = named or file
            path = found.get(file)
            if path is None or not path.exists():
                yield f"docs/mission.md: no {file}"
            elif name and not re.search(
                    rf"^(?:def )?{name}\(", path.read_text(), re.M):
                yield f"docs/mission.md: no {name} in {file}"
    if seen != [*range(1, 54), 72, 73, 74]:
        yield "docs/mission.md: not S1 to S53 and S72 to S74, each once"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=Path, default=ROOT / "build/release")
    build = parser.parse_args().build
    checks = [
        ("format", check_format()),
        ("arrows", check_arrows()),
        ("names", check_names()),
        ("purity", check_purity(build)),
        ("prefix", check_prefix(build)),
        ("paths", check_paths()),
        ("reasons", check_reasons()),
        ("faults", check_faults()),
        ("mission", check_mission()),
    ]
    passed = failed = 0
    for name, found in checks:
        bad = list(found)
        print(f"{'FAILED' if bad else 'ok'} {name}")
        for line in bad:
            print(f"  {line}")
        passed += not bad
        failed += bool(bad)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
