"""A router that opens ports when it is asked: Debian's miniupnpd, unpacked.

It runs in the namespace of a router of netlab.py and works on its nftables.
"""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from .netlab import Home, Space, run
from .node import ROOT
from .proc import Daemon

_CHAINS = """
table inet upnp {
    chain forward {
    }
    chain mapped {
        type nat hook prerouting priority dstnat; policy accept;
    }
    chain source {
        type nat hook postrouting priority srcnat + 1; policy accept;
    }
}
"""

# A first byte of 2 is PCP's version; NAT-PMP's is 0, at the same port.
_NO_PCP = """
table ip nopcp { chain c { type filter hook input priority filter;
    udp dport 5351 @th,64,8 2 drop; }; }
"""


class Igd(Daemon):
    """Speaks one of "pcp", "nat-pmp", "upnp"."""

    def __init__(self, place: Path, home: Home, speaks: str,
                 longest_s: int = 86400):
        found = ROOT / "build" / "servers" / "usr" / "sbin" / "miniupnpd"
        if not found.is_file():
            pytest.skip("no miniupnpd: ./dev deps")
        assert home.router is not None
        self.space: Space = home.router
        self.space.nft(_CHAINS)
        if speaks == "nat-pmp":
            self.space.nft(_NO_PCP)
        place.mkdir(parents=True, exist_ok=True)
        conf = place / "miniupnpd.conf"
        conf.write_text("\n".join([
            "ext_ifname=wan", "listening_ip=lan", "http_port=0",
            f"enable_upnp={'yes' if speaks == 'upnp' else 'no'}",
            f"enable_natpmp={'no' if speaks == 'upnp' else 'yes'}",
            "min_lifetime=20", f"max_lifetime={longest_s}", "secure_mode=yes",
            "upnp_table_name=upnp", "upnp_nat_table_name=upnp",
            "upnp_forward_chain=forward", "upnp_nat_chain=mapped",
            "upnp_nat_postrouting_chain=source", "system_uptime=no",
            f"uuid={uuid.uuid4()}", "allow 1024-65535 0.0.0.0/0 1024-65535",
            ""]))
        super().__init__("miniupnpd", [
            *self.space.wrapper, str(found), "-d", "-f", str(conf), "-P",
            str(place / "pid")], place / "log")

    def start(self) -> "Igd":
        self.spawn()
        return self

    def mapped(self) -> list[str]:
        """The rules it made, one a line."""
        text = run(*self.space.wrapper, "nft", "list", "chain", "inet",
                   "upnp", "mapped")
        return [line.strip() for line in text.splitlines()
                if "dnat" in line]

    def forget(self) -> None:
        """As a router that lost its power."""
        self.kill9()
        self.space.nft("flush table inet upnp")
