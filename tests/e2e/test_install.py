"""What lands on a system: cmake --install, units, man pages, a .deb."""

from __future__ import annotations

import gzip
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path
from typing import Sequence

import pytest

from lib import node
from lib.world import World

pytestmark = pytest.mark.slow


def run(*argv: object, cwd: Path | None = None,
        env: dict[str, str] | None = None) -> str:
    done = subprocess.run([str(a) for a in argv], cwd=cwd,
                          capture_output=True, timeout=300,
                          env=dict(os.environ, **(env or {})))
    text = (done.stdout + done.stderr).decode("utf-8", "replace")
    assert done.returncode == 0, f"{argv}: {done.returncode}\n{text}"
    return text


@pytest.fixture(scope="module")
def build_dir() -> Path:
    place = node.bin_dir()
    if not (place / "CMakeCache.txt").exists():
        pytest.skip(f"{place} is no build directory")
    return place


@pytest.fixture(scope="module")
def installed(build_dir: Path,
              tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree below DESTDIR, with the usual prefix."""
    dest = tmp_path_factory.mktemp("dest")
    run("cmake", "--install", build_dir, "--prefix", "/usr",
        env={"DESTDIR": str(dest)})
    return dest


def find(root: Path, name: str) -> Path:
    found = [p for p in root.rglob(name) if p.is_file()]
    assert found, f"{name} is not installed: " + ", ".join(
        str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())
    return found[0]


def test_programs_are_installed_and_run(installed: Path,
                                        tmp_path: Path) -> None:
    for name in ("syncd", "syncctl"):
        path = installed / "usr/bin" / name
        assert path.exists(), name
    ctl = installed / "usr/bin/syncctl"
    assert run(ctl, "version")
    assert run(ctl, "--home", tmp_path / "h", "id").count("-") == 7
    assert run(installed / "usr/bin/syncd", "--version")


def test_man_pages_are_valid(installed: Path) -> None:
    pages = [p for p in (installed / "usr/share/man").rglob("*")
             if p.is_file()]
    names = {p.name.removesuffix(".gz") for p in pages}
    assert {"syncctl.1"} <= names
    assert {"syncd.1", "syncd.8"} & names
    if shutil.which("man") is None:
        pytest.skip("no man to check them")
    for page in pages:
        done = subprocess.run(
            ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z",
             str(page)], stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, timeout=60)
        text = done.stderr.decode("utf-8", "replace")
        assert done.returncode == 0 and not text, f"{page.name}: {text}"


def sections(path: Path) -> dict[str, list[str]]:
    out: dict[str, list[str]] = {}
    here: list[str] = []
    for line in path.read_text().splitlines():
        line = line.strip()
        if line.startswith("["):
            here = out.setdefault(line, [])
        elif line and not line.startswith("#"):
            here.append(line)
    return out


def units(installed: Path) -> Sequence[Path]:
    return [p for p in installed.rglob("*.service") if p.is_file()]


def test_units_are_there_and_valid(installed: Path) -> None:
    places = {p.parent.name for p in units(installed)}
    assert {"system", "user"} <= places, units(installed)
    for path in units(installed):
        service = sections(path)["[Service]"]
        assert any(line.startswith("Type=notify") for line in service)
        assert any(line.startswith("ExecStart=/usr/bin/syncd")
                   for line in service)
        assert any(line.startswith("ExecReload=") for line in service)
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze")
    for path in units(installed):
        # The program is below DESTDIR, so let it look there.
        copy = path.with_name("check-" + path.name)
        copy.write_text(path.read_text().replace(
            "/usr/bin/", f"{installed}/usr/bin/"))
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no",
             *(["--user"] if path.parent.name == "user" else []),
             str(copy)], capture_output=True, timeout=60,
            env=dict(os.environ, XDG_RUNTIME_DIR="/tmp"))
        text = (done.stdout + done.stderr).decode()
        copy.unlink()
        assert path.name not in text, text


def test_units_are_hardened(installed: Path) -> None:
    wanted = ("NoNewPrivileges=", "ProtectSystem=", "PrivateTmp=",
              "RestrictAddressFamilies=", "SystemCallFilter=",
              "MemoryDenyWriteExecute=", "CapabilityBoundingSet=",
              "ProtectKernelModules=", "RestrictNamespaces=")
    for path in units(installed):
        if path.parent.name != "system":
            continue
        text = path.read_text()
        for word in wanted:
            assert word in text, f"{path.name}: {word}"


def filters(path: Path) -> set[str]:
    """The system calls that a unit lets through, its groups unfolded."""

    def unfold(name: str) -> set[str]:
        if not name.startswith("@"):
            return {name}
        out: set[str] = set()
        for line in run("systemd-analyze", "syscall-filter",
                        name).splitlines()[1:]:
            word = line.strip()
            if word and not word.startswith("#"):
                out |= unfold(word)
        return out

    allowed: set[str] = set()
    for line in sections(path)["[Service]"]:
        key, _, value = line.partition("=")
        if key != "SystemCallFilter":
            continue
        for word in value.lstrip("~").split():
            if value.startswith("~"):
                allowed -= unfold(word)
            else:
                allowed |= unfold(word)
    return allowed


def test_units_let_through_what_syncd_lets_itself(installed: Path) -> None:
    """The unit's filter is no narrower than ours, and lets ours be put up."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze")
    text = (node.ROOT / "cli/sandbox_seccomp.c").read_text()
    ours = text[text.index("sandbox_allowed"):text.index("sandbox_absent")]
    wanted = set(re.findall(r"SCMP_SYS\((\w+)\)", ours))
    assert len(wanted) > 100
    wanted |= {"seccomp", "mmap", "mprotect", "clone", "socket", "socketpair",
               "ioctl", "prctl", "tgkill", "prlimit64"}
    known = {line.strip() for line in run(
        "systemd-analyze", "syscall-filter", "@known").splitlines()}
    for path in units(installed):
        missing = (wanted & known) - filters(path)
        assert not missing, f"{path.parent.name}/{path.name}: {missing}"


def test_the_system_unit_exposes_little(installed: Path) -> None:
    """What is left is the network and the user's own files."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze")
    for path in units(installed):
        if path.parent.name == "system":
            run("systemd-analyze", "security", "--offline=true",
                "--no-pager", "--threshold=20", path)


def test_programs_are_hardened(build_dir: Path, installed: Path) -> None:
    """RELIABILITY.md 5.5, read from what is installed."""
    if "HOLDFAST_HARDEN:BOOL=ON" not in \
            (build_dir / "CMakeCache.txt").read_text():
        pytest.skip("this build is not for people")
    if shutil.which("readelf") is None or shutil.which("objdump") is None:
        pytest.skip("no binutils")
    for name in ("syncd", "syncctl"):
        program = installed / "usr/bin" / name
        elf = run("readelf", "-W", "-h", "-l", "-d", program)
        dynamic = run("readelf", "-W", "--dyn-syms", program)
        assert re.search(r"Type:\s+DYN", elf) and "PIE" in elf, name
        assert "GNU_RELRO" in elf and "BIND_NOW" in elf, name
        stack = re.search(r"GNU_STACK.*", elf)
        assert stack and "E" not in stack.group().split()[-2], name
        for line in elf.splitlines():
            if line.strip().startswith("LOAD"):
                assert "RWE" not in line, line
        for word in ("RPATH", "RUNPATH", "TEXTREL"):
            assert word not in elf, f"{name}: {word}"
        assert "__stack_chk_fail" in dynamic, name
        fortified = set(re.findall(r"(__\w+_chk)\b", dynamic))
        assert len(fortified) >= 3, f"{name}: {fortified}"
        if platform.machine() == "x86_64":
            code = run("objdump", "-d", "--no-show-raw-insn", program)
            # -fcf-protection: every function that can be called by pointer.
            assert code.count("endbr64") > 100, name


def test_completions_are_installed(installed: Path) -> None:
    names = [str(p.relative_to(installed)) for p in installed.rglob("*")
             if "completion" in str(p) or "site-functions" in str(p)]
    if not names:
        pytest.skip("completions come from `syncctl completion` only")
    assert any("bash" in n for n in names)


def test_the_package_is_whole(build_dir: Path, tmp_path: Path) -> None:
    for tool in ("cpack", "dpkg-deb"):
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool}")
    run("cpack", "-G", "DEB", "-B", tmp_path, cwd=build_dir)
    packages = list(tmp_path.glob("*.deb"))
    assert packages
    listing = "".join(run("dpkg-deb", "-c", p) for p in packages)
    for name in ("usr/bin/syncd", "usr/bin/syncctl", ".service", ".1"):
        assert name in listing, name
    info = "".join(run("dpkg-deb", "-I", p) for p in packages)
    for field in ("Package:", "Version:", "Architecture:", "Depends:",
                  "Description:", "Maintainer:"):
        assert field in info, field
    for library in ("libuv1", "liblmdb0", "libgnutls30"):
        assert library in info, library


@pytest.fixture(scope="module")
def unpacked(build_dir: Path,
             tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as dpkg unpacks it, with its control files in DEBIAN."""
    for tool in ("cpack", "dpkg-deb"):
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool}")
    place = tmp_path_factory.mktemp("deb")
    old = os.umask(0o077)  # of whoever builds it
    try:
        run("cpack", "-G", "DEB", "-B", place, cwd=build_dir)
    finally:
        os.umask(old)
    made, = place.glob("*.deb")
    run("dpkg-deb", "-R", made, place / "tree")
    return place / "tree"


