"""While a test records, a client gets what it would get without the plugin: its own TLS, proxy,
limits and errors.

Each case is tried twice, by a test without the mark and by one that records; both have to see the
same.
"""

from __future__ import annotations

import gc
import json
import socket
import ssl
import struct
import threading
import warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import h2.config
import h2.connection
import h2.events
import pytest
import trustme
from conftest import JOB_UUID

from pytest_indexjob.recording.cassette import load

SUITE = """
import asyncio, http.client, json, os, ssl, urllib.parse
from pathlib import Path
import aiohttp, httpx, pytest, requests, urllib3

WISH = json.loads(os.environ["WISH"])
URL, CA, CERT, PROXY, LATE = (WISH.get(name) for name in ("url", "ca", "cert", "proxy", "timeout"))
LATE = LATE or 20

def context():
    made = ssl.create_default_context(cafile=CA or None)
    if CA is False:
        made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    if CERT: made.load_cert_chain(CERT)
    return made

def by_requests():
    proxies = {"http": PROXY, "https": PROXY} if PROXY else None
    verify = True if CA is None else CA
    answer = requests.get(URL, verify=verify, cert=CERT, proxies=proxies, timeout=LATE)
    return answer.status_code, answer.text

def by_urllib3():
    pool = urllib3.PoolManager(ssl_context=context())
    if PROXY:
        user = urllib.parse.urlsplit(PROXY).netloc.rpartition("@")[0]
        sent = urllib3.make_headers(proxy_basic_auth=user or ":")
        pool = urllib3.ProxyManager(PROXY, ssl_context=context(), proxy_headers=sent)
    with pool:
        answer = pool.request("GET", URL, retries=False, timeout=LATE)
        return answer.status, answer.data.decode()

def by_http_client():
    parts = urllib.parse.urlsplit(URL)
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(parts.netloc, timeout=LATE, context=context())
    else:
        connection = http.client.HTTPConnection(parts.netloc, timeout=LATE)
    try:
        connection.request("GET", parts.path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()

def by_httpx():
    http2 = bool(WISH.get("http2"))
    with httpx.Client(verify=context(), proxy=PROXY, timeout=LATE, http2=http2) as client:
        answer = client.get(URL)
        return answer.status_code, answer.text

def by_httpx_async():
    async def ask():
        http2 = bool(WISH.get("http2"))
        wishes = {"verify": context(), "proxy": PROXY, "timeout": LATE, "http2": http2}
        async with httpx.AsyncClient(**wishes) as client:
            answer = await client.get(URL)
            return answer.status_code, answer.text
    return asyncio.run(ask())

def by_aiohttp():
    async def ask():
        limit = aiohttp.ClientTimeout(sock_read=LATE)
        async with aiohttp.ClientSession(timeout=limit) as client:
            async with client.get(URL, ssl=context(), proxy=PROXY) as answer:
                return answer.status, await answer.text()
    return asyncio.run(ask())

def seen(call):
    try:
        return call()
    except Exception as error:
        chain = []
        while error is not None:
            chain.append(f"{type(error).__module__}.{type(error).__name__}")
            error = error.__cause__ or error.__context__
        return chain

def keep(request, call):
    saw = seen(call)
    with Path("seen.jsonl").open("a") as file:
        file.write(json.dumps([call.__name__, saw]) + "\\n")
    return saw

CALLS = [by_requests, by_urllib3, by_http_client, by_httpx, by_httpx_async, by_aiohttp]
CALLS = [call for call in CALLS if call.__name__ in WISH.get("clients", call.__name__)]

@pytest.mark.parametrize("call", CALLS)
def test_plain(call, request):
    if WISH["plain"]: keep(request, call)

@pytest.mark.indexjob_cassette("mine")
@pytest.mark.parametrize("call", CALLS)
def test_recorded(call, request):
    keep(request, call)
"""


