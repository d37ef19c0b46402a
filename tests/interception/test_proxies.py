"""A forward proxy on this machine is no way out of it, whoever asks it and how."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import importlib
import itertools
import socket
import socketserver
import ssl
import threading
import urllib.request

import pytest
from conftest import COMPLETED, JOB_URL
from hypothesis import given
from hypothesis import strategies as st

from pytest_indexjob import NetworkBlockedError
from pytest_indexjob.exchange import Journal, Response
from pytest_indexjob.interception.forward_proxies import ProxyRequests
from pytest_indexjob.interception.interception import Interception
from pytest_indexjob.virtual_time.clock import VirtualClock

HERE = "http://127.0.0.1:1"
OTHER = "other.example"
OTHERS = [f"http://{OTHER}/x", f"https://{OTHER}/x"]
API = "http://api.digitalocean.com"
both = pytest.mark.parametrize("url", OTHERS)


class Proxy:
    """A real server that answers every request and CONNECT, and keeps each byte that it hears."""

    def __init__(self):
        self.heard = bytearray()
        proxy = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                with contextlib.suppress(OSError):
                    while data := self.request.recv(65536):
                        proxy.heard += data
                        if data.startswith(b"\x05"):
                            self.request.sendall(b"\x05\x00")
                        elif data.endswith(b"\r\n\r\n"):
                            body = b"" if data.startswith(b"CONNECT") else b"by the proxy"
                            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
                            self.request.sendall(head + body)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        work = {"poll_interval": 0.01}
        threading.Thread(target=self._server.serve_forever, kwargs=work, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def proxy():
    proxy = Proxy()
    yield proxy
    proxy.close()


class Source:
    hosts = frozenset(["api.digitalocean.com"])  # by plain HTTP, too
    requests = ()

    def handle(self, request):
        self.requests = (*self.requests, request)
        return COMPLETED


@pytest.fixture
def interception(proxy):
    interception = Interception(Journal(), VirtualClock(), test="the test")
    interception.source = Source()
    yield interception.start()
    interception.stop()


def by_requests(url, proxy):
    import requests

    with requests.Session() as session:
        proxies = {"http": proxy, "https": proxy} if proxy else None
        return session.get(url, proxies=proxies, timeout=5).content


def by_urllib3(url, proxy):
    import urllib3

    with urllib3.ProxyManager(proxy) as pool:
        return pool.request("GET", url, timeout=5, retries=False).data


def by_urllib3_forwarding(url, proxy):
    import urllib3

    with urllib3.ProxyManager(proxy, use_forwarding_for_https=True) as pool:
        return pool.request("GET", url, timeout=5, retries=False).data


def by_urllib(url, proxy):
    proxies = {"http": proxy, "https": proxy} if proxy else None
    opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies))
    with opener.open(url, timeout=5) as answer:
        return answer.read()


def by_http_client(url, proxy):
    scheme, _, rest = url.partition("://")
    host, _, path = rest.partition("/")
    kind = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
    with contextlib.closing(kind(proxy.removeprefix("http://"), timeout=5)) as connection:
        if scheme == "https":
            connection.set_tunnel(host, 443)
            connection.request("GET", f"/{path}")
        else:
            connection.request("GET", url)
        return connection.getresponse().read()


def by_httpx(url, proxy):
    httpx = importlib.import_module("httpx")
    with httpx.Client(proxy=proxy) as client:
        return client.get(url).content


def by_httpx_async(url, proxy):
    httpx = importlib.import_module("httpx")

    async def ask():
        async with httpx.AsyncClient(proxy=proxy) as client:
            return (await client.get(url)).content

    return asyncio.run(ask())


def by_httpcore(url, proxy):
    httpcore = importlib.import_module("httpcore")
    with httpcore.HTTPProxy(proxy) as pool:
        return pool.request("GET", url).content


def by_httpcore_pool(url, proxy):
    httpcore = importlib.import_module("httpcore")
    with httpcore.ConnectionPool(proxy=httpcore.Proxy(proxy)) as pool:
        return pool.request("GET", url).content


def by_httpcore_async(url, proxy):
    httpcore = importlib.import_module("httpcore")

    async def ask():
        async with httpcore.AsyncHTTPProxy(proxy) as pool:
            return (await pool.request("GET", url)).content

    return asyncio.run(ask())


def by_aiohttp(url, proxy):
    import aiohttp

    async def ask():
        async with (
            aiohttp.ClientSession(trust_env=not proxy) as session,
            session.get(url, proxy=proxy) as answer,
        ):
            return await answer.read()

    return asyncio.run(ask())


CLIENTS = [
    by_requests, by_urllib3, by_urllib3_forwarding, by_urllib, by_http_client, by_httpx,
    by_httpx_async, by_httpcore, by_httpcore_pool, by_httpcore_async, by_aiohttp,
]  # fmt: skip
BY_ENVIRONMENT = [by_requests, by_urllib, by_httpx, by_httpx_async, by_aiohttp]


@pytest.mark.parametrize("ask", CLIENTS)
def test_the_apis_host_is_answered_and_no_other_is_asked_for(interception, proxy, ask):
    for url in (JOB_URL, f"{API}/v2/x"):
        assert ask(url, proxy.url) == COMPLETED.body
    assert [each.url for each in interception.source.requests] == [JOB_URL, f"{API}/v2/x"]
    for url in OTHERS:
        with pytest.raises(NetworkBlockedError, match=r"other\.example"):
            ask(url, proxy.url)
    assert proxy.heard == b""
    assert len(interception.journal.misses) >= 2


@pytest.mark.parametrize("names", [("HTTP_PROXY", "HTTPS_PROXY"), ("ALL_PROXY",)])
@pytest.mark.parametrize("ask", BY_ENVIRONMENT)
def test_proxies_of_the_environment(interception, proxy, ask, names, monkeypatch):
    for name in names:
        monkeypatch.setenv(name, proxy.url)
        monkeypatch.setenv(name.lower(), proxy.url)
    assert ask(JOB_URL, None) == COMPLETED.body
    for url in OTHERS:
        with pytest.raises(NetworkBlockedError, match=r"other\.example"):
            ask(url, None)
    assert proxy.heard == b""


@pytest.mark.parametrize("ask", [by_requests, by_urllib3, by_httpx, by_httpx_async, by_aiohttp])
def test_a_proxy_may_be_asked_for_this_machine(interception, proxy, ask):
    assert ask(f"{HERE}/x", proxy.url) == b"by the proxy"
    assert proxy.heard.startswith(f"GET {HERE}/x HTTP/1.1\r\n".encode())
    assert interception.journal.misses == []


ASKED = {
    "absolute": b"GET http://other.example/x HTTP/1.1\r\nHost: other.example\r\n\r\n",
    "no host header": b"get http://u:p@other.example:8080?x HTTP/1.0\r\n\r\n",
    "connect": b"CONNECT other.example:443 HTTP/1.1\r\n\r\n",
    "bare line feeds": b"CONNECT other.example:443 HTTP/1.0\n\n",
    "address": b"CONNECT [2001:db8::1]:443 HTTP/1.1\r\n\r\n",
    "after a request": b"GET / HTTP/1.1\r\nHost: here\r\n\r\nGET ftp://x HTTP/1.1\r\n\r\n"
    b"CONNECT other.example:443 HTTP/1.1\r\n\r\n",
    "after a body": b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"
    b"CONNECT other.example:1 HTTP/1.1\r\n",
}


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
@pytest.mark.parametrize("call", ["send", "sendall", "sendmsg", "byte by byte", "stream", "file"])
def test_bytes_on_a_socket(interception, proxy, asked, call):
    with pytest.raises(NetworkBlockedError, match=r"other\.example|2001:db8::1"):
        if call == "stream":
            asyncio.run(by_streams(proxy, asked))
        with socket.create_connection(("127.0.0.1", proxy.port)) as sock:
            if call == "sendmsg":
                sock.sendmsg([asked[:5], memoryview(asked)[5:]])
            elif call == "file":
                with sock.makefile("wb") as file:
                    file.write(asked)
                    file.flush()
            elif call == "byte by byte":
                for at in range(len(asked)):
                    sock.sendall(asked[at : at + 1])
            else:
                getattr(sock, call)(asked)
    heard = bytes(proxy.heard)
    assert asked not in heard
    assert not heard.endswith(b"HTTP/1.1\r\n\r\n")


async def by_streams(proxy, asked):
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    loop = asyncio.get_running_loop()
    told = []
    loop.set_exception_handler(lambda _, context: told.append(context["exception"]))
    writer.write(asked)
    with contextlib.suppress(NetworkBlockedError):
        await reader.read()
    writer.close()
    raise told[0]


def test_tls_to_a_proxy(interception, proxy):
    """The bytes within TLS are looked at before they are encrypted."""
    context = ssl.create_default_context()
    tls = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="localhost")
    with pytest.raises(NetworkBlockedError):
        tls.write(ASKED["connect"])
    here, there = socket.socketpair()
    with there, context.wrap_socket(
        here, server_hostname="localhost", do_handshake_on_connect=False
    ) as sock:  # fmt: skip
        for write in (sock.write, sock.send, sock.sendall):
            with pytest.raises(NetworkBlockedError):
                write(ASKED["absolute"])


SOCKS = {
    "4": [b"\x04\x01\x01\xbb\xc0\x00\x02\x01user\0"],
    "4a": [b"\x04\x01\x01\xbb\0\0\0\x01user\0other.example\0"],
    "5": [b"\x05\x01\x00", b"\x05\x01\x00\x03\x0dother.example\x01\xbb"],
    "5, address": [b"\x05\x02\x00\x02", b"\x05\x01\x00\x01\xc0\x00\x02\x01\x01\xbb"],
    "5, address of version 6": [
        b"\x05\x01\x00",
        b"\x05\x01\x00\x04" + bytes.fromhex("20010db8" + "00" * 11 + "01") + b"\0\1",
    ],
    "5, password": [
        b"\x05\x01\x02", b"\x01\x02me\x02pw", b"\x05\x01\x00\x03\x0dother.example\x01\xbb"
    ],
}  # fmt: skip


@pytest.mark.parametrize("parts", SOCKS.values(), ids=SOCKS)
def test_socks(interception, proxy, parts):
    with socket.create_connection(("127.0.0.1", proxy.port)) as sock:
        for part in parts[:-1]:
            sock.sendall(part)
        for _ in range(2):
            with pytest.raises(NetworkBlockedError):
                sock.sendall(parts[-1])


def test_requests_by_socks(interception, proxy, monkeypatch):
    socks = pytest.importorskip("socks")
    made = []

    real = socks.socksocket.__init__

    def init(self, *args, **kwargs):  # PySocks leaves its sockets to the garbage collector
        real(self, *args, **kwargs)
        made.append(self)

    monkeypatch.setattr(socks.socksocket, "__init__", init)
    assert by_requests(JOB_URL, f"socks5h://127.0.0.1:{proxy.port}") == COMPLETED.body
    with pytest.raises(NetworkBlockedError, match=r"other\.example"):
        by_requests(OTHERS[0], f"socks5h://127.0.0.1:{proxy.port}")
    for sock in made:
        sock.close()
    assert b"other" not in proxy.heard


NO_PROXYS = [
    b"GET /x?u=http://other.example HTTP/1.1\r\nHost: other.example\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 60\r\n\r\n" + ASKED["absolute"][:60],
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3c\r\n" + ASKED["absolute"][:60],
    b"CONNECT 127.0.0.1:80 HTTP/1.1\r\n\r\n" + b"\x16\x03\x01" + ASKED["connect"],
    b"CONNECT\nid:1\n\n\0",  # STOMP
    b"\x04\x00\x00\x00\x05" + ASKED["connect"],  # a database's
    b"\x05\x00\x00\x00\x05" + ASKED["connect"],
    b"*1\r\n$4\r\nPING\r\n" + ASKED["connect"],
    b"EHLO me\r\n" + ASKED["connect"],
    b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
    b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
]


@given(st.sampled_from(NO_PROXYS), st.lists(st.integers(0, 200), max_size=4))
def test_what_is_said_to_other_servers_asks_for_nothing(sent, cuts):
    requests = ProxyRequests()
    cuts = sorted({0, len(sent), *(cut for cut in cuts if cut < len(sent))})
    parts = [sent[begin:end] for begin, end in itertools.pairwise(cuts)]
    for part in parts:
        requests.feed(part)
    assert [host for host, _ in requests.hosts if host != "127.0.0.1"] == []


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_any_bytes_are_taken(parts):
    requests = ProxyRequests()
    for part in parts:
        requests.feed(part)


def test_servers_that_are_no_proxies_are_left_alone(interception, loopback):
    import requests

    live = loopback(lambda request: Response(200, (), request.body or b"theirs"))
    body = ASKED["absolute"]
    for data in (body, iter([body[:9], body[9:]])):
        assert requests.post(f"{live.url}/x", data=data, timeout=5).status_code == 200
    with requests.Session() as session:
        for host in (OTHER, "tenant.example"):  # a virtual host of the server
            answer = session.get(f"{live.url}/x", headers={"Host": host}, timeout=5)
            assert answer.content == b"theirs"
    assert interception.journal.misses == []
