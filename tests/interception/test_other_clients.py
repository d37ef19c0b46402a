"""Clients off the common ways: answered, or refused in words that name them and the way out."""

from __future__ import annotations

import asyncio
import http.client
import os
import shutil
import subprocess
import sys
import types
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import COMPLETED, JOB_URL

from pytest_indexjob import NetworkBlockedError
from pytest_indexjob.exchange import Journal, TransportFault
from pytest_indexjob.interception.interception import Interception
from pytest_indexjob.virtual_time.clock import VirtualClock

FOREIGN = "needs pip install -e '.[foreign]'"


class Source:
    hosts = frozenset()

    def handle(self, request):
        assert request.url == JOB_URL
        return COMPLETED


@pytest.fixture
def interception():
    interception = Interception(Journal(), VirtualClock(), test="the test")
    interception.source = Source()
    yield interception.start()
    interception.stop()


def test_httplib2(interception):
    httplib2 = pytest.importorskip("httplib2")
    answer, body = httplib2.Http(timeout=3).request(JOB_URL)
    assert (answer.status, body) == (200, COMPLETED.body)
    with pytest.raises(NetworkBlockedError):
        httplib2.Http(timeout=3).request("https://other.invalid")


def test_httpx2(interception):
    httpx2 = pytest.importorskip("httpx2")
    assert httpx2.get(JOB_URL).content == COMPLETED.body

    async def ask():
        async with httpx2.AsyncClient() as client:
            return (await client.get(JOB_URL)).content

    assert asyncio.run(ask()) == COMPLETED.body


def test_httpx_under_trio(interception):
    trio, httpx = pytest.importorskip("trio"), pytest.importorskip("httpx")

    async def ask():
        async with httpx.AsyncClient() as client:
            return (await client.get(JOB_URL)).content

    assert trio.run(ask) == COMPLETED.body
    with pytest.raises(NetworkBlockedError):
        trio.run(trio.open_tcp_stream, "other.invalid", 80)


