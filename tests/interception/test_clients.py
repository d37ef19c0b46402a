"""Every client, unchanged: all calls and every error against the simulator, by interception and
by the server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl

import aiohttp
import gradient
import httpx
import pydo
import pytest
import requests
import urllib3

from pytest_indexjob import LoopbackServer, Simulator, VirtualClock
from pytest_indexjob.exchange import Journal
from pytest_indexjob.interception.interception import Interception
from pytest_indexjob.virtual_time.time_patches import TimePatches

API = "https://api.digitalocean.com"
JOBS = "/v2/gen-ai/indexing_jobs"
HEADERS = {"Authorization": "Bearer any", "Content-Type": "application/json"}


class Failure(Exception):
    """What a client said instead of an answer: the HTTP status, or None where there was none."""

    def __init__(self, status):
        super().__init__(status)
        self.status = status


class Raw:
    """The calls, for clients that know only HTTP: ``send(method, url, body) -> (status,
    bytes)``."""

    def __init__(self, base):
        self.base = base

    def call(self, method, path, body=None):
        status, content = self.send(
            method, self.base + path, None if body is None else json.dumps(body).encode()
        )
        if status >= 400:
            raise Failure(status)
        return json.loads(content)

    def create(self, base):
        return self.call("POST", JOBS, {"knowledge_base_uuid": base})["job"]["uuid"]

    def get(self, uuid):
        return self.call("GET", f"{JOBS}/{uuid}")["job"]["status"]

    def wait(self, uuid):
        import time

        while (status := self.get(uuid)) == "INDEX_JOB_STATUS_IN_PROGRESS":
            time.sleep(5)
        return status

    def pages(self):
        page, found = 1, []
        while page:
            body = self.call("GET", f"{JOBS}?page={page}&per_page=2")
            found += [job["uuid"] for job in body["jobs"]]
            page = page + 1 if "next" in body["links"]["pages"] else None
        return found

    def sources(self, uuid):
        return len(self.call("GET", f"{JOBS}/{uuid}/data_sources")["indexed_data_sources"])

    def report(self, uuid):
        return self.call("GET", f"{JOBS}/{uuid}/details_signed_url")["signed_url"]

    def cancel(self, uuid):
        return self.call("PUT", f"{JOBS}/{uuid}/cancel", {"uuid": uuid})["job"]["status"]


class ByRequests(Raw):
    def send(self, method, url, body):
        try:
            answer = requests.request(method, url, data=body, headers=HEADERS, timeout=5)
        except requests.RequestException:
            raise Failure(None) from None
        return answer.status_code, answer.content


class ByUrllib3(Raw):
    def send(self, method, url, body):
        with urllib3.PoolManager() as pool:
            try:
                answer = pool.request(
                    method, url, body=body, headers=HEADERS, timeout=5, retries=False
                )
            except urllib3.exceptions.HTTPError:
                raise Failure(None) from None
            return answer.status, answer.data


# Made once: httpx makes one for each of its clients, which takes longer than the call.
AUTHORITIES = ssl.create_default_context()


class ByHttpx(Raw):
    def send(self, method, url, body):
        try:
            answer = httpx.request(
                method, url, content=body, headers=HEADERS, timeout=5, verify=AUTHORITIES
            )
        except httpx.TransportError:
            raise Failure(None) from None
        return answer.status_code, answer.content


class ByAiohttp(Raw):
    def send(self, method, url, body):
        async def main():
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session,
                session.request(method, url, data=body, headers=HEADERS) as answer,
            ):
                return answer.status, await answer.read()

        try:
            return asyncio.run(main())
        except (aiohttp.ClientError, TimeoutError):
            raise Failure(None) from None


class ByGradient:
    """The official client; the asynchronous ones run each call in a loop of its own."""

    options = {}  # noqa: RUF012
    client_class = gradient.Gradient

    def __init__(self, base):
        self.base = base

    def run(self, call):
        async def main():
            options = {name: make() for name, make in self.options.items()}
            client = self.client_class(
                access_token="any", base_url=self.base, max_retries=0, timeout=5, **options
            )
            async with client:
                return await call(client.knowledge_bases.indexing_jobs)

        try:
            if self.client_class is gradient.Gradient:
                with self.client_class(
                    access_token="any", base_url=self.base, max_retries=0, timeout=5
                ) as client:
                    return call(client.knowledge_bases.indexing_jobs)
            return asyncio.run(main())
        except gradient.APIStatusError as error:
            raise Failure(error.status_code) from None
        except gradient.APIConnectionError:
            raise Failure(None) from None

    def create(self, base):
        return self.run(lambda jobs: jobs.create(knowledge_base_uuid=base)).job.uuid

    def get(self, uuid):
        return self.run(lambda jobs: jobs.retrieve(uuid)).job.status

    def wait(self, uuid):
        return self.run(lambda jobs: jobs.wait_for_completion(uuid)).job.status

    def pages(self):
        page, found = 1, []
        while page:
            at = page
            body = self.run(lambda jobs: jobs.list(page=at, per_page=2))  # noqa: B023  # run at once
            found += [job.uuid for job in body.jobs]
            page = page + 1 if body.links.pages and body.links.pages.next else None
        return found

    def sources(self, uuid):
        return len(self.run(lambda jobs: jobs.retrieve_data_sources(uuid)).indexed_data_sources)

    def report(self, uuid):
        return self.run(lambda jobs: jobs.retrieve_signed_url(uuid)).signed_url

    def cancel(self, uuid):
        return self.run(lambda jobs: jobs.update_cancel(uuid)).job.status


class ByAsyncGradient(ByGradient):
    client_class = gradient.AsyncGradient


class ByGradientOverAiohttp(ByAsyncGradient):
    options = {"http_client": gradient.DefaultAioHttpClient}  # noqa: RUF012


class ByPydo(Raw):
    def call(self, method, path, body=None):
        raise NotImplementedError

    def __init__(self, base):
        super().__init__(base)
        # Its own retries would hide the errors.
        self.genai = pydo.Client(token="any", endpoint=base, retry_total=0).genai

    def asked(self, name, *arguments, **options):
        from azure.core.exceptions import AzureError, HttpResponseError

        try:
            answer = getattr(self.genai, name)(*arguments, **options)
        except HttpResponseError as error:
            raise Failure(error.status_code) from None
        except AzureError:
            raise Failure(None) from None
        if "job" not in answer and answer.get("id") in (
            "unauthorized",
            "not_found",
            "too_many_requests",
            "server_error",
        ):
            # Some errors it hands out as if they were answers.
            status = {
                "unauthorized": 401,
                "not_found": 404,
                "too_many_requests": 429,
                "server_error": 500,
            }
            raise Failure(status[answer["id"]])
        return answer

    def create(self, base):
        return self.asked("create_indexing_job", body={"knowledge_base_uuid": base})["job"]["uuid"]

    def get(self, uuid):
        return self.asked("get_indexing_job", uuid)["job"]["status"]

    def pages(self):
        page, found = 1, []
        while page:
            body = self.asked("list_indexing_jobs", page=page, per_page=2)
            found += [job["uuid"] for job in body["jobs"]]
            page = page + 1 if "next" in body["links"]["pages"] else None
        return found

    def sources(self, uuid):
        return len(self.asked("list_indexing_job_data_sources", uuid)["indexed_data_sources"])

    def report(self, uuid):
        return self.asked("get_indexing_job_details_signed_url", uuid)["signed_url"]

    def cancel(self, uuid):
        return self.asked("cancel_indexing_job", uuid, body={"uuid": uuid})["job"]["status"]


CLIENTS = [
    ByRequests,
    ByUrllib3,
    ByHttpx,
    ByAiohttp,
    ByGradient,
    ByAsyncGradient,
    ByGradientOverAiohttp,
    ByPydo,
]


# pydo sends no token over plain HTTP, as a server on loopback has it.
WAYS = [
    pytest.param(kind, way, id=f"{way}-{kind.__name__}")
    for kind in CLIENTS
    for way in ("interception", "server")
    if (kind, way) != (ByPydo, "server")
]


@pytest.fixture
def service():
    # Who gives the simulator a journal keeps it: the interception does.
    return Simulator(VirtualClock(), journal=Journal())


@pytest.fixture
def base(request, service):
    """Where a client finds the service, in the two ways."""
    patches = TimePatches(service.clock)
    if request.param == "server":
        server = LoopbackServer(service.handle, clock=service.clock).start()
        service.serve_at(server.url)
        patches.start()
        yield server.url
        patches.stop()
        server.stop()
    else:
        interception = Interception(service.journal, service.clock)
        interception.simulate(service)
        interception.start()
        patches.start()
        yield API
        patches.stop()
        interception.stop()


@pytest.mark.parametrize(("kind", "base"), WAYS, indirect=["base"])
def test_every_call(kind, base, service):
    client = kind(base)
    service.plan("partial", data_sources=2)
    uuid = client.create("base")
    assert client.get(uuid) == "INDEX_JOB_STATUS_IN_PROGRESS"
    assert client.wait(uuid) == "INDEX_JOB_STATUS_PARTIAL"
    assert 339 <= service.clock.elapsed < 350
    assert client.sources(uuid) == 2
    assert requests.get(client.report(uuid), timeout=5).text.startswith("data_source_uuid,status")
    others = [client.create(f"base {number}") for number in range(4)]
    assert client.pages() == [*others[::-1], uuid]
    assert client.cancel(others[0]) == "INDEX_JOB_STATUS_IN_PROGRESS"
    service.clock.advance(5)
    assert client.get(others[0]) == "INDEX_JOB_STATUS_CANCELLED"


ERRORS = {
    "expired-token": 401,
    "rate-limit": 429,
    "server-error": 500,
    "bad-gateway": 502,
    "connection-reset": None,
    "read-timeout": None,
}


@pytest.mark.parametrize(("kind", "base"), WAYS, indirect=["base"])
def test_every_error(kind, base, service):
    client = kind(base)
    uuid = service.start(knowledge_base_uuid="busy").uuid
    with pytest.raises(Failure) as raised:
        client.get("unknown")
    assert raised.value.status == 404
    with pytest.raises(Failure) as raised:
        client.create("busy")
    assert raised.value.status == 409
    for fault, status in ERRORS.items():
        if fault == "read-timeout" and base != API:
            continue  # a real server makes a client with a real clock wait
        # aiohttp may ask once more by itself where a connection broke that it had used before.
        again = fault == "connection-reset" and kind in (ByAiohttp, ByGradientOverAiohttp)
        service.inject(fault, times=2 if again else 1)
        with pytest.raises(Failure) as raised:
            client.get(uuid)
        assert raised.value.status == status, fault
        if again:
            with contextlib.suppress(Failure):  # it did not, so that the second reset is left
                client.get(uuid)
    assert client.get(uuid) == "INDEX_JOB_STATUS_IN_PROGRESS"
