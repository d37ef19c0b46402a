"""The offline guard."""

from __future__ import annotations

import _socket
import asyncio
import os
import socket
import subprocess
import sys
import threading
from os import system
from socket import getaddrinfo, gethostbyaddr, gethostbyname, getnameinfo
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


class OtherSocket(_socket.socket):
    """As libraries have one that make their own sockets of Python's innermost."""


def call_other(kind, call, *args):
    sock = OtherSocket(type=kind)
    try:
        getattr(sock, call)(*args)
    finally:
        sock.close()


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
    "looks-like-a-scope": lambda: socket.getaddrinfo("127.0.0.1%x.invalid", 80),
    "looks-like-a-scope-connect": lambda: connect(socket.AF_INET, TCP, ("127.0.0.1%x.invalid", 80)),
    "bytearray": lambda: connect(socket.AF_INET, TCP, (bytearray(b"192.0.2.1"), 80)),
    "odd-number": lambda: socket.getaddrinfo("2130706433", 80),
    "getaddrinfo-by-name": lambda: getaddrinfo("x.invalid", 80),
    "gethostbyname-by-name": lambda: gethostbyname("x.invalid"),
    "gethostbyaddr-by-name": lambda: gethostbyaddr("192.0.2.1"),
    "getnameinfo-by-name": lambda: getnameinfo(("192.0.2.1", 80), 0),
    "other-class": lambda: call_other(TCP, "connect", ("192.0.2.1", 80)),
    "other-class-udp": lambda: call_other(UDP, "sendto", b"x", ("192.0.2.1", 80)),
    "other-class-sendmsg": lambda: call_other(UDP, "sendmsg", [b"x"], [], 0, ("192.0.2.1", 80)),
    "virtual-machine": lambda: connect(socket.AF_VSOCK, TCP, (2, 80)),
    "asyncio": lambda: asyncio.run(asyncio.open_connection("x.invalid", 80)),
    "asyncio-address": lambda: asyncio.run(asyncio.open_connection("192.0.2.1", 80)),
}


def test_the_apis_own_host_is_not_to_be_allowed(guarded):
    guarded()
    with pytest.raises(NetworkBlockedError, match="indexjob_simulator") as raised:
        socket.getaddrinfo("api.digitalocean.com", 443)
    assert "indexjob_allowed_hosts" not in str(raised.value)


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


def test_an_address_that_any_look_up_of_an_allowed_host_gave_is_in_reach(guarded, monkeypatch):
    monkeypatch.setattr(socket, "gethostbyname", lambda _: "192.0.2.8")
    monkeypatch.setattr(socket, "gethostbyname_ex", lambda _: ("a", [], ["192.0.2.9"]))
    monkeypatch.setattr(socket.socket, "connect", lambda *_: None)
    interception = guarded("db.invalid")
    socket.gethostbyname("db.invalid")
    socket.gethostbyname_ex("db.invalid")
    for address in ("192.0.2.8", "192.0.2.9"):
        connect(socket.AF_INET, TCP, (address, 80))
    assert interception.journal.misses == []


def test_the_audit_hook_is_one_and_asks_nobody_once_the_test_is_over(guarded, monkeypatch):
    hooks = []
    monkeypatch.setattr(sys, "addaudithook", hooks.append)
    for _ in range(3):
        guarded().stop()
    assert len(hooks) <= 1
    assert subprocess.run(["true", "curl", "http://x.invalid/"], check=False).returncode == 0


FETCH = "curl -s -m 1 http://x.invalid/"
COMMANDS = {
    "system-by-name": lambda: system(FETCH),
    "popen": lambda: os.popen(FETCH).read(),
    "shell": lambda: subprocess.run(f"true && {FETCH}", shell=True, check=False),
    "sh": lambda: subprocess.run(["/bin/sh", "-c", FETCH], check=False),
    "executable": lambda: subprocess.run(
        ["other", "http://x.invalid/"], executable="/usr/bin/curl", check=False
    ),
    "iterator": lambda: subprocess.run(iter(FETCH.split()), check=False),
    "no space": lambda: system(f"true;{FETCH}"),
    "and": lambda: system(f"true&&{FETCH}"),
    "pipe": lambda: system(f"true|{FETCH}"),
    "subshell": lambda: system(f"({FETCH})"),
    "substituted": lambda: system(f"true $({FETCH})"),
    "substituted in quotes": lambda: system(f'true "$({FETCH})"'),
    "backticks": lambda: system(f"true `{FETCH}`"),
    "backticks in quotes": lambda: system(f'true "`{FETCH}`"'),
    "shell in a shell": lambda: system(f"true; sh -c '{FETCH}'"),
    "shell of another command": lambda: subprocess.run(["env", "sh", "-c", FETCH], check=False),
}


