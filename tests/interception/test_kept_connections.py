"""Connections kept alive from before the test: each is answered or stopped, and told."""

from __future__ import annotations

import asyncio
import http.client
import socket

import aiohttp
import httpcore
import httpx
import pytest
import requests
import urllib3

from pytest_indexjob import NetworkBlockedError
from pytest_indexjob.exchange import Journal, Response
from pytest_indexjob.interception.interception import Interception
from pytest_indexjob.virtual_time.clock import VirtualClock

OUTSIDE = "outside.example"


@pytest.fixture
def live(loopback):
    return loopback(lambda _: Response(200, (), b"live"))


@pytest.fixture
def outside(live, monkeypatch):
    """The URL of a host off this machine, for which the server on it stands."""
    real = socket.getaddrinfo

    def getaddrinfo(host, *args, **kwargs):
        name = host.decode() if isinstance(host, bytes) else host
        return real("127.0.0.1" if name == OUTSIDE else host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return f"http://{OUTSIDE}:{live.port}"


@pytest.fixture
def start():
    started = []

    def start(**options):
        interception = Interception(Journal(), VirtualClock(), test="the test", **options)
        interception.source = Ours()
        started.append(interception)
        return interception.start()

    yield start
    for interception in started:
        interception.stop()


class Ours:
    hosts = ()

    def handle(self, request):
        return Response(200, (), b"ours")


class Client:
    """A client that keeps its connections: made, and used, before and in a test."""

    def __enter__(self):
        self.open()
        return self

    def __exit__(self, *_):
        self.close()


class Requests(Client):
    def open(self):
        self.session = requests.Session()
        self.session.trust_env = False

    def get(self, url):
        return self.session.get(url, timeout=5).content

    def close(self):
        self.session.close()


class Urllib3(Client):
    def open(self):
        self.pool = urllib3.PoolManager()

    def get(self, url):
        return self.pool.request("GET", url, timeout=5, retries=False).data

    def close(self):
        self.pool.clear()


class HttpClient(Client):
    connection = None

    def open(self):
        pass

    def get(self, url):
        netloc = url.removeprefix("http://").partition("/")[0]
        self.connection = self.connection or http.client.HTTPConnection(netloc, timeout=5)
        try:
            self.connection.request("GET", "/x")
            return self.connection.getresponse().read()
        except NetworkBlockedError:
            self.connection.close()
            raise

    def close(self):
        self.connection.close()


class Httpx(Client):
    def open(self):
        self.client = httpx.Client(trust_env=False)

    def get(self, url):
        return self.client.get(url).content

    def close(self):
        self.client.close()


class Httpcore(Client):
    def open(self):
        self.pool = httpcore.ConnectionPool()

    def get(self, url):
        return self.pool.request("GET", url).content

    def close(self):
        self.pool.close()


class InLoop(Client):
    def __enter__(self):
        self.runner = asyncio.Runner().__enter__()
        self.runner.run(self.begin())
        return self

    def get(self, url):
        return self.runner.run(self.ask(url))

    def close(self):
        self.runner.run(self.end())
        self.runner.close()


class AsyncHttpx(InLoop):
    async def begin(self):
        self.client = httpx.AsyncClient(trust_env=False)

    async def ask(self, url):
        return (await self.client.get(url)).content

    async def end(self):
        await self.client.aclose()


class AsyncHttpcore(InLoop):
    async def begin(self):
        self.pool = httpcore.AsyncConnectionPool()

    async def ask(self, url):
        return (await self.pool.request("GET", url)).content

    async def end(self):
        await self.pool.aclose()


class Aiohttp(InLoop):
    async def begin(self):
        self.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(resolver=aiohttp.ThreadedResolver())
        )

    async def ask(self, url):
        async with self.session.get(url) as answer:
            return await answer.read()

    async def end(self):
        await self.session.close()


every_client = pytest.mark.parametrize(
    "kind",
    [Requests, Urllib3, HttpClient, Httpx, Httpcore, AsyncHttpx, AsyncHttpcore, Aiohttp],
)


