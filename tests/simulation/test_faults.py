"""Faults: each works the same through the plugin's client, every library, and the server."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import aiohttp
import httpx
import pytest
import requests
import urllib3

from pytest_indexjob import (
    ApiError,
    DecodeError,
    Fault,
    IndexingJobClient,
    IndexJobError,
    LoopbackServer,
    RateLimitError,
    Simulator,
    TransportError,
    VirtualClock,
    faults,
)
from pytest_indexjob.exchange import Journal
from pytest_indexjob.interception.interception import Interception

API = "https://api.digitalocean.com"
JOBS = "/v2/gen-ai/indexing_jobs"
HEADERS = {"Authorization": "Bearer any"}
STATUS = {
    "rate-limit": 429,
    "server-error": 500,
    "bad-gateway": 502,
    "service-unavailable": 503,
    "expired-token": 401,
    "provisioning": 400,
    "not-found": 404,
    "conflict": 409,
    "forbidden": 403,
    "redirect": 302,
}
BROKEN = {"connection-refused", "connection-reset", "reset-midway", "read-timeout"}


@pytest.fixture
def service():
    return Simulator(VirtualClock(), requests_per_minute=None)


@pytest.fixture
def interception(service):
    started = Interception(Journal(), service.clock).start()
    started.simulate(service)
    yield started
    started.stop()


def by_requests(url):
    answer = requests.get(url, headers=HEADERS, timeout=5, allow_redirects=False)
    return answer.status_code, answer.content


def by_urllib3(url):
    with urllib3.PoolManager() as pool:
        answer = pool.request("GET", url, headers=HEADERS, timeout=5, retries=False)
        return answer.status, answer.data


def by_httpx(url):
    answer = httpx.get(url, headers=HEADERS, timeout=5)
    return answer.status_code, answer.content


def by_httpx_async(url):
    async def main():
        async with httpx.AsyncClient() as client:
            answer = await client.get(url, headers=HEADERS, timeout=5)
            return answer.status_code, answer.content

    return asyncio.run(main())


def by_aiohttp(url):
    async def main():
        timeout = aiohttp.ClientTimeout(total=5)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url, headers=HEADERS, allow_redirects=False) as answer,
        ):
            return answer.status, await answer.read()

    return asyncio.run(main())


CLIENTS = {
    by_requests: requests.RequestException,
    by_urllib3: urllib3.exceptions.HTTPError,
    by_httpx: httpx.TransportError,
    by_httpx_async: httpx.TransportError,
    by_aiohttp: (aiohttp.ClientError, TimeoutError),
}


def check(fault, client, base, service):
    url = f"{base}{JOBS}/{service.start('partial').uuid}"
    whole = client(url)
    # aiohttp asks once more by itself where a connection broke.
    service.inject(
        fault, times=2 if (fault.name, client) == ("connection-reset", by_aiohttp) else 1
    )
    if fault.name in BROKEN:
        with pytest.raises(CLIENTS[client]):
            client(url)
    else:
        status, body = client(url)
        assert status == STATUS.get(fault.name, 200)
        # A job that was just made is shown as it was then, however old the read.
        assert (body == whole[1]) == (fault.name in ("slow-answer", "stale-read"))
    assert client(url)[0] == 200


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.__name__)
@pytest.mark.parametrize("fault", [fault for fault in faults.all() if fault.name != "slow-answer"])
def test_each_client_meets_each_fault_by_interception(service, interception, client, fault):
    check(fault, client, API, service)


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.__name__)
def test_a_slow_answer_is_a_timeout_to_who_waits_less(service, interception, client):
    url = f"{API}{JOBS}/{service.start().uuid}"
    service.inject("slow-answer")
    with pytest.raises(CLIENTS[client]):
        client(url)
    assert service.clock.elapsed == 5
    service.inject(faults.get("slow-answer", delay=3))
    assert client(url)[0] == 200
    assert service.clock.elapsed == 8


@pytest.mark.parametrize("fault", [fault for fault in faults.all() if fault.name != "read-timeout"])
def test_a_client_of_the_server_meets_each_fault(service, fault):
    server = LoopbackServer(service.handle, clock=service.clock).start()
    try:
        check(fault, by_requests, server.url, service)
    finally:
        server.stop()


def test_a_server_that_does_not_answer_lets_the_client_time_out(service):
    server = LoopbackServer(service.handle).start()
    service.inject("read-timeout")
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(f"GET {JOBS} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        connection.setblocking(False)
        with pytest.raises(BlockingIOError):
            connection.recv(1)
    server.stop()


OWN = {
    "rate-limit": RateLimitError,
    "truncated-json": DecodeError,
    "invalid-json": DecodeError,
    "empty-body": DecodeError,
    "wrong-content-type": DecodeError,
    **dict.fromkeys(BROKEN, TransportError),
}


@pytest.mark.parametrize("fault", faults.all())
def test_the_plugins_client_has_an_error_for_each(service, interception, fault):
    job = service.start()
    client = IndexingJobClient(
        "any", session=interception.session(), clock=service.clock, retries=0
    )
    service.inject(fault)
    if fault.name in ("slow-answer", "stale-read"):
        assert client.get(job.uuid).uuid == job.uuid
        return
    with pytest.raises(OWN.get(fault.name, ApiError)) as raised:
        client.get(job.uuid)
    assert isinstance(raised.value, IndexJobError)


def test_faults_strike_in_order_as_often_as_said_and_where(service):
    client = IndexingJobClient(
        "any", session=Interception(service.journal, service.clock).session(), retries=0
    )
    interception = Interception(service.journal, service.clock)
    interception.simulate(service)
    client = IndexingJobClient(
        "any", session=interception.session(), clock=service.clock, retries=0
    )
    job = service.start()
    service.inject("server-error", times=2, on="get")
    service.inject("expired-token", on="list")
    service.inject("bad-gateway", on=lambda request: request.url.endswith("data_sources"))

    def status(call):
        try:
            call()
        except ApiError as error:
            return error.status_code
        return 200

    seen = [
        status(call) for call in (client.list, client.list, lambda: client.data_sources(job.uuid))
    ]
    assert seen == [401, 200, 502]
    assert [status(lambda: client.get(job.uuid)) for _ in range(3)] == [500, 500, 200]
    service.inject("server-error", times=float("inf"))
    assert {status(lambda: client.get(job.uuid)) for _ in range(9)} == {500}


@pytest.mark.parametrize("fault", [fault for fault in faults.all() if not fault.age])
def test_a_post_whose_answer_is_lost_has_started_its_job(service, interception, fault):
    client = IndexingJobClient(
        "any", session=interception.session(), clock=service.clock, retries=0
    )
    service.inject(fault, on="create")
    with contextlib.suppress(IndexJobError):
        client.create("base")
    assert len(service.jobs) == fault.acts


def test_the_client_gets_over_what_passes(service, interception):
    client = IndexingJobClient("any", session=interception.session(), clock=service.clock)
    job = service.start()
    for name in ("rate-limit", "server-error", "connection-reset"):
        service.inject(name)
    assert client.get(job.uuid).uuid == job.uuid
    assert service.clock.sleeps[0] == 2  # what retry-after said


def test_a_redirect_leads_to_a_page_that_is_no_job(service, interception):
    url = f"{API}{JOBS}/{service.start().uuid}"
    service.inject("redirect")
    assert "Sign in" in requests.get(url, headers=HEADERS, timeout=5).text
    assert service.journal.misses == []


def test_what_is_no_fault_is_named(service):
    with pytest.raises(ValueError, match=r"no fault 'rate-limt'\. Did you mean rate-limit"):
        service.inject("rate-limt")
    with pytest.raises(ValueError, match="no call 'fetch'"):
        service.inject("server-error", on="fetch")
    for times in (0, -1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="times must be"):
            service.inject("server-error", times=times)
    with pytest.raises(TypeError, match="'retry' can't be overridden"):
        faults.get("rate-limit", retry=3)
    with pytest.raises(ValueError, match="delay must be 0 or more"):
        Fault(name="mine", delay=-1)
    with pytest.raises(ValueError, match="keep must be a share"):
        Fault(name="mine", keep=2)


def test_a_fault_of_ones_own(service, interception):
    url = f"{API}{JOBS}/{service.start().uuid}"
    service.inject(
        Fault(name="teapot", status=418, body=b"short and stout", content_type="text/plain")
    )
    assert by_requests(url) == (418, b"short and stout")
    service.inject(faults.get("rate-limit", retry_after=30))
    assert requests.get(url, headers=HEADERS, timeout=5).headers["retry-after"] == "30"
