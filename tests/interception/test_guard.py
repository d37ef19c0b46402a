"""The offline guard."""

from __future__ import annotations

import asyncio
import socket
import threading
from unittest import mock

import pytest

from pytest_indexjob import NetworkBlockedError
from pytest_indexjob.exchange import Journal
from pytest_indexjob.interception.interception import Interception
from pytest_indexjob.virtual_time.clock import VirtualClock


@pytest.fixture
def guarded():
    started = []

    def start(*allowed):
        interception = Interception(
            Journal(), VirtualClock(), test="the test", allowed_hosts=allowed
        )
        started.append(interception)
        return interception.start()

    yield start
    for interception in started:
        interception.stop()


def connect(family, kind, address, call="connect"):
    with socket.socket(family, kind) as sock:
        return getattr(sock, call)(address)


TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM
# Addresses that are reserved for documentation, and names that never resolve.
ATTEMPTS = {
    "connect": lambda: connect(socket.AF_INET, TCP, ("192.0.2.1", 80)),
    "connect_ex": lambda: connect(socket.AF_INET, TCP, ("192.0.2.1", 80), "connect_ex"),
    "ipv6": lambda: connect(socket.AF_INET6, TCP, ("2001:db8::1", 80)),
    "mapped": lambda: connect(socket.AF_INET6, TCP, ("::ffff:192.0.2.1", 80)),
    "udp": lambda: connect(socket.AF_INET, UDP, ("192.0.2.1", 80)),
    "name": lambda: connect(socket.AF_INET, TCP, ("x.invalid", 80)),
    "getaddrinfo": lambda: socket.getaddrinfo("x.invalid", 80),
    "getaddrinfo-bytes": lambda: socket.getaddrinfo(b"x.invalid", "http"),
    "gethostbyname": lambda: socket.gethostbyname("x.invalid"),
    "gethostbyname_ex": lambda: socket.gethostbyname_ex("x.invalid"),
    "create_connection": lambda: socket.create_connection(("x.invalid", 80)),
    "looks-like-loopback": lambda: socket.getaddrinfo("localhost.evil.invalid", 80),
    "odd-number": lambda: socket.getaddrinfo("2130706433", 80),
    "asyncio": lambda: asyncio.run(asyncio.open_connection("x.invalid", 80)),
    "asyncio-address": lambda: asyncio.run(asyncio.open_connection("192.0.2.1", 80)),
}


@pytest.mark.parametrize("attempt", ATTEMPTS.values(), ids=ATTEMPTS)
def test_no_way_leads_off_this_machine(guarded, attempt):
    interception = guarded("allowed.invalid")
    with pytest.raises(
        NetworkBlockedError, match=r"the test tried to reach .*indexjob_allowed_hosts"
    ) as raised:
        attempt()
    assert interception.journal.misses == [raised.value]
    assert raised.value.test == "the test"
    assert raised.value.host
    assert raised.value.port in (80, None)


def test_sendto(guarded):
    guarded()
    with socket.socket(socket.AF_INET, UDP) as sock, pytest.raises(NetworkBlockedError):
        sock.sendto(b"x", ("192.0.2.1", 80))
    with socket.socket(socket.AF_INET, UDP) as sock, pytest.raises(NetworkBlockedError):
        sock.sendto(b"x", 0, ("192.0.2.1", 80))


def test_from_a_thread_too(guarded):
    interception = guarded()

    def work():
        with pytest.raises(NetworkBlockedError):
            ATTEMPTS["connect"]()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(interception.journal.misses) == 1


def test_this_machine_is_always_in_reach(guarded, tmp_path):
    interception = guarded()
    for host in ("localhost", "127.0.0.1", "127.9.9.9", None):
        assert socket.getaddrinfo(host, 80, socket.AF_INET, TCP)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        socket.create_connection(("localhost", port)).close()
        assert connect(socket.AF_INET, TCP, ("127.0.0.1", port), "connect_ex") == 0
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()
        connect(socket.AF_UNIX, TCP, str(tmp_path / "s"))
    for each in socket.socketpair():
        each.close()
    asyncio.run(asyncio.sleep(0))
    assert interception.journal.misses == []


@pytest.fixture
def resolver():
    """Stands where the machine's resolver and network would; gives what they were asked."""
    asked = []

    def getaddrinfo(host, port, *_):
        asked.append(host)
        return [(socket.AF_INET, TCP, 6, "", ("192.0.2.7", port))]

    def connected(sock, address):
        asked.append(address)

    with (
        mock.patch.object(socket, "getaddrinfo", getaddrinfo),
        mock.patch.object(socket.socket, "connect", connected),
    ):
        yield asked


def test_allowed_hosts_are_looked_up_and_what_was_found_is_in_reach(resolver, guarded):
    asked = resolver
    interception = guarded("db.invalid", "*.example.invalid")
    for host in ("db.invalid", "DB.invalid", "a.example.invalid", "a.b.example.invalid"):
        socket.getaddrinfo(host, 80)
    connect(socket.AF_INET, TCP, ("192.0.2.7", 80))
    assert asked[-1] == ("192.0.2.7", 80)
    for host in (
        "evil-example.invalid",
        "example.invalid",
        "xdb.invalid",
        "db.invalid.evil.invalid",
    ):
        with pytest.raises(NetworkBlockedError):
            socket.getaddrinfo(host, 80)
    assert len(asked) == 5
    assert len(interception.journal.misses) == 4


def test_no_look_up_leaves_by_a_side_door(guarded, resolver):
    asked = resolver
    interception = guarded()
    socket.getaddrinfo("app.localhost", 80)
    connect(socket.AF_INET, TCP, ("app.localhost", 80))
    assert asked == ["localhost", ("localhost", 80)]
    with socket.socket(socket.AF_INET, TCP) as sock:
        with pytest.raises(NetworkBlockedError):
            sock.bind(("x.invalid", 0))
        sock.bind(("127.0.0.1", 0))
    assert socket.getnameinfo(("192.0.2.1", 80), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
    for address, flags in ((("192.0.2.1", 80), 0), (("x.invalid", 80), socket.NI_NUMERICHOST)):
        with pytest.raises(NetworkBlockedError):
            socket.getnameinfo(address, flags)
    assert len(interception.journal.misses) == 3