def test_the_package_is_as_debian_wants_it(unpacked: Path) -> None:
    doc = unpacked / "usr/share/doc/holdfast"
    packed = [*(unpacked / "usr/share/man").rglob("*.gz"),
              doc / "changelog.Debian.gz"]
    assert len(packed) >= 4
    assert not list((unpacked / "usr/share/man").rglob("*.[1-9]"))
    for path in packed:
        head = path.read_bytes()[:9]
        assert head[3] == 0 and head[4:8] == bytes(4), \
            f"{path.name}: a name or a time within"
        assert head[8] == 2, f"{path.name}: not packed as well as can be"
    with gzip.open(doc / "changelog.Debian.gz", "rt") as file:
        newest = re.match(r"holdfast \((\S+)\) ", file.read())
    control = (unpacked / "DEBIAN/control").read_text()
    assert newest and f"\nVersion: {newest[1]}\n" in control, control
    licence = (doc / "copyright").read_text()
    assert licence.startswith("Format: https://www.debian.org/doc/")
    for line in (node.ROOT / "LICENSE").read_text().splitlines()[3:]:
        assert line in licence, line
    sums = (unpacked / "DEBIAN/md5sums").read_text().splitlines()
    assert len(sums) == sum(p.is_file() for p in
                            (unpacked / "usr").rglob("*"))
    for path in unpacked.rglob("*"):
        mode = path.stat().st_mode & 0o7777
        runs = path.is_dir() or path.parent.name in ("bin", "DEBIAN") \
            and path.name not in ("control", "md5sums")
        assert mode == (0o755 if runs else 0o644), f"{path}: {mode:o}"
    for name in ("postinst", "prerm", "postrm"):
        run("sh", "-n", unpacked / "DEBIAN" / name)


def test_the_installed_programs_work_from_there(installed: Path,
                                                world: World) -> None:
    """A whole start and stop of what was installed."""
    made = world.node("A", start=False)
    made.argv[0] = str(installed / "usr/bin/syncd")
    made.ctl_path = installed / "usr/bin/syncctl"
    made.folder_add(world.dir("a"), "f1")
    made.start()
    assert made.ctl("status", "-q", check=False).code in (0, 4)
    assert made.stop() == 0
