"""Interception: every HTTP client of this process is answered, and nothing else is touched."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import io
import json
import logging
import socket
import urllib.request
import zlib
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import aiohttp
import gradient
import httpx
import pytest
import requests
import responses
import respx
import urllib3
from conftest import COMPLETED, JOB_URL, JOB_UUID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_indexjob import DecodeError, IndexingJobClient, NetworkBlockedError, TransportError
from pytest_indexjob.exchange import Journal, Request, Response, TransportFault
from pytest_indexjob.http1 import written
from pytest_indexjob.interception.clients import Patch
from pytest_indexjob.interception.interception import Interception
from pytest_indexjob.virtual_time.clock import VirtualClock

API = "https://api.digitalocean.com"


class Source:
    """Answers as it is told to, and keeps what it was asked."""

    hosts = frozenset()

    def __init__(self, answer):
        self.answer = answer
        self.requests = []

    def handle(self, request):
        self.requests.append(request)
        answer = self.answer(request) if callable(self.answer) else self.answer
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def answering():
    """Puts a source in place: ``answering(answer)``, where the answer is a response, an error,
    or makes one."""
    started = []

    def start(answer=COMPLETED, **options):
        interception = Interception(Journal(), VirtualClock(), test="the test", **options)
        interception.source = Source(answer)
        started.append(interception)
        return interception.start()

    yield start
    for interception in started:
        interception.stop()


# Each client in its own words: (method, url, body) -> (status, headers, body).


def by_requests(method, url, body=None):
    with requests.Session() as session:
        answer = session.request(method, url, data=body, timeout=5)
        return answer.status_code, answer.headers, answer.content


def by_urllib3(method, url, body=None):
    with urllib3.PoolManager() as pool:
        answer = pool.request(method, url, body=body, timeout=5, retries=False)
        return answer.status, answer.headers, answer.data


def by_urllib(method, url, body=None):
    with urllib.request.urlopen(
        urllib.request.Request(url, body, method=method), timeout=5
    ) as answer:
        return answer.status, answer.headers, answer.read()


def by_http_client(method, url, body=None):
    connection = http.client.HTTPSConnection("api.digitalocean.com", timeout=5)
    connection.request(method, url.removeprefix(API), body)
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read()


def by_httpx(method, url, body=None):
    with httpx.Client(timeout=5) as client:
        answer = client.request(method, url, content=body)
        return answer.status_code, answer.headers, answer.content


def by_httpx_async(method, url, body=None):
    async def ask():
        async with httpx.AsyncClient(timeout=5) as client:
            answer = await client.request(method, url, content=body)
            return answer.status_code, answer.headers, answer.content

    return asyncio.run(ask())


def by_aiohttp(method, url, body=None):
    async def ask():
        timeout = aiohttp.ClientTimeout(total=5)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.request(method, url, data=body) as answer,
        ):
            return answer.status, answer.headers, await answer.read()

    return asyncio.run(ask())


CLIENTS = [by_requests, by_urllib3, by_urllib, by_http_client, by_httpx, by_httpx_async, by_aiohttp]
every_client = pytest.mark.parametrize("ask", CLIENTS, ids=lambda ask: ask.__name__)


NAMES = st.sampled_from(
    ["Set-Cookie", "Content-Type", "Content-Length", "ratelimit-limit", "X Y", ""]
)
TEXTS = st.text(st.sampled_from("ab =;:\t\r\n\x00\x7f\xe4\u20ac"), max_size=6)
ANSWERS = st.tuples(
    st.sampled_from([100, 200, 204, 304, 404, 503, 999]),
    st.lists(st.tuples(NAMES, TEXTS), max_size=4).map(tuple),
    st.sampled_from([b"", b"{}", b"\r\n\r\n"]),
    TEXTS,
).map(lambda parts: Response(*parts))


def shown_by_http_client(answer):
    shown = [answer.status, answer.reason, answer.version, answer.msg.items(), answer.length]
    return [*shown, answer.chunked, answer.will_close, answer.read(), answer.isclosed()]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(answer=ANSWERS, method=st.sampled_from(["GET", "HEAD", "DELETE"]))
def test_http_client_sees_what_it_would_read_from_the_wire(answering, answer, method):
    wire = SimpleNamespace(makefile=lambda mode: io.BytesIO(written(answer, method)))
    read = http.client.HTTPResponse(wire, method=method)
    connection = http.client.HTTPSConnection("api.digitalocean.com", timeout=5)
    interception = answering(answer)
    try:
        connection.request(method, "/v2")
        try:
            read.begin()
        except http.client.HTTPException as error:
            with pytest.raises(type(error)):
                connection.getresponse()
        else:
            read.will_close = True  # there is no connection to keep
            assert shown_by_http_client(connection.getresponse()) == shown_by_http_client(read)
    finally:
        connection.close()
        interception.stop()


@every_client
def test_every_client_is_answered(answering, ask):
    headers = (
        ("Content-Type", "application/json"),
        ("X-A", "1"),
        ("Set-Cookie", "a=1"),
        ("Set-Cookie", "b=2"),
    )
    interception = answering(Response(201, headers, b'{"x": 1}'))
    status, got, body = ask("POST", f"{JOB_URL}?page=2", b"what I sent")
    assert (status, body, got["x-a"]) == (201, b'{"x": 1}', "1")
    assert "a=1" in str(got)
    assert "b=2" in str(got)
    (request,) = interception.source.requests
    assert (request.method, request.url, request.body) == (
        "POST",
        f"{JOB_URL}?page=2",
        b"what I sent",
    )
    assert request.header("host") in ("", "api.digitalocean.com")
    assert [exchange.request for exchange in interception.journal.exchanges] == [request]


@every_client
def test_bodies_of_every_kind(answering, ask):
    interception = answering(
        Response(200, (("Content-Encoding", "gzip"),), gzip.compress(b"{}", mtime=0))
    )
    _, headers, body = ask("GET", JOB_URL)
    assert body == (gzip.compress(b"{}", mtime=0) if ask in (by_urllib, by_http_client) else b"{}")
    interception.source.answer = Response(204)
    assert ask("GET", JOB_URL)[::2] == (204, b"")
    for body in (b"whole", b""):
        interception.source.answer = Response(200, CHUNKED, body)
        status, headers, received = ask("GET", JOB_URL)
        assert (status, received) == (200, body)
        assert headers["Transfer-Encoding"] == "chunked"
        assert "Content-Length" not in headers
    status, _, body = ask("HEAD", JOB_URL)
    assert (status, body) == (200, b"")


def test_a_chunked_upload_and_a_file_arrive_whole(answering, tmp_path):
    interception = answering()
    requests.post(JOB_URL, data=iter([b"ab", b"", b"cde"]), timeout=5)
    tmp_path.joinpath("f").write_bytes(b"file")
    with tmp_path.joinpath("f").open("rb") as file:
        requests.post(JOB_URL, data=file, timeout=5)

    async def post():
        async with (
            aiohttp.ClientSession(API) as session,
            session.post("/v2/x", json={"a": 1}) as answer,
        ):
            return await answer.json()

    assert asyncio.run(post()) == json.loads(COMPLETED.body)
    assert [request.body for request in interception.source.requests] == [
        b"abcde",
        b"file",
        b'{"a": 1}',
    ]
    assert interception.source.requests[-1].url == f"{API}/v2/x"


def test_each_body_that_aiohttp_can_send_arrives_whole(answering, tmp_path):
    interception = answering()
    tmp_path.joinpath("f").write_bytes(b"file" * 50_000)
    form = aiohttp.FormData({"page": "2"})

    async def parts():
        for part in (b"ab", b"0\r\n\r\n", b"cde"):
            yield part

    async def post():
        with tmp_path.joinpath("f").open("rb") as file:
            async with aiohttp.ClientSession() as session:
                for options in (
                    {"data": {"a": "1", "b": "x y"}},
                    {"data": form},
                    {"data": parts()},
                    {"data": file},
                    {"json": [1]},
                    {"data": "text", "expect100": True},
                    {"data": b"z" * 300, "compress": "deflate"},
                    {},
                ):
                    async with session.post(JOB_URL, **options) as answer:
                        assert await answer.read() == COMPLETED.body

    asyncio.run(post())
    *sent, deflated, nothing = interception.source.requests
    assert [request.body for request in sent] == [
        b"a=1&b=x+y",
        b"page=2",
        b"ab0\r\n\r\ncde",
        b"file" * 50_000,
        b"[1]",
        b"text",
    ]
    assert zlib.decompress(deflated.body) == b"z" * 300
    assert nothing.body == b""
    assert sent[0].header("content-type") == "application/x-www-form-urlencoded"


def test_aiohttp_is_itself_above_the_connection(answering):
    def answer(request):
        html = Response(
            502, (("Content-Type", "text/html"), ("Set-Cookie", "a=1; Path=/")), b"<html>"
        )
        return COMPLETED if request.header("cookie") else html

    answering(answer)
    seen = []

    async def on_request_end(*_):
        seen.append("traced")

    async def middleware(request, handler):
        seen.append("middleware")
        return await handler(request)

    async def ask():
        trace = aiohttp.TraceConfig()
        trace.on_request_end.append(on_request_end)
        async with aiohttp.ClientSession(
            API, trace_configs=[trace], middlewares=[middleware]
        ) as session:
            async with session.get("/v2/x") as refused:
                with pytest.raises(aiohttp.ContentTypeError):
                    await refused.json()
            async with session.get("/v2/x", raise_for_status=True) as accepted:
                return [line async for line in accepted.content]

    assert asyncio.run(ask()) == [COMPLETED.body]
    assert seen == ["middleware", "traced"] * 2


def test_aiohttp_asks_again_on_its_own_where_a_connection_broke(answering):
    answers = iter([TransportFault("reset"), COMPLETED])

    def answer(_):
        if isinstance(given := next(answers), TransportFault):
            raise given
        return given

    interception = answering(answer)
    assert by_aiohttp("GET", JOB_URL)[2] == COMPLETED.body
    assert len(interception.journal.exchanges) == 2


def test_what_aiohttp_waits_for(answering):
    interception = answering(Response(200, (), b"{}", delay=9))

    async def ask(**limits):
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(**limits)) as session:
            await session.get(JOB_URL)

    with pytest.raises(aiohttp.ServerTimeoutError):
        asyncio.run(ask(total=8, sock_read=2))
    with pytest.raises(TimeoutError) as late:
        asyncio.run(ask(total=3))
    assert not isinstance(late.value, aiohttp.ClientError)
    assert interception.clock.elapsed == 5
    asyncio.run(ask(total=None))


def test_an_aiohttp_session_outlives_the_test_that_it_was_used_in(answering):
    async def main():
        async with aiohttp.ClientSession() as session:
            for _ in range(2):
                interception = answering()
                answers = await asyncio.gather(*(session.get(JOB_URL) for _ in range(20)))
                assert [await answer.read() for answer in answers] == [COMPLETED.body] * 20
                interception.stop()
            interception = answering()
            asked = asyncio.ensure_future(session.get(JOB_URL))
            await asyncio.sleep(0)
            interception.stop()
            with pytest.raises(aiohttp.ClientError):
                await asked

    asyncio.run(main())


def test_redirects_are_followed_to_our_host(answering):
    def answer(request):
        return COMPLETED if request.url == JOB_URL else Response(302, (("Location", JOB_URL),))

    interception = answering(answer)
    for ask in (by_requests, by_urllib, by_aiohttp):
        assert ask("GET", f"{API}/old")[2] == COMPLETED.body
    assert len(interception.source.requests) == 6


def test_an_adapter_that_tries_again_does(answering):
    answers = iter([Response(503), Response(503), COMPLETED])
    answering(lambda _: next(answers))
    retry = urllib3.util.Retry(3, status_forcelist=[503], backoff_factor=0)
    with requests.Session() as session:
        session.mount("https://", requests.adapters.HTTPAdapter(max_retries=retry))
        assert session.get(JOB_URL).ok


def test_streams(answering):
    answering(Response(200, (), b"a\nb\n"))
    with requests.get(JOB_URL, stream=True, timeout=5) as answer:
        assert list(answer.iter_lines()) == [b"a", b"b"]
    with httpx.stream("GET", JOB_URL) as answer:
        assert list(answer.iter_lines()) == ["a", "b"]


def test_parts_of_an_answer_are_read_as_from_the_wire(answering):
    answering(Response(200, (), b"a\nb\n"))
    with requests.get(JOB_URL, stream=True, timeout=5) as answer:
        assert list(answer.iter_content(chunk_size=None)) == [b"a\nb\n"]
    with requests.get(JOB_URL, stream=True, timeout=5) as answer:
        part = bytearray(3)
        assert (answer.raw.readinto(part), bytes(part), answer.raw.tell()) == (3, b"a\nb", 3)
        assert list(answer.raw.stream(5)) == [b"\n"]
        assert answer.raw.tell() == answer.raw.length_remaining + 4 == 4
    unchunked = requests.get(JOB_URL, stream=True, timeout=5)
    with unchunked, pytest.raises(urllib3.exceptions.ResponseNotChunked):
        list(unchunked.raw.read_chunked())

    async def ask():
        async with aiohttp.ClientSession() as session, session.get(JOB_URL) as answer:
            return await answer.content.readexactly(3), await answer.content.readany()

    assert asyncio.run(ask()) == (b"a\nb", b"\n")


def gradient_client(**options):
    return gradient.Gradient(access_token="any", max_retries=0, **options)


def test_the_official_client(answering):
    interception = answering()
    with gradient_client() as client:
        job = client.knowledge_bases.indexing_jobs.retrieve(JOB_UUID).job
    assert job.status == "INDEX_JOB_STATUS_COMPLETED"
    assert interception.source.requests[0].url == JOB_URL


@pytest.mark.parametrize("transport", [None, "aiohttp"])
def test_the_official_client_async(answering, transport):
    answering()

    async def ask():
        options = {"http_client": gradient.DefaultAioHttpClient()} if transport else {}
        async with gradient.AsyncGradient(access_token="any", max_retries=0, **options) as client:
            return await client.knowledge_bases.indexing_jobs.wait_for_completion(JOB_UUID)

    assert asyncio.run(ask()).job.phase == "BATCH_JOB_PHASE_SUCCEEDED"


@pytest.mark.slow
def test_1200_calls_of_8_threads_are_all_answered_and_other_hosts_meanwhile_too(
    answering, loopback
):
    live = loopback(lambda _: Response(500))
    other = loopback(lambda _: Response(200, (), b"theirs"))
    interception = answering(base_url=live.url)
    ours = [by_requests, by_urllib3, by_urllib, by_httpx]

    def work(thread):
        got = []
        for at in range(150):
            url = live.url if at % 2 else API
            got.append(ours[(at + thread) % len(ours)]("GET", f"{url}/v2/x")[2] == COMPLETED.body)
            if at % 15 == 0:
                got.append(ours[at % len(ours)]("GET", f"{other.url}/x")[2] == b"theirs")
        return got

    with ThreadPoolExecutor(8) as pool:
        got = [good for part in pool.map(work, range(8)) for good in part]
    assert got == [True] * (1200 + 80)
    assert live.requests == []
    assert len(other.requests) == 80
    assert len(interception.source.requests) == 1200


def test_connections_kept_alive_from_before_do_not_lead_to_the_service(answering, loopback):
    live = loopback(lambda _: Response(200, (), b"live"))
    with requests.Session() as session:
        assert session.get(f"{live.url}/x").content == b"live"
        interception = answering(base_url=live.url)
        assert session.get(f"{live.url}/x").content == COMPLETED.body
        interception.stop()
        assert session.get(f"{live.url}/x").content == b"live"
    assert len(live.requests) == 2


def test_a_connection_left_open_by_a_test_answers_no_more(answering):
    interception = answering()
    connection = http.client.HTTPSConnection("api.digitalocean.com")
    connection.request("GET", "/v2/x")
    interception.stop()
    with pytest.raises(ConnectionError):
        connection.getresponse()
    connection.close()
    assert "response_class" not in vars(connection)


def patched():
    return [
        *(
            socket.socket.__dict__.get(name)
            for name in ("connect", "connect_ex", "sendto", "sendmsg")
        ),
        *(
            getattr(socket, name)
            for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr")
        ),
        http.client.HTTPConnection.connect,
        http.client.HTTPSConnection.connect,
        http.client.HTTPConnection.putrequest,
        urllib3.connection.HTTPConnection.connect,
        urllib3.connection.HTTPSConnection.connect,
        httpx.HTTPTransport.handle_request,
        httpx.AsyncHTTPTransport.handle_async_request,
        aiohttp.BaseConnector.connect,
    ]


def test_everything_is_as_it_was_afterwards(answering):
    before = patched()
    interception = answering()
    assert not [here for here, there in zip(before, patched(), strict=True) if here is there]
    interception.stop()
    assert [here is there for here, there in zip(before, patched(), strict=True)] == [True] * len(
        before
    )


def test_everything_is_as_it_was_if_it_could_not_start(monkeypatch):
    before = patched()
    interception = Interception(Journal(), VirtualClock())
    wrong = Patch(len, "no such", None)
    monkeypatch.setattr(interception.guard, "patches", lambda: iter([wrong]))
    with pytest.raises((AttributeError, TypeError)):
        interception.start()
    assert patched() == before


def test_other_mocks_keep_their_hosts(answering):
    answering()
    with responses.RequestsMock() as mock, respx.mock:
        mock.get("https://theirs.example/x", body="theirs")
        respx.get("https://theirs.example/x").respond(text="theirs")
        mock.add_passthru(API)
        assert requests.get("https://theirs.example/x").text == "theirs"
        assert httpx.get("https://theirs.example/x").text == "theirs"
        assert requests.get(JOB_URL).content == httpx.get(JOB_URL).content == COMPLETED.body

    def own(request):
        return httpx.Response(200, text="own")

    with httpx.Client(transport=httpx.MockTransport(own)) as client:
        assert client.get(JOB_URL).text == "own"


def test_a_proxy_on_this_machine_is_no_way_out(answering, monkeypatch, loopback):
    proxy = loopback(lambda _: Response(200))
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, proxy.url)
    answering()
    assert by_requests("GET", JOB_URL)[2] == by_httpx("GET", JOB_URL)[2] == COMPLETED.body
    with pytest.raises(NetworkBlockedError, match=r"other\.example"):
        requests.get("https://other.example")
    assert proxy.requests == []


FAULTS = {
    by_requests: (requests.ConnectionError, requests.ConnectionError, requests.ReadTimeout),
    by_urllib3: (
        urllib3.exceptions.ProtocolError,
        urllib3.exceptions.ProtocolError,
        urllib3.exceptions.ReadTimeoutError,
    ),
    by_urllib: (ConnectionRefusedError, http.client.RemoteDisconnected, TimeoutError),
    by_http_client: (ConnectionRefusedError, http.client.RemoteDisconnected, TimeoutError),
    by_httpx: (httpx.ConnectError, httpx.ReadError, httpx.ReadTimeout),
    by_httpx_async: (httpx.ConnectError, httpx.ReadError, httpx.ReadTimeout),
    by_aiohttp: (aiohttp.ClientConnectorError, aiohttp.ServerDisconnectedError, TimeoutError),
}


@every_client
def test_faults_are_each_clients_own(answering, ask):
    for kind, expected in zip(("refused", "reset", "timeout"), FAULTS[ask], strict=True):
        interception = answering(TransportFault(kind))
        with pytest.raises(expected):
            ask("GET", JOB_URL)
        assert isinstance(interception.journal.exchanges[0].error, TransportFault)
        assert interception.journal.misses == []
        # The client waited as long as it waits for an answer: five seconds.
        assert interception.clock.elapsed == (5 if kind == "timeout" else 0)
        interception.stop()


@every_client
def test_an_answer_that_takes_its_time(answering, ask):
    interception = answering(Response(200, (), b"{}", delay=4))
    assert ask("GET", JOB_URL)[2] == b"{}"
    assert interception.clock.elapsed == 4
    interception.source.answer = Response(200, (), b"{}", delay=9)
    with pytest.raises(FAULTS[ask][2]):
        ask("GET", JOB_URL)
    assert interception.clock.elapsed == 9  # the client gave up after its five seconds


def test_the_limit_of_reading_counts_not_that_of_connecting(answering):
    interception = answering(Response(200, (), b"{}", delay=9))
    for wait, seconds in (
        (lambda: requests.get(JOB_URL, timeout=(1, 3)), 3),
        (
            lambda: urllib3.request(
                "GET", JOB_URL, timeout=urllib3.Timeout(connect=1, read=4), retries=False
            ),
            4,
        ),
        (lambda: httpx.get(JOB_URL, timeout=httpx.Timeout(1, read=6)), 6),
        (lambda: interception.session().get(JOB_URL, timeout=(1, 7)), 7),
    ):
        before = interception.clock.elapsed
        with pytest.raises(
            (requests.ReadTimeout, urllib3.exceptions.ReadTimeoutError, httpx.ReadTimeout)
        ):
            wait()
        assert interception.clock.elapsed - before == seconds
    assert requests.get(JOB_URL, timeout=(1, None)).ok


class TaskClock(VirtualClock):
    """Lets tasks go on only when three of them sleep."""

    async def sleep_async(self, seconds):
        self.slept = [*getattr(self, "slept", []), seconds]
        self.barrier = getattr(self, "barrier", None) or asyncio.Barrier(3)
        await self.barrier.wait()


async def by_task_httpx():
    async with httpx.AsyncClient() as client:
        return (await client.get(JOB_URL, timeout=20)).content


async def by_task_aiohttp():
    async with aiohttp.ClientSession() as session, session.get(JOB_URL) as answer:
        return await answer.read()


async def by_task_gradient():
    async with gradient.AsyncGradient(access_token="any", max_retries=0) as client:
        return (await client.knowledge_bases.indexing_jobs.retrieve(JOB_UUID)).job.uuid


def test_answers_to_tasks_are_waited_for_at_the_same_time(answering):
    interception = answering(COMPLETED._replace(delay=9))
    interception.clock = TaskClock()

    async def ask():
        return await asyncio.gather(by_task_httpx(), by_task_aiohttp(), by_task_gradient())

    assert asyncio.run(asyncio.wait_for(ask(), 30)) == [COMPLETED.body, COMPLETED.body, JOB_UUID]
    assert interception.clock.slept == [9, 9, 9]


@pytest.mark.parametrize("ask", [by_task_httpx, by_task_aiohttp])
def test_a_task_that_gives_up_leaves_an_exchange_without_an_answer(answering, ask):
    interception = answering(COMPLETED._replace(delay=9))
    interception.clock = TaskClock()

    async def give_up():
        task = asyncio.create_task(ask())
        while not hasattr(interception.clock, "slept"):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(0)

    asyncio.run(give_up())
    (exchange,) = interception.journal.exchanges
    assert (exchange.response, exchange.error.kind) == (None, "timeout")


CHUNKED = (("Transfer-Encoding", "chunked"),)


@pytest.mark.parametrize("headers", [(), CHUNKED], ids=["length", "chunked"])
@every_client
def test_an_answer_that_is_cut_short(answering, ask, headers):
    answering(Response(200, headers, b"0123456789", cut_after=4))
    cut = (
        requests.exceptions.ChunkedEncodingError,
        urllib3.exceptions.ProtocolError,
        ConnectionResetError,
        http.client.IncompleteRead,
        httpx.ReadError,
        aiohttp.ClientPayloadError,
    )
    with pytest.raises(cut):
        ask("GET", JOB_URL)


def test_a_body_in_chunks_is_read_as_chunks(answering):
    answering(Response(200, CHUNKED, b"whole"))
    with requests.get(JOB_URL, stream=True, timeout=5) as answer:
        assert list(answer.raw.read_chunked()) == [b"whole"]
    with urllib3.PoolManager() as pool:
        answer = pool.request("GET", JOB_URL, preload_content=False)
        assert list(answer.stream(2)) == [b"wh", b"ol", b"e"]


def test_the_own_clients_session(answering):
    interception = answering(
        Response(200, (("Content-Encoding", "gzip"),), gzip.compress(COMPLETED.body))
    )
    client = IndexingJobClient(
        "t", session=interception.session(), clock=interception.clock, retries=0
    )
    assert client.get(JOB_UUID).is_terminal
    for broken in (
        TransportFault("refused"),
        TransportFault("timeout"),
        Response(200, (), b"{" * 9, cut_after=3),
        Response(200, CHUNKED, b"{" * 9, cut_after=3),
    ):
        interception.source.answer = broken
        with pytest.raises(TransportError):
            client.get(JOB_UUID)
    interception.source.answer = Response(200, (), b"[")
    with pytest.raises(DecodeError):
        client.create("k")
    assert interception.source.requests[-1].body == b'{"knowledge_base_uuid": "k"}'


def test_no_secret_is_shown(answering, caplog):
    caplog.set_level(logging.DEBUG)
    interception = answering()
    interception.source = None
    url = f"{JOB_URL}?X-Amz-Signature=hush"
    with pytest.raises(NetworkBlockedError) as raised:
        requests.get(url, headers={"Authorization": "Bearer hush"}, timeout=5)
    ours = [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith(("pytest_indexjob", "vcr"))
    ]
    assert "hush" not in str(raised.value) + repr(raised.value) + str(ours) + repr(
        interception.journal.exchanges
    )
    assert "hush" not in interception.complaint()
    assert (
        repr(Request("GET", "http://u:hush@h/p?q=hush#hush", (), b"hush"))
        == "<Request GET http://h/p?q=REDACTED>"
    )
    assert Response(599).phrase == ""


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("https://Staging.Example/api", "https://staging.example/api/x"),
        ("https://staging.example:443/api", "https://STAGING.example/api/x"),
        ("https://staging.example/api", "https://staging.example:443/api/x"),
        ("http://staging.example:8080", "http://me:pw@staging.example:8080/api/x"),
        ("https://bücher.example", "https://xn--bcher-kva.example/api/x"),
        ("https://xn--bcher-kva.example", "https://bücher.example/api/x"),
    ],
)
@pytest.mark.parametrize("ask", [by_requests, by_urllib3, by_httpx, by_aiohttp])
def test_a_host_is_compared_as_http_means_it(answering, ask, base_url, url):
    interception = answering(base_url=base_url)
    assert ask("GET", f"{url}?page=1#top")[0] == 200
    (request,) = interception.source.requests
    assert request.url.endswith("/api/x?page=1")
    assert "pw" not in request.url


def test_an_answering_socket_gives_what_code_asks_of_it(answering):
    answering()
    connection = http.client.HTTPSConnection("api.digitalocean.com", timeout=4)
    connection.request("GET", "/v2/x")
    sock = connection.sock
    assert (sock.gettimeout(), sock.getpeername()) == (4, ("api.digitalocean.com", 443))
    assert sock.getsockname()[0] == "127.0.0.1"
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) == bytes(8)
    sock.shutdown(socket.SHUT_WR)
    with pytest.raises(OSError, match="indexjob_server"):
        sock.fileno()
    with pytest.raises(AttributeError, match=r"pytest-indexjob answers has no 'recv'.*_server"):
        sock.recv(1)
    assert not hasattr(sock, "cipher")
    assert connection.getresponse().read() == COMPLETED.body
    connection.close()


def test_a_connection_of_aiohttp_tells_of_itself(answering):
    answering()
    told = {}

    class Telling(aiohttp.ClientResponse):
        async def start(self, connection):
            for name in ("peername", "sockname", "socket", "ssl_object"):
                told[name] = connection.transport.get_extra_info(name)
            return await super().start(connection)

    async def ask():
        session = aiohttp.ClientSession(response_class=Telling)
        async with session, session.get(JOB_URL) as answer:
            return await answer.read()

    assert asyncio.run(ask()) == COMPLETED.body
    assert told == {
        "peername": ("api.digitalocean.com", 443),
        "sockname": ("127.0.0.1", 0),
        "socket": None,
        "ssl_object": None,
    }


def test_a_response_of_httpx_tells_of_its_connection(answering):
    answering()
    stream = httpx.get(JOB_URL).extensions["network_stream"]
    assert stream.get_extra_info("server_addr") == ("api.digitalocean.com", 443)
    assert stream.get_extra_info("ssl_object") is None