def test_uvloop(interception):
    uvloop, httpx = pytest.importorskip("uvloop"), pytest.importorskip("httpx")

    async def ask():
        async with httpx.AsyncClient() as client:
            assert (await client.get(JOB_URL)).content == COMPLETED.body
        async with await asyncio.start_server(lambda _, out: out.close(), "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()
        await asyncio.open_connection("192.0.2.1", 80)

    with pytest.raises(NetworkBlockedError, match=r"uvloop .* indexjob_server"):
        uvloop.run(ask())


def test_curl_cffi(interception, loopback):
    curl_cffi = pytest.importorskip("curl_cffi", reason=FOREIGN)
    live = loopback(lambda _: COMPLETED)
    assert curl_cffi.get(live.url).content == COMPLETED.body
    with pytest.raises(NetworkBlockedError, match=r"curl_cffi .* indexjob_server"):
        curl_cffi.get(JOB_URL)


def test_tornado(interception, loopback):
    httpclient = pytest.importorskip("tornado.httpclient", reason=FOREIGN)
    live = loopback(lambda _: COMPLETED)

    async def ask(url):
        return (await httpclient.AsyncHTTPClient(force_instance=True).fetch(url)).body

    assert asyncio.run(ask(live.url)) == COMPLETED.body
    with pytest.raises(NetworkBlockedError, match=r"tornado .* indexjob_server"):
        asyncio.run(ask(JOB_URL))


def test_niquests(interception, loopback):
    niquests = pytest.importorskip(
        "niquests", reason="niquests replaces urllib3, so it needs an environment of its own"
    )
    assert niquests.get(loopback(lambda _: COMPLETED).url).content == COMPLETED.body
    with pytest.raises(NetworkBlockedError, match=r"niquests .* indexjob_server"):
        niquests.get(JOB_URL)


def test_requests_over_urllib3_future(interception):
    urllib3, requests = pytest.importorskip("urllib3"), pytest.importorskip("requests")
    if not issubclass(urllib3.connection.HTTPConnection, http.client.HTTPConnection):
        with pytest.raises(NetworkBlockedError, match=r"urllib3-future .* indexjob_server"):
            requests.get(JOB_URL)
    else:
        assert requests.get(JOB_URL).content == COMPLETED.body


PERFORM = """
from pycurl import Curl as Named
import pycurl

def ask(url, by=pycurl.URL, kind=None):
    got = []
    curl = (kind or pycurl.Curl)()
    curl.setopt(by, url)
    curl.setopt(pycurl.WRITEFUNCTION, got.append)
    curl.perform()
    curl.close()
    return b"".join(got)
"""


def test_pycurl(interception, loopback):
    pycurl = pytest.importorskip("pycurl", reason=FOREIGN)
    interception.stop()
    names = types.ModuleType("names")  # a module that was imported before the test
    exec(PERFORM, vars(names))
    sys.modules["names"] = names
    real = pycurl.Curl
    interception.start()
    live = loopback(lambda _: COMPLETED)
    try:
        for kind in (None, names.Named):
            assert names.ask(live.url, kind=kind) == COMPLETED.body
            for url in (JOB_URL, JOB_URL.encode(), "api.digitalocean.com/v2"):
                with pytest.raises(NetworkBlockedError, match=r"pycurl .* indexjob_server"):
                    names.ask(url, kind=kind)
        interception.stop()
        assert names.Named is pycurl.Curl is real
    finally:
        del sys.modules["names"]


def test_primp(interception, loopback):
    primp = pytest.importorskip("primp", reason=FOREIGN)
    live = loopback(lambda _: COMPLETED)
    assert primp.get(live.url).content == COMPLETED.body
    assert primp.Client().request("GET", live.url).content == COMPLETED.body
    assert asyncio.run(by_primp(primp, live.url)) == COMPLETED.body
    for ask in (
        lambda: primp.get(JOB_URL),
        lambda: primp.Client().get(JOB_URL),
        lambda: primp.Client().request("POST", url=JOB_URL),
        lambda: asyncio.run(by_primp(primp, JOB_URL)),
    ):
        with pytest.raises(NetworkBlockedError, match=r"primp .* indexjob_server"):
            ask()
    interception.stop()
    assert type(primp.get).__name__ == "builtin_function_or_method"


async def by_primp(primp, url):
    return (await primp.AsyncClient().get(url)).content


def test_grpc(interception):
    grpc = pytest.importorskip("grpc", reason=FOREIGN)
    interception.stop()
    kept = grpc.insecure_channel("192.0.2.1:443")
    call = kept.unary_unary("/service/call")
    interception.start()
    grpc.insecure_channel("localhost:50051").close()
    for attempt in (
        lambda: grpc.secure_channel("dns:///other.invalid:443", grpc.ssl_channel_credentials()),
        lambda: grpc.insecure_channel("192.0.2.1:443"),
        lambda: grpc.aio.insecure_channel("ipv4:192.0.2.1:443"),
        lambda: kept.unary_unary("/service/call")(b""),
        lambda: call.future(b""),
    ):
        with pytest.raises(NetworkBlockedError, match=r"grpc .* indexjob_server"):
            attempt()
    kept.close()


def test_grpc_asks_a_server_on_this_machine(interception):
    grpc = pytest.importorskip("grpc", reason=FOREIGN)
    server = grpc.server(ThreadPoolExecutor(1))
    echo = grpc.unary_unary_rpc_method_handler(lambda asked, _: asked)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("s", {"c": echo})])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        assert channel.unary_unary("/s/c")(b"asked", timeout=10) == b"asked"
    server.stop(None).wait()


def test_pycares(interception):
    pycares = pytest.importorskip("pycares", reason=FOREIGN)
    channel = pycares.Channel()
    with pytest.raises(NetworkBlockedError, match=r"other\.invalid.*pycares"):
        channel.getaddrinfo("other.invalid", 80, callback=print)
    with pytest.raises(NetworkBlockedError, match=r"192\.0\.2\.1.*pycares"):
        channel.getnameinfo(("192.0.2.1", 80), 0, callback=print)