@every_client
def test_a_connection_to_a_host_off_this_machine_is_stopped_and_told(kind, live, outside, start):
    with kind() as client:
        for _ in range(2):
            assert client.get(f"{outside}/x") == b"live"
        assert (len(live.requests), live.accepted) == (2, 1)  # it is kept alive
        interception = start()
        for _ in range(2):
            with pytest.raises(NetworkBlockedError, match=OUTSIDE):
                client.get(f"{outside}/x")
        assert len(live.requests) == 2
        assert {miss.host for miss in interception.journal.misses} == {OUTSIDE}
        interception.stop()
        assert client.get(f"{outside}/x") == b"live"


@every_client
def test_a_connection_to_the_service_is_answered(kind, live, outside, start):
    with kind() as client:
        assert client.get(f"{outside}/x") == b"live"
        interception = start(base_url=outside)
        assert client.get(f"{outside}/x") == b"ours"
        assert len(live.requests) == 1
        interception.stop()
        assert client.get(f"{outside}/x") == b"live"


@every_client
def test_a_connection_that_may_be_made_is_kept(kind, live, outside, start):
    with kind() as here, kind() as allowed:
        assert here.get(f"{live.url}/x") == allowed.get(f"{outside}/x") == b"live"
        interception = start(allowed_hosts=[OUTSIDE])
        for _ in range(2):
            assert here.get(f"{live.url}/x") == allowed.get(f"{outside}/x") == b"live"
        assert interception.journal.misses == []
        assert live.accepted == 2


def test_a_tunnel_from_before_is_not_used_again(start, loopback):
    class Tunnel(http.client.HTTPConnection):
        def _tunnel(self):
            self.sock.sendall(b"GET /tunnel HTTP/1.1\r\nHost: x\r\n\r\n")
            heard = b""
            while not heard.endswith(b"live"):
                heard += self.sock.recv(65536)

    live = loopback(lambda _: Response(200, (), b"live"))
    connection = Tunnel("127.0.0.1", live.port, timeout=5)
    connection.set_tunnel(OUTSIDE, 80)
    connection.request("GET", "/x")
    assert connection.getresponse().read() == b"live"
    start()
    with pytest.raises(NetworkBlockedError, match=OUTSIDE):
        connection.request("GET", "/x")
    connection.close()
    assert len(live.requests) == 2


@pytest.fixture
def far_end(monkeypatch):
    """Lets the other ends of sockets seem to be off this machine."""
    monkeypatch.setattr(socket.socket, "getpeername", lambda _: ("192.0.2.1", 80))


@pytest.mark.parametrize("call", ["send", "sendall", "sendmsg", "datagram"])
def test_a_socket_from_before_is_stopped_by_its_other_end(start, live, far_end, call):
    kind = socket.SOCK_DGRAM if call == "datagram" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as kept, socket.socket() as new:
        kept.connect(("127.0.0.1", live.port))
        interception = start()
        new.connect(("127.0.0.1", live.port))
        new.sendall(b"x")  # its address was checked as it was connected
        send = getattr(kept, call, kept.send)
        for _ in range(2):
            with pytest.raises(NetworkBlockedError, match=r"192\.0\.2\.1, port 80"):
                send([b"x"] if call == "sendmsg" else b"x")
        assert len(interception.journal.misses) == 2


def test_a_client_that_finds_hosts_in_its_own_way_keeps_its_connections(start, live):
    """Where its own resolver leads to this machine, each connection may be used again."""

    class Resolver(aiohttp.ThreadedResolver):
        async def resolve(self, host, port=0, family=socket.AF_INET):
            return await super().resolve("127.0.0.1", port, family)

    async def ask():
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(resolver=Resolver())
        ) as session:
            for _ in range(3):
                async with session.get(f"http://tenant.example:{live.port}/x") as answer:
                    assert await answer.read() == b"live"

    interception = start()
    asyncio.run(ask())
    assert (interception.journal.misses, live.accepted) == ([], 1)
