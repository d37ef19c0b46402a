"""While a test records, its client's own transport makes the call."""

from __future__ import annotations

import time

import pytest
from conftest import COMPLETED, JOB_UUID, Response

from pytest_indexjob.recording.cassette import load


@pytest.fixture
def suite(pytester, loopback):
    """Runs one marked test against a service: ``suite(answer, body, *options)``."""

    def run(answer, body, *options, length=True):
        server = loopback(answer, length=length)
        pytester.makeconftest(f"""
            import pytest
            from pytest_indexjob import IndexJobSettings
            @pytest.fixture(scope="session")
            def indexjob_settings():
                return IndexJobSettings(base_url={server.url!r}, token="any", timeout=0.5)
        """)
        lines = "\n".join(f"    {line}" for line in body.strip("\n").split("\n"))
        pytester.makepyfile(f"""
import asyncio, http.client, aiohttp, httpx, pytest, requests
BASE = {server.url!r}
URL = BASE + "/v2/gen-ai/indexing_jobs/{JOB_UUID}"

@pytest.mark.indexjob_cassette("mine")
def test_it():
{lines}
""")
        result = pytester.runpytest("-p", "no:cacheprovider", *options)
        server.close()
        return result

    return run


def late(seconds):
    def answer(_request):
        time.sleep(seconds)  # the service takes its time
        return COMPLETED

    return answer


ASYNC = """
async def ask():
    async with httpx.AsyncClient() as client: return await client.get(URL, timeout={})
asyncio.run(ask())
"""
AIOHTTP = """
async def ask():
    limit = aiohttp.ClientTimeout(total={})
    async with aiohttp.ClientSession(timeout=limit) as client:
        async with client.get(URL) as answer: return await answer.read()
asyncio.run(ask())
"""
CALLS = {
    "requests": ("requests.get(URL, timeout={})", "requests.Timeout"),
    "httpx": ("httpx.get(URL, timeout={})", "httpx.ReadTimeout"),
    "httpx async": (ASYNC, "httpx.ReadTimeout"),
    "aiohttp": (AIOHTTP, "TimeoutError"),
}


@pytest.mark.parametrize("client", CALLS)
def test_a_short_time_out_of_the_client_strikes(suite, client):
    call, error = CALLS[client]
    lines = "\n".join(f"    {line}" for line in call.format(0.2).strip("\n").split("\n"))
    result = suite(late(1.5), f"with pytest.raises({error}):\n{lines}", "--indexjob-record=once")
    result.assert_outcomes(passed=1)


@pytest.mark.parametrize("client", [name for name in CALLS if name != "aiohttp"])
def test_a_long_time_out_of_the_client_is_waited_for(suite, client, pytester):
    result = suite(late(1.0), CALLS[client][0].format(30), "--indexjob-record=once")
    result.assert_outcomes(passed=1)
    recorded = load(pytester.path / "cassettes" / "mine.yaml").interactions
    assert [item.response.body for item in recorded] == [COMPLETED.body]


def test_repeated_headers_reach_the_client(suite):
    twice = COMPLETED._replace(
        headers=(*COMPLETED.headers, ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"))
    )
    body = """
assert dict(requests.get(URL).cookies) == {"a": "1", "b": "2"}
assert dict(httpx.get(URL).cookies) == {"a": "1", "b": "2"}
"""
    suite(lambda _: twice, body, "--indexjob-record=once").assert_outcomes(passed=1)


def test_what_came_in_chunks_plays_in_chunks(suite):
    body = b"2\r\n{}\r\n0\r\n\r\n"
    headers = (("Content-Type", "application/json"), ("Transfer-Encoding", "chunked"))
    check = """
with requests.get(URL, stream=True) as answer:
    assert list(answer.raw.read_chunked()) == [b"{}"]
assert "content-length" not in httpx.get(URL).headers
"""
    for mode in ("once", "none"):
        options = (f"--indexjob-record={mode}",)
        result = suite(lambda _: Response(200, headers, body), check, *options, length=False)
        result.assert_outcomes(passed=1)


def test_the_client_s_own_error_comes_back(suite):
    body = """
import socket
with socket.create_server(("127.0.0.1", 0)) as free: port = free.getsockname()[1]
with pytest.raises(requests.exceptions.SSLError): requests.get(URL.replace("http:", "https:"))
with pytest.raises(httpx.ConnectError, match="SSL"): httpx.get(URL.replace("http:", "https:"))
"""
    result = suite(lambda _: Response(200), body, "--indexjob-record=once")
    result.assert_outcomes(passed=1)


def test_the_event_loop_goes_on_while_the_service_is_asked(suite):
    body = """
async def ask(get):
    ticks, task = 0, asyncio.create_task(get())
    while not task.done():
        await asyncio.sleep(0.01)
        ticks += 1
    return ticks
async def httpx_get():
    async with httpx.AsyncClient() as client: await client.get(URL)
async def aiohttp_get():
    async with aiohttp.ClientSession() as client, client.get(URL) as answer: await answer.read()
assert asyncio.run(ask(httpx_get)) > 2
assert asyncio.run(ask(aiohttp_get)) > 2
"""
    suite(late(0.3), body, "--indexjob-record=all").assert_outcomes(passed=1)