COMMANDS = [
    ["curl", "-s", JOB_URL],
    ["/usr/bin/wget", "-q", "https://other.invalid/x"],
    ["doctl", "auth", "init"],
    "true && curl -s 'https://user@other.invalid:8443/x' | cat",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_that_ask_the_network(interception, command):
    def by_asyncio():
        exec_, shell = asyncio.create_subprocess_exec, asyncio.create_subprocess_shell
        asyncio.run(shell(command) if isinstance(command, str) else exec_(*command))

    def by_system():
        os.system(command if isinstance(command, str) else " ".join(command))

    def by_uvloop():
        uvloop = pytest.importorskip("uvloop", reason="needs uvloop, which Windows does not have")
        shell = asyncio.create_subprocess_shell
        uvloop.run(shell(command if isinstance(command, str) else " ".join(command)))

    def by_subprocess():
        subprocess.run(command, shell=isinstance(command, str), check=False)

    ways = [by_subprocess, by_asyncio, by_uvloop, by_system]
    if isinstance(command, list):
        ways.append(lambda: os.posix_spawn(command[0], command, {}))
    for start in ways:
        with pytest.raises(
            NetworkBlockedError, match=r"can.t answer the command \w+ .* indexjob_server"
        ):
            start()
    assert len(interception.journal.misses) == len(ways)


def test_commands_that_ask_this_machine_or_nobody(interception, loopback):
    live = loopback(lambda _: COMPLETED)
    shown = subprocess.run(["echo", JOB_URL], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == JOB_URL
    with pytest.raises(FileNotFoundError):
        subprocess.run(["doctl", "balance"], env={"DIGITALOCEAN_API_URL": live.url}, check=True)
    if shutil.which("curl"):
        got = subprocess.run(["curl", "-s", live.url], capture_output=True, check=True).stdout
        assert got == COMPLETED.body
    assert interception.journal.misses == []


def test_httpcore(interception):
    httpcore = pytest.importorskip("httpcore")
    with httpcore.ConnectionPool() as pool:
        for _ in range(2):
            assert pool.request("GET", JOB_URL).content == COMPLETED.body
        assert len(pool.connections) == 1
        interception.stop()
        assert not [each for each in pool.connections if not each.has_expired()]
    interception.start()

    async def ask():
        async with httpcore.AsyncConnectionPool() as pool:
            answer = await pool.request("GET", JOB_URL)
            stream = answer.extensions["network_stream"]
            assert stream.get_extra_info("server_addr") == ("api.digitalocean.com", 443)
            return answer.content

    assert asyncio.run(ask()) == COMPLETED.body


@pytest.mark.parametrize(
    ("fault", "error"),
    [("refused", "ConnectError"), ("reset", "ReadError"), ("timeout", "ReadTimeout")],
)
def test_httpcore_has_its_own_errors(interception, fault, error):
    httpcore = pytest.importorskip("httpcore")

    def handle(request):
        raise TransportFault(fault)

    interception.source.handle = handle
    timeout = {"timeout": {"read": 7}}
    with pytest.raises(getattr(httpcore, error)), httpcore.ConnectionPool() as pool:
        pool.request("GET", JOB_URL, extensions=timeout)
    assert interception.clock.elapsed == (7 if fault == "timeout" else 0)


def trying_again(httpx):
    with httpx.Client(transport=httpx.HTTPTransport(retries=3)) as client:
        return client.get(JOB_URL).content


def trying_again_async(httpx):
    async def ask():
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(retries=3)) as client:
            return (await client.get(JOB_URL)).content

    return asyncio.run(ask())


@pytest.mark.parametrize("ask", [trying_again, trying_again_async])
def test_a_transport_of_httpx_that_tries_again_does(interception, ask):
    httpx = pytest.importorskip("httpx")
    answers = [TransportFault("refused")] * 3

    def handle(request):
        if answers:
            raise answers.pop()
        return COMPLETED

    interception.source.handle = handle
    assert ask(httpx) == COMPLETED.body
    assert interception.clock.elapsed == 1.5
    answers[:] = [TransportFault("refused")] * 5
    with pytest.raises(httpx.ConnectError):
        ask(httpx)
    answers[:] = [TransportFault("reset")]
    with pytest.raises(httpx.ReadError):
        ask(httpx)


MOCKED = """
import httpx, pytest, requests
BASE = "https://api.digitalocean.com/v2/gen-ai/indexing_jobs"
HEADERS = {"Authorization": "Bearer any"}

def check(get, uuid):
    mocked = get(BASE + "/mocked", headers=HEADERS)
    assert (mocked.status_code, mocked.text) == (418, "theirs")
    ours = get(f"{BASE}/{uuid}", headers=HEADERS)
    assert ours.json()["job"]["uuid"] == uuid
    mocked = get(BASE + "/mocked", headers=HEADERS)
    assert (mocked.status_code, mocked.text) == (418, "theirs")

@pytest.fixture
def theirs():
    import MODULE
SETUP

def test_after_ours(indexjob_simulator, theirs):
    check(GET, indexjob_simulator.start().uuid)

def test_before_ours(theirs, indexjob_simulator):
    check(GET, indexjob_simulator.start().uuid)
"""
MOCKS = {
    "respx": (
        "httpx.get",
        "with respx.mock(assert_all_called=False) as mock:\n"
        '    mock.get(BASE + "/mocked").respond(418, text="theirs")\n'
        "    yield\n",
    ),
    "respx that lets the rest pass": (
        "httpx.get",
        "with respx.mock(assert_all_called=False) as mock:\n"
        '    mock.get(BASE + "/mocked").respond(418, text="theirs")\n'
        "    mock.route().pass_through()\n"
        "    yield\n",
    ),
    "responses": (
        "requests.get",
        "with responses.RequestsMock() as mock:\n"
        '    mock.get(BASE + "/mocked", body="theirs", status=418)\n'
        "    mock.add_passthru(BASE)\n"
        "    yield\n",
    ),
    "requests_mock": (
        "requests.get",
        "with requests_mock.Mocker(real_http=True) as mock:\n"
        '    mock.get(BASE + "/mocked", text="theirs", status_code=418)\n'
        "    yield\n",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MOCKS)
@pytest.mark.usefixtures("installed_plugins")
def test_another_mock_answers_what_it_was_told_and_ours_the_rest(pytester, name):
    get, setup = MOCKS[name]
    module = name.split()[0]
    pytest.importorskip(module, reason=f"needs {module}: pip install '.[test]'")
    indented = "".join(f"    {line}\n" for line in setup.splitlines())
    source = MOCKED.replace("MODULE", module).replace("SETUP", indented).replace("GET", get)
    pytester.makepyfile(source)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:randomly")
    result.assert_outcomes(passed=2)


@pytest.mark.slow
@pytest.mark.usefixtures("installed_plugins")
def test_pytest_httpx_answers_what_it_was_told_and_ours_the_rest(pytester):
    pytest.importorskip("pytest_httpx", reason="needs pytest-httpx: pip install pytest-httpx")
    setup = "    yield\n"
    source = MOCKED.replace("import MODULE", "pass").replace("SETUP", setup)
    source = source.replace("GET", "httpx.get").replace("def theirs():", "def theirs(httpx_mock):")
    source = source.replace(
        "    pass\n",
        '    httpx_mock.add_response(url=BASE + "/mocked", status_code=418, text="theirs",'
        " is_reusable=True)\n",
    )
    marked = (
        "pytestmark = pytest.mark.httpx_mock(should_mock=lambda asked: 'mocked' in str(asked.url))"
    )
    pytester.makepyfile(source.replace("HEADERS =", f"{marked}\nHEADERS =", 1))
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:randomly")
    result.assert_outcomes(passed=2)
