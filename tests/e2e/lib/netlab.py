"""A small internet: network namespaces, routers of every kind, and a prober.

    home --lan-- router --wan-- inet (a bridge) --- the other home's router
                                  |
                         services, at addresses of inet itself

All of it is private to this machine: namespaces joined by veth pairs, no way
out.  IPv4 is 11.0.0.0/24 for everybody on the bridge and
192.168.1.0/24 behind every router, the same one on purpose; IPv6 is
2001:db8:0::/64 on the bridge and 2001:db8:N::/64 behind router N.

What makes a router be of a kind stands with its rules below, and `probe`
finds out from outside whether it is: mapping and filtering as RFC 4787 names
them.  Needs root, ip and nft.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import select
import shutil
import socket
import subprocess
import threading
import time
from dataclasses import dataclass, field
from typing import Iterator, Optional, Sequence

_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000


def why_not() -> str:
    """Why this machine can not do it; "" when it can."""
    if os.geteuid() != 0:
        return "not root"
    for program in ("ip", "nft"):
        if shutil.which(program) is None:
            return f"no {program}"
    space = None
    try:
        space = Space("try")
        space.nft("table inet t { chain c { type nat hook postrouting "
                  "priority srcnat; masquerade random,fully-random; }; }")
    except (OSError, subprocess.CalledProcessError) as error:
        return f"no network namespaces with nftables: {error}"
    finally:
        if space is not None:
            space.delete()
    return ""


def run(*args: str, text: Optional[str] = None, check: bool = True) -> str:
    done = subprocess.run(args, input=text, capture_output=True, text=True)
    if check and done.returncode != 0:
        raise OSError(f"{' '.join(args)}: {done.stderr.strip()}\n{text or ''}")
    return done.stdout


def sweep() -> None:
    """Take away what a run left that was killed."""
    for line in run("ip", "netns", "list").splitlines():
        found = re.match(r"hf(\d+)[a-z]", line)
        if found and not os.path.exists(f"/proc/{found.group(1)}"):
            name = line.split()[0]
            run("ip", "netns", "delete", name, check=False)
            shutil.rmtree(f"/etc/netns/{name}", ignore_errors=True)


class Space:
    """A network namespace; one thread at a time may go in with `inside`."""

    def __init__(self, name: str):
        self.name = f"hf{os.getpid()}{name}"
        run("ip", "netns", "add", self.name)
        self.ip("link", "set", "lo", "up")

    @property
    def wrapper(self) -> list[str]:
        """Before a command line: it runs in here."""
        return ["ip", "netns", "exec", self.name]

    def ip(self, *args: str, check: bool = True) -> str:
        return run("ip", "-n", self.name, *args, check=check)

    def nft(self, rules: str) -> None:
        run(*self.wrapper, "nft", "-f", "-", text=rules)

    def sysctl(self, key: str, value: object) -> None:
        with self.inside():
            with open("/proc/sys/" + key.replace(".", "/"), "w") as file:
                file.write(str(value))

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Sockets that this thread makes meanwhile are in here for good."""
        with open("/proc/thread-self/ns/net") as old, \
                open(f"/run/netns/{self.name}") as new:
            if _LIBC.setns(new.fileno(), _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            try:
                yield
            finally:
                if _LIBC.setns(old.fileno(), _CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns back")

    def udp(self, address: str = "", port: int = 0) -> socket.socket:
        with self.inside():
            sock = socket.socket(socket.AF_INET6 if ":" in address
                                 else socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((address, port))
        return sock

    def counter(self, name: str) -> int:
        """The bytes of a counter that nft() made in table inet count."""
        words = run(*self.wrapper, "nft", "list", "counter", "inet", "count",
                    name).split()
        return int(words[words.index("bytes") + 1])

    def delete(self) -> None:
        run("ip", "netns", "delete", self.name, check=False)


def cable(one: Space, name_one: str, two: Space, name_two: str) -> None:
    run("ip", "link", "add", name_one, "netns", one.name, "type", "veth",
        "peer", "name", name_two, "netns", two.name)
    one.ip("link", "set", name_one, "up")
    two.ip("link", "set", name_two, "up")


# ---- kinds -----------------------------------------------------------------

# Of every IPv4 router: what home began may come back, nothing else comes in,
# and nobody may speak with the router from outside.  An unsolicited packet is
# dropped and not refused: so it leaves no entry in the router's table, which
# would later push the mapping of home's own packets to another port
# (../shared rules of Linux: a tuple that is taken is not taken twice).
_CLOSED = """
table ip guard {
    chain through {
        type filter hook forward priority filter; policy accept;
        iifname "wan" ct status dnat accept
        iifname "wan" ct state new drop
    }
    chain self {
        type filter hook input priority filter; policy drop;
        iifname != "wan" accept
        ct state established,related accept
    }
}
"""

# Linux keeps the source port where it can, whatever the destination, so the
# mapping is endpoint-independent as long as one host uses the port; and its
# table lets in what answers only: port-restricted.
_MASQUERADE = """
table ip nat {
    chain out {
        type nat hook postrouting priority srcnat;
        oifname "wan" masquerade
    }
}
"""

# A port of its own for each destination: what STUN sees is of no use to
# another peer.
_SYMMETRIC = """
table ip nat {
    chain out {
        type nat hook postrouting priority srcnat;
        oifname "wan" masquerade random,fully-random
    }
}
"""

# What went out is remembered by its port, which masquerade keeps; for as long
# as that is remembered, whatever comes to the port is led back.  `%s` says who
# may: anybody (full cone), or whom home has sent something from that port
# (address-restricted).
_CONE = _MASQUERADE + """
table ip cone {
    map port { type inet_service : ipv4_addr; size 65535;
               flags dynamic,timeout; timeout 120s; }
    set peer { type ipv4_addr . inet_service; size 65535;
               flags dynamic,timeout; timeout 120s; }
    chain remember {
        type filter hook forward priority filter - 1;
        iifname "lan*" oifname "wan" meta l4proto udp \
            update @port { udp sport : ip saddr }
        iifname "lan*" oifname "wan" meta l4proto udp \
            update @peer { ip daddr . udp sport }
    }
    chain back {
        type nat hook prerouting priority dstnat;
        iifname "wan" meta l4proto udp %s dnat to udp dport map @port
    }
}
"""

# The mapped address works from inside, too, as RFC 4787 (REQ-9) wants it: with
# the mapped address as source.
_HAIRPIN = _CONE % "" + """
table ip cone {
    chain hairpin {
        type nat hook prerouting priority dstnat + 1;
        iifname "lan*" ip daddr PUBLIC meta l4proto udp \
            dnat to udp dport map @port
    }
    chain source {
        type nat hook postrouting priority srcnat;
        iifname "lan*" oifname "lan*" ct status dnat snat to PUBLIC
    }
}
"""

_NO_UDP = """
table ip fence {
    chain through {
        type filter hook forward priority filter - 2; policy accept;
        meta l4proto udp counter drop
        iifname "lan" tcp dport != 443 counter drop
    }
}
"""

# No translation, but nothing comes in that was not asked for.
_FIREWALL = """
table inet guard {
    chain through {
        type filter hook forward priority filter; policy accept;
        iifname "wan" ct state new drop
    }
}
"""


@dataclass(frozen=True)
class Kind:
    """A way to be connected, and what a prober must find of it."""

    name: str
    mapping: str  # "none", "independent", "dependent", "blocked"
    filtering: str  # "open", "address", "port", "blocked"
    rules: Sequence[str] = ()
    v6: bool = False
    translated: bool = True
    carrier: Sequence[str] = ()  # rules of a second router before the first


KINDS = {kind.name: kind for kind in [
    Kind("none", "none", "open", translated=False),
    Kind("firewall", "none", "port", [_FIREWALL], translated=False),
    Kind("fullcone", "independent", "open", [_CLOSED, _CONE % ""]),
    Kind("address", "independent", "address", [_CLOSED, _CONE % (
        "ip saddr . udp dport @peer")]),
    Kind("port", "independent", "port", [_CLOSED, _MASQUERADE]),
    Kind("symmetric", "dependent", "port", [_CLOSED, _SYMMETRIC]),
    Kind("double", "independent", "port", [_CLOSED, _MASQUERADE],
         carrier=[_CLOSED, _MASQUERADE]),
    Kind("noudp", "blocked", "blocked", [_CLOSED, _MASQUERADE, _NO_UDP]),
    Kind("v6", "none", "port", [_FIREWALL], v6=True, translated=False),
]}

HAIRPIN = Kind("hairpin", "independent", "open", [_CLOSED, _HAIRPIN])
SAME = KINDS["port"]


# ---- places ----------------------------------------------------------------

@dataclass
class Home:
    """Where a daemon lives."""

    space: Space
    address: str  # its own
    public: str  # what others see
    router: Optional[Space] = None
    routers: list[Space] = field(default_factory=list)

    @property
    def v6(self) -> bool:
        return ":" in self.address


class Internet:
    """The bridge, what is attached to it, and the end of all that."""

    STUN, ELSEWHERE, HUB, RELAY = 3, 5, 11, 12  # hosts; STUN is two

    def __init__(self) -> None:
        self.spaces: list[Space] = []
        self._homes = 0
        sweep()
        try:
            self._build()
        except OSError:
            self.close()
            raise

    def _build(self) -> None:
        self.space = self._space("i")
        self.space.ip("link", "add", "name", "street", "type", "bridge")
        self.space.ip("link", "set", "street", "up")
        for host in range(1, 6):
            self.space.ip("addr", "add", f"{self.host(host)}/24", "dev", "street")
            self.space.ip("addr", "add", f"{self.host(host, True)}/64",
                          "dev", "street", "nodad")
        self.space.sysctl("net.ipv6.conf.all.forwarding", 1)

    def _space(self, name: str) -> Space:
        made = Space(name)
        self.spaces.append(made)
        made.sysctl("net.ipv6.conf.default.accept_dad", 0)
        return made

    def host(self, number: int, v6: bool = False) -> str:
        """The address of a service, in the family of who asks."""
        return f"2001:db8::{number}" if v6 else f"11.0.0.{number}"

    def service(self, number: int) -> Space:
        """A host on the bridge, with nothing between it and the others."""
        space = self._space(f"s{number}")
        self._attach(space, number)
        space.ip("addr", "add", f"{self.host(number)}/24", "dev", "wan")
        space.ip("addr", "add", f"{self.host(number, True)}/64", "dev",
                 "wan", "nodad")
        for v6 in (False, True):
            space.ip("route", "add", "default", "via", self.host(1, v6))
        return space

    def _attach(self, space: Space, number: int) -> None:
        """A cable from the bridge to "wan" of a space."""
        port = f"p{number}"
        cable(self.space, port, space, "wan")
        self.space.ip("link", "set", port, "master", "street")

    def _uplink(self, space: Space, number: int, v6: bool) -> str:
        self._attach(space, number)
        if v6:
            space.ip("addr", "add", f"2001:db8::{100 + number}/64", "dev",
                     "wan", "nodad")
            space.ip("route", "add", "default", "via", "2001:db8::1")
            self.space.ip("route", "add", f"2001:db8:{number}::/64", "via",
                          f"2001:db8::{100 + number}")
            return f"2001:db8:{number}::2"
        public = f"11.0.0.{100 + number}"
        space.ip("addr", "add", f"{public}/24", "dev", "wan")
        space.ip("route", "add", "default", "via", "11.0.0.1")
        return public

    @staticmethod
    def _forward(space: Space) -> None:
        space.sysctl("net.ipv4.ip_forward", 1)
        space.sysctl("net.ipv6.conf.all.forwarding", 1)

    def router(self, kind: Kind) -> tuple[list[Space], str]:
        """The router of a home (and its carrier's), without the home."""
        self._homes += 1
        number = self._homes
        routers = [self._space(f"r{number}")]
        self._forward(routers[0])
        if kind.carrier:
            carrier = self._space(f"c{number}")
            routers.append(carrier)
            self._forward(carrier)
            public = self._uplink(carrier, number, False)
            cable(carrier, "lan", routers[0], "wan")
            carrier.ip("addr", "add", "100.64.0.1/24", "dev", "lan")
            routers[0].ip("addr", "add", "100.64.0.2/24", "dev", "wan")
            routers[0].ip("route", "add", "default", "via", "100.64.0.1")
            for rules in kind.carrier:
                carrier.nft(rules)
        else:
            public = self._uplink(routers[0], number, kind.v6)
        for rules in kind.rules:
            routers[0].nft(rules.replace("PUBLIC", public))
        return routers, public

    def home(self, kind: Kind) -> Home:
        """One device behind a router of that kind of its own."""
        if not kind.rules:
            self._homes += 1
            space = self._space(f"h{self._homes}")
            public = self._uplink(space, self._homes, False)
            return Home(space, public, public)
        routers, public = self.router(kind)
        number = self._homes
        space = self._space(f"h{number}")
        cable(routers[0], "lan", space, "eth0")
        if kind.v6:
            routers[0].ip("addr", "add", f"2001:db8:{number}::1/64", "dev",
                          "lan", "nodad")
            space.ip("addr", "add", f"{public}/64", "dev", "eth0", "nodad")
            space.ip("route", "add", "default", "via", f"2001:db8:{number}::1")
            return Home(space, public, public, routers[0], routers)
        if not kind.translated:
            return self._routed(space, routers, number)
        # Both homes are in the same private network, as they mostly are.
        address = f"192.168.1.{9 + number}"
        routers[0].ip("addr", "add", "192.168.1.1/24", "dev", "lan")
        space.ip("addr", "add", f"{address}/24", "dev", "eth0")
        space.ip("route", "add", "default", "via", "192.168.1.1")
        return Home(space, address, public, routers[0], routers)

    def _routed(self, space: Space, routers: list[Space],
                number: int) -> Home:
        """A public address of its own behind a router."""
        address = f"11.0.{number}.2"
        self.space.ip("route", "add", f"11.0.{number}.0/24", "via",
                      f"11.0.0.{100 + number}")
        self.space.sysctl("net.ipv4.ip_forward", 1)
        routers[0].ip("addr", "add", f"11.0.{number}.1/24",
                      "dev", "lan")
        space.ip("addr", "add", f"{address}/24", "dev", "eth0")
        space.ip("route", "add", "default", "via",
                 f"11.0.{number}.1")
        return Home(space, address, address, routers[0], routers)

    def homes_behind_one(self, kind: Kind, isolated: bool = False) \
            -> tuple[Home, Home]:
        """Two behind the same router: on one LAN, or on two kept apart."""
        routers, public = self.router(kind)
        router, number = routers[0], self._homes
        if isolated:
            router.nft("""table ip apart { chain through {
                type filter hook forward priority filter - 3;
                iifname "lan*" oifname "lan*" ct status dnat accept
                iifname "lan*" oifname "lan*" drop; }; }""")
        else:
            router.ip("link", "add", "name", "lan", "type",
                      "bridge")
            router.ip("link", "set", "lan", "up")
            router.ip("addr", "add", "192.168.1.1/24", "dev", "lan")
        made = []
        for side in (1, 2):
            space = self._space(f"h{number}{'ab'[side - 1]}")
            cable(router, f"lan{side}", space, "eth0")
            net = f"192.168.{side if isolated else 1}"
            if isolated:
                router.ip("addr", "add", f"{net}.1/24", "dev", f"lan{side}")
            else:
                router.ip("link", "set", f"lan{side}", "master", "lan")
            address = f"{net}.{9 + side}"
            space.ip("addr", "add", f"{address}/24", "brd", "+", "dev",
                     "eth0")
            space.ip("route", "add", "default", "via", f"{net}.1")
            made.append(Home(space, address, public, router, routers))
        return made[0], made[1]

    def close(self) -> None:
        for space in reversed(self.spaces):
            space.delete()


# ---- a prober --------------------------------------------------------------

class Echo:
    """Says to a datagram where it came from, from the socket it asks for.

    Two hosts with two ports each.  A question is 4 bytes and the number of
    the socket that is to answer: 0 the same, 1 the other port, 2 the other
    host, 3 both other.
    """

    PORTS = (3478, 3479)

    def __init__(self, internet: Internet, v6: bool = False):
        self.at = [(internet.host(internet.STUN + h, v6), port)
                   for h in (0, 1) for port in self.PORTS]
        self._socks = [internet.space.udp(*at) for at in self.at]
        self._end, self._stop = os.pipe()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            ready, _, _ = select.select([*self._socks, self._end], [], [])
            if self._end in ready:
                return
            for sock in ready:
                data, peer = sock.recvfrom(64)
                here = self._socks.index(sock)
                # 0 1: ports of the first host; 2 3: of the second.
                there = here ^ (data[4] if len(data) > 4 else 0)
                with contextlib.suppress(OSError):
                    self._socks[there].sendto(
                        data[:5] + f"{peer[0]} {peer[1]}".encode(), peer)

    def close(self) -> None:
        os.close(self._stop)
        self._thread.join(10)
        os.close(self._end)
        for sock in self._socks:
            sock.close()


@dataclass(frozen=True)
class Probed:
    mapping: str
    filtering: str
    address: str = ""


def ask(sock: socket.socket, to: tuple[str, int], answer_from: int = 0,
        tries: int = 3) -> Optional[tuple[str, int]]:
    """Where `to` sees us; None when no answer comes.

    An answer from elsewhere is followed by a question that is answered from
    where it was asked: what has not come before that, does not come.
    """
    token, barrier = os.urandom(4), os.urandom(4)
    last = False
    for _ in range(tries):
        sock.sendto(token + bytes([answer_from]), to)
        if answer_from:
            sock.sendto(barrier + b"\0", to)
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            if not select.select([sock], [], [], end - time.monotonic())[0]:
                break
            data, _ = sock.recvfrom(256)
            if data[:4] == token:
                host, port = data[5:].decode().split()
                return host, int(port)
            if data[:4] == barrier:
                # A little more, for what a busy machine does out of order.
                last = True
                end = min(end, time.monotonic() + 0.1)
        if last:
            break
    return None


def probe(home: Home, echo: Echo) -> Probed:
    """What kind of a router is `home` behind?  As RFC 5780 asks."""
    one, other_port, other_host, both = echo.at
    sock = home.space.udp("::" if home.v6 else "0.0.0.0")
    try:
        seen = [ask(sock, one)]
        if seen[0] is not None:
            seen += [ask(sock, at) for at in (other_port, other_host)]
    finally:
        port = sock.getsockname()[1]
        sock.close()
    if seen[0] is None:
        return Probed("blocked", "blocked")
    if seen[0] == (home.address, port):
        mapping = "none"
    elif seen[0] == seen[1] == seen[2]:
        mapping = "independent"
    else:
        mapping = "dependent"
    sock = home.space.udp("::" if home.v6 else "0.0.0.0")
    try:
        if ask(sock, one, 3):
            filtering = "open"
        elif ask(sock, one, 1):
            filtering = "address"
        else:
            filtering = "port"
    finally:
        sock.close()
    return Probed(mapping, filtering, seen[0][0])