class _Server(ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """Say nothing: its clients break off, and its output may be closed by then."""


class Service:
    """Threads that serve on loopback until they are closed."""

    def __init__(self):
        self.servers = []
        self.tunnelled = []

    def http(self, context=None, handler=None):
        server = _Server(("127.0.0.1", 0), handler or _Handler)
        server.daemon_threads = True
        if context is not None:
            server.socket = context.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        server.service = self
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.servers.append(server)
        return server.server_address[1]

    def raw(self, serve, context=None):
        """A port whose connections are each given to a function."""
        listening = socket.create_server(("127.0.0.1", 0))

        def accept():
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                threading.Thread(target=serve_one, args=(connection,), daemon=True).start()

        def serve_one(connection):
            with connection:
                serve(connection, context)

        threading.Thread(target=accept, daemon=True).start()
        self.servers.append(listening)
        return listening.getsockname()[1]

    def close(self):
        for server in self.servers:
            if isinstance(server, socket.socket):
                server.shutdown(socket.SHUT_RDWR)
                server.close()
            else:
                server.shutdown()
                server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        peer = getattr(self.connection, "getpeercert", dict)()
        told = {
            "job": {"uuid": JOB_UUID},
            "peer": bool(peer),
            "target": self.path.partition("://")[1],
            "proxy": self.headers.get("Proxy-Authorization"),
        }
        body = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_CONNECT(self):
        self.server.service.tunnelled.append(self.headers.get("Proxy-Authorization"))
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port))) as there:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=_pump, args=(there, self.connection), daemon=True)
            back.start()
            _pump(self.connection, there)
        self.close_connection = True

    def log_message(self, *_):
        pass


def _pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass


def reset(connection, _context):
    connection.recv(65536)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def hang_up(connection, _context):
    connection.recv(65536)


def cut_short(connection, _context):
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}")


def silent(connection, _context):
    while connection.recv(65536):
        pass


def no_http(connection, _context):
    connection.recv(65536)
    connection.sendall(b"SSH-2.0-OpenSSH\r\n\r\n")


def http2(connection, context):
    with context.wrap_socket(connection, server_side=True) as secured:
        speak_http2(secured)


def speak_http2(connection):
    config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
    talk = h2.connection.H2Connection(config)
    talk.initiate_connection()
    connection.sendall(talk.data_to_send())
    body = json.dumps({"job": {"uuid": JOB_UUID}, "spoke": "h2"}).encode()
    while data := connection.recv(65536):
        for event in talk.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                head = [(":status", "200"), ("content-type", "application/json")]
                talk.send_headers(event.stream_id, head)
                talk.send_data(event.stream_id, body, end_stream=True)
        connection.sendall(talk.data_to_send())


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A certificate authority, files of it and of a client's certificate."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    mine = authority.issue_cert("somebody@example.org")
    mine.private_key_and_cert_chain_pem.write_to_path(folder / "mine.pem")
    authority.folder = folder
    return authority


@pytest.fixture
def context(authority):
    """A server's TLS, trusted by who trusts the authority."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(made)
    authority.configure_trust(made)
    return made


@pytest.fixture
def service():
    """Servers on loopback."""
    made = Service()
    yield made
    made.close()


@pytest.fixture
def both(pytester, monkeypatch):
    """What each client sees without the plugin and while a test records: ``both(url, **wish)``."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    pytester.makepyfile(SUITE)

    def run(base, *options, plain=True, **wish):
        pytester.makeconftest(f"""
            import pytest
            from pytest_indexjob import IndexJobSettings
            @pytest.fixture(scope="session")
            def indexjob_settings(): return IndexJobSettings(base_url={base!r}, token="any")
        """)
        wish |= {"url": f"{base}/v2/gen-ai/indexing_jobs/{JOB_UUID}", "plain": plain}
        monkeypatch.setenv("WISH", json.dumps(wish))
        file = pytester.path / "seen.jsonl"
        file.unlink(missing_ok=True)
        # A connection that a server of these cases breaks is never closed by aiohttp's loop, only
        # with the garbage; until then a thread of the server waits for it.
        result = pytester.runpytest(*("-p", "no:cacheprovider", "-W", "ignore"), *options)
        assert result.ret == 0
        with warnings.catch_warnings(action="ignore", category=ResourceWarning):
            gc.collect()
        saw = [json.loads(line) for line in file.read_text().splitlines()]
        half = len(saw) // 2 if plain else 0
        return dict(saw[:half]), dict(saw[half:])

    return run


RECORD = "--indexjob-record=all"


def assert_answered(plain, recorded, clients=6):
    assert len(plain) == clients
    assert all(status == 200 for status, _ in plain.values()), plain
    assert recorded == plain


def assert_same_errors(plain, recorded):
    assert len(plain) == 6
    for client, chain in plain.items():
        assert recorded[client][0] == chain[0], client
        # The cause is there too; our own may stand between.
        assert set(chain) <= set(recorded[client]), (client, chain, recorded[client])


@pytest.mark.slow
def test_a_self_made_authority_that_the_client_trusts(both, service, context, authority, pytester):
    base = f"https://127.0.0.1:{service.http(context)}"
    assert_answered(*both(base, RECORD, ca=str(authority.folder / "ca.pem")))
    service.close()
    service.servers.clear()
    assert len(load(pytester.path / "cassettes" / "mine.yaml").interactions) == 6
    _, replayed = both(base, plain=False)
    assert [status for status, _ in replayed.values()] == [200] * 6


