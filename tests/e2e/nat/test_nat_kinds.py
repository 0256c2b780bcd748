"""Are the routers of this folder of the kinds that they are called?"""

from __future__ import annotations

import socket
import time

import pytest

from lib.netlab import (HAIRPIN, KINDS, SAME, Echo, Internet, Probed, ask,
                        probe)

pytestmark = [pytest.mark.root, pytest.mark.tools]


@pytest.mark.parametrize("name", KINDS)
def test_a_router_is_of_its_kind(internet: Internet, name: str) -> None:
    kind = KINDS[name]
    home = internet.home(kind)
    echo = Echo(internet, kind.v6)
    try:
        found = probe(home, echo)
    finally:
        echo.close()
    assert (found.mapping, found.filtering) == (kind.mapping, kind.filtering)
    if kind.mapping != "blocked":
        assert found.address == home.public


def test_a_stranger_reaches_no_port_that_was_not_opened(
        internet: Internet) -> None:
    """Even a full cone lets in only where something went out."""
    home = internet.home(KINDS["fullcone"])
    echo = Echo(internet)
    opened, shut = home.space.udp(), home.space.udp()
    outside = internet.space.udp(internet.host(internet.ELSEWHERE))
    try:
        seen = ask(opened, echo.at[0])
        assert seen is not None
        for sock in (opened, shut):
            sock.settimeout(10)
            outside.sendto(b"knock", (home.public, sock.getsockname()[1]))
        assert opened.recv(64) == b"knock"
        # The bridge and the router keep the order of what passes.
        outside.sendto(b"again", seen)
        assert opened.recv(64) == b"again"
        shut.settimeout(0.2)
        with pytest.raises(socket.timeout):
            shut.recv(64)
    finally:
        echo.close()
        for sock in (opened, shut, outside):
            sock.close()


def test_a_packet_that_comes_too_early_moves_no_mapping(
        internet: Internet) -> None:
    """A router that took it in would push the mapping to another port."""
    a, b = (internet.home(KINDS["port"]) for _ in range(2))
    echo = Echo(internet)
    sock_a, sock_b = a.space.udp(), b.space.udp()
    try:
        at_a, at_b = ask(sock_a, echo.at[0]), ask(sock_b, echo.at[0])
        assert at_a and at_b
        sock_a.settimeout(10)
        sock_b.settimeout(10)
        for _ in range(5):
            sock_a.sendto(b"early", at_b)
        sock_b.sendto(b"late", at_a)
        data, peer = sock_a.recvfrom(64)
        assert (data, peer) == (b"late", at_b)
        sock_a.sendto(b"through", at_b)
        assert sock_b.recvfrom(64) == (b"through", at_a)
    finally:
        echo.close()
        sock_a.close()
        sock_b.close()


@pytest.mark.parametrize("hairpin", [True, False])
def test_two_behind_one_router_by_its_outer_address(
        internet: Internet, hairpin: bool) -> None:
    kind = HAIRPIN if hairpin else SAME
    a, b = internet.homes_behind_one(kind, isolated=hairpin)
    echo = Echo(internet)
    sock_a, sock_b = a.space.udp(), b.space.udp()
    try:
        for home, sock in ((a, sock_a), (b, sock_b)):
            seen = ask(sock, echo.at[0])
            assert seen is not None and seen[0] == home.public
        at_a = ask(sock_a, echo.at[0])
        sock_b.sendto(b"hello", at_a)
        sock_a.settimeout(10 if hairpin else 0.5)
        if hairpin:
            data, peer = sock_a.recvfrom(64)
            assert data == b"hello"
            sock_a.sendto(b"and back", peer)
            sock_b.settimeout(10)
            assert sock_b.recv(64) == b"and back"
        else:
            with pytest.raises(socket.timeout):
                sock_a.recv(64)
        # Their own addresses: on one LAN, or kept apart.
        sock_b.sendto(b"near", (a.address, sock_a.getsockname()[1]))
        sock_a.settimeout(0.5 if hairpin else 10)
        if hairpin:
            with pytest.raises(socket.timeout):
                sock_a.recv(64)
        else:
            assert sock_a.recv(64) == b"near"
    finally:
        echo.close()
        sock_a.close()
        sock_b.close()


def test_a_router_forgets_as_soon_as_it_is_told_to(
        internet: Internet) -> None:
    home = internet.home(KINDS["symmetric"])
    home.router.sysctl("net.netfilter.nf_conntrack_udp_timeout", 1)
    home.router.sysctl("net.netfilter.nf_conntrack_udp_timeout_stream", 1)
    echo = Echo(internet)
    sock = home.space.udp()
    try:
        first = ask(sock, echo.at[0])
        seen = first
        end = time.monotonic() + 60
        while seen == first and time.monotonic() < end:
            time.sleep(2.5)
            seen = ask(sock, echo.at[0])
        assert first and seen and seen != first
    finally:
        echo.close()
        sock.close()