@pytest.mark.parametrize("start", COMMANDS.values(), ids=COMMANDS)
def test_a_command_that_fetches_is_stopped_however_it_is_started(guarded, start):
    interception = guarded()
    with pytest.raises(NetworkBlockedError, match=r"reach x\.invalid.*command curl"):
        start()
    assert len(interception.journal.misses) == 1


@pytest.mark.parametrize(
    "url",
    [
        "HTTP://x.invalid/",
        "sftp://x.invalid/",
        "telnet://x.invalid",
        "socks5h://me:pw@x.invalid:1080",
        "http://localhost@x.invalid/",
        "http://[1-3].x.invalid/",  # which curl makes three URLs of, and urllib none
    ],
)
def test_a_url_of_every_scheme_is_stopped(guarded, url):
    interception = guarded()
    with pytest.raises(NetworkBlockedError, match=r"reach \S*x\.invalid.*command curl"):
        subprocess.run(["curl", "-s", "-m", "1", "--url", url], check=False)
    assert len(interception.journal.misses) == 1


def test_another_schemes_url_tells_doctl_no_other_server(guarded):
    guarded()
    with pytest.raises(NetworkBlockedError, match="command doctl"):
        subprocess.run(["doctl", "databases", "create", "postgres://localhost/a"], check=False)


API = "api.digitalocean.com"
WITHOUT_SCHEME = {
    "alone": ["curl", "x.invalid"],
    "with a path": ["wget", "x.invalid/a?b=c"],
    "with a port": ["wget", "-q", "-O", "-", "--", API + ":8080"],
    "after a method": ["http", "GET", "x.invalid/a"],
    "the API after an option": ["curl", "-s", API + "/v2"],
    "the API of an option": ["curl", "-s", f"--url={API}"],
    "the API with a user": ["curl", "-s", f"me:pw@{API.upper()}/v2"],
    "the API in a shell": ["sh", "-c", f"true && curl -s {API}"],
    "a text": f"curl -s '{API}'",
}


@pytest.mark.parametrize("command", WITHOUT_SCHEME.values(), ids=WITHOUT_SCHEME)
def test_a_host_without_a_scheme_is_stopped(guarded, command):
    interception = guarded()
    with pytest.raises(NetworkBlockedError, match=r"(?i)reach (x\.invalid|api\.digital).*command"):
        subprocess.run(command, shell=isinstance(command, str), check=False)
    assert len(interception.journal.misses) == 1


@pytest.mark.parametrize(
    "words",
    [
        ("-s", f"./{API}.txt"),
        ("-s", f"{API}.txt"),
        ("-H", f"Host: {API}"),
        ("-o", "out.json"),
        ("-d", "@body.json"),
        ("localhost:1", "-o", "out.json"),
        ("127.0.0.1:1/a.json",),
    ],
)
def test_a_word_that_is_no_host_is_no_alarm(guarded, tmp_path, words):
    interception = guarded()
    curl = tmp_path / "curl"
    curl.write_text("#!/bin/sh\n")
    curl.chmod(0o755)
    assert subprocess.run([curl, *words], check=False).returncode == 0
    assert interception.journal.misses == []


def test_the_name_of_a_scheme_is_no_command(guarded):
    interception = guarded()
    words = ["true", "--scheme", "https", "--host", API]
    assert subprocess.run(words, check=False).returncode == 0
    assert interception.journal.misses == []


def test_what_follows_a_shells_operator_is_another_command(guarded):
    interception = guarded()
    assert subprocess.run("echo curl localhost | cat > /dev/null", shell=True, check=False)
    assert subprocess.run("true curl; echo a.json", shell=True, check=False)
    assert interception.journal.misses == []


def test_a_text_that_tells_of_a_command_is_no_command(guarded):
    interception = guarded()
    words = ["true", "use curl for http://x.invalid/"]
    assert subprocess.run(words, check=False).returncode == 0
    assert system("true 'use curl for http://x.invalid/'") == 0
    assert interception.journal.misses == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_is_guarded_too(guarded):
    guarded()
    child = os.fork()
    if not child:
        try:
            ATTEMPTS["other-class"]()
        except NetworkBlockedError:
            os._exit(7)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