@pytest.mark.slow
def test_a_client_that_verifies_nothing(both, service, context):
    assert_answered(*both(f"https://127.0.0.1:{service.http(context)}", RECORD, ca=False))


def test_a_service_that_the_client_does_not_trust(both, service, context):
    plain, recorded = both(f"https://127.0.0.1:{service.http(context)}", RECORD)
    assert_same_errors(plain, recorded)
    # aiohttp keeps the cause in an attribute of its error, by whose class it tells.
    assert all(any("ertificate" in each or "SSL" in each for each in it) for it in plain.values())


def test_a_client_s_own_certificate(both, service, context, authority):
    context.verify_mode = ssl.CERT_REQUIRED
    base = f"https://127.0.0.1:{service.http(context)}"
    files = {"ca": str(authority.folder / "ca.pem"), "cert": str(authority.folder / "mine.pem")}
    plain, recorded = both(base, RECORD, **files)
    assert_answered(plain, recorded)
    assert all(json.loads(text)["peer"] for _, text in recorded.values())


def test_a_certificate_that_is_missing(both, service, context, authority):
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # in 1.3 it is missed only after the handshake
    base = f"https://127.0.0.1:{service.http(context)}"
    assert_same_errors(*both(base, RECORD, ca=str(authority.folder / "ca.pem")))


PROXIED = ["by_requests", "by_urllib3", "by_httpx", "by_httpx_async", "by_aiohttp"]


def test_a_proxy_with_credentials(both, service):
    proxy = f"http://me:hush-hush@127.0.0.1:{service.http()}"
    base = f"http://127.0.0.1:{service.http()}"
    plain, recorded = both(base, RECORD, proxy=proxy, clients=PROXIED)
    assert_answered(plain, recorded, 5)
    # The proxy, which answers in the service's place, was asked for a whole URL.
    told = [json.loads(text) for _, text in recorded.values()]
    assert [(it["target"], it["proxy"]) for it in told] == [
        ("://", "Basic bWU6aHVzaC1odXNo"),
    ] * 5


def test_a_tunnel_through_a_proxy(both, service, context, authority):
    proxy = f"http://me:hush-hush@127.0.0.1:{service.http()}"
    base = f"https://127.0.0.1:{service.http(context)}"
    ca = str(authority.folder / "ca.pem")
    assert_answered(*both(base, RECORD, proxy=proxy, ca=ca, clients=PROXIED), 5)
    assert service.tunnelled == ["Basic bWU6aHVzaC1odXNo"] * 10


def test_http_2(both, service, context, authority):
    context.set_alpn_protocols(["h2"])
    base = f"https://127.0.0.1:{service.raw(http2, context)}"
    ca, clients = str(authority.folder / "ca.pem"), ["by_httpx", "by_httpx_async"]
    wish = {"ca": ca, "clients": clients, "http2": True}
    plain, recorded = both(base, RECORD, **wish)
    assert_answered(plain, recorded, 2)
    assert all(json.loads(text)["spoke"] == "h2" for _, text in recorded.values())


@pytest.mark.parametrize("serve", [reset, hang_up, cut_short, no_http])
def test_a_connection_that_breaks(both, service, serve):
    assert_same_errors(*both(f"http://127.0.0.1:{service.raw(serve)}", RECORD))


@pytest.mark.slow
def test_a_time_out(both, service):
    plain, recorded = both(f"http://127.0.0.1:{service.raw(silent)}", RECORD, timeout=0.3)
    assert_same_errors(plain, recorded)
    assert all("imeout" in chain[0] for chain in recorded.values())


def test_a_port_that_nobody_serves(both):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert_same_errors(*both(f"http://127.0.0.1:{port}", RECORD))


def test_a_name_that_nobody_has(both):
    plain, recorded = both("http://nobody.invalid", RECORD)
    assert_same_errors(plain, recorded)
    assert all(any("gaierror" in each for each in chain) for chain in recorded.values())


def test_a_port_that_speaks_no_tls(both, service):
    assert_same_errors(*both(f"https://127.0.0.1:{service.http()}", RECORD))


def test_a_proxy_that_nobody_serves(both, service):
    with socket.create_server(("127.0.0.1", 0)) as free:
        proxy = f"http://127.0.0.1:{free.getsockname()[1]}"
    base = f"http://127.0.0.1:{service.http()}"
    plain, recorded = both(base, RECORD, proxy=proxy, clients=PROXIED)
    assert [chain[0] for chain in recorded.values()] == [chain[0] for chain in plain.values()]
