"""The table of calls: the one list that client, simulator, coverage, story, schema and the
documented example read."""

from __future__ import annotations

import json
import subprocess
import sys

import jsonschema
import pytest

from pytest_indexjob import IndexingJobClient, Simulator, VirtualClock
from pytest_indexjob.api.calls import (
    API_URL,
    CALLS,
    CallMatch,
    WrongMethod,
    api_path,
    match,
    named,
    nearest_call,
)
from pytest_indexjob.api.schema import CONTRACT, json_schema, operation_of
from pytest_indexjob.checking.coverage import outcomes_of
from pytest_indexjob.exchange import Exchange, Request, Response
from pytest_indexjob.simulation.documented import DocumentedExample

HEADERS = (("Authorization", "Bearer any"),)
NAMES = [call.name for call in CALLS]


JOBS = [call.name for call in CALLS if call.resource == "jobs"]


def path_of(call):
    return call.path_with(*["some-uuid"] * call.path.count("{"))


@pytest.mark.parametrize("name", JOBS)
def test_each_call_of_jobs_has_a_method_of_the_client(name):
    # IndexingJobClient is a client of indexing jobs: the other calls need none.
    assert callable(getattr(IndexingJobClient, named(name).short_name))


@pytest.mark.parametrize("name", NAMES)
def test_each_call_has_a_shape_and_an_example(name):
    call = named(name)
    operation = operation_of(call.method, path_of(call))
    assert operation.call == str(call)
    example = DocumentedExample().handle(Request(call.method, API_URL + path_of(call)))
    assert example.status == 200
    jsonschema.validate(json.loads(example.body), json_schema(operation))


class Whole:
    """A simulator with a member of each resource, and what each call needs to be granted."""

    def __init__(self):
        self.simulator = Simulator(VirtualClock())
        base = self.simulator.add_knowledge_base().uuid
        source = self.simulator.add_data_source(base).uuid
        job = self.simulator.start(duration=1, knowledge_base_uuid=base).uuid
        self.simulator.clock.advance(1)
        agent = self.made("agents.create", {"name": "an agent"})["agent"]["uuid"]
        self.uuids = {
            "uuid": job,
            "knowledge_base_uuid": base,
            "data_source_uuid": source,
            "agent_uuid": agent,
        }
        self.bodies = {
            "jobs.create": {"knowledge_base_uuid": base},
            "knowledge_bases.create": {"name": "documents"},
            "data_sources.create": {"web_crawler_data_source": {"base_url": "https://a.example"}},
            "uploads.create": {"files": [{"file_name": "a.txt", "file_size": "3"}]},
            "schedules.create": {"knowledge_base_uuid": base, "days": [1], "time": "03:00"},
        }

    def made(self, name, body):
        return json.loads(self.ask(named(name), named(name).path, body).body)

    def ask(self, call, path, body):
        request = Request(call.method, API_URL + path, HEADERS, json.dumps(body).encode())
        return self.simulator.handle(request)

    def path(self, call):
        path = call.path
        if call.name == "jobs.list_for_knowledge_base":
            return path.format(uuid=self.uuids["knowledge_base_uuid"])
        if call.resource == "schedules" and call.short_name != "create":
            schedule = self.made("schedules.create", self.bodies["schedules.create"])
            return path.format(**{**self.uuids, "uuid": schedule["indexing_info"]["uuid"]})
        return path.format(**self.uuids)


@pytest.mark.parametrize("name", NAMES)
def test_each_call_has_a_handler_and_a_place_in_coverage(name):
    call, whole = named(name), Whole()
    path = whole.path(call)
    if call.name == "agents.detach":
        whole.ask(named("agents.attach"), path, {})
    answer = whole.ask(call, path, whole.bodies.get(name, {}))
    assert answer.status == 200
    assert whole.simulator.journal.misses == []
    jsonschema.validate(json.loads(answer.body), json_schema(operation_of(call.method, path)))
    # Only a call's empty body is an item of coverage; another page's says nothing.
    empty = Exchange(Request(call.method, API_URL + path), Response(200))
    assert "fault:empty-body" in outcomes_of([empty])


@pytest.mark.parametrize("name", NAMES)
def test_a_fault_strikes_each_call_by_its_name_and_no_other(name):
    call, whole = named(name), Whole()
    path = whole.path(call)
    other = named("agents.list" if name != "agents.list" else "knowledge_bases.list")
    whole.simulator.inject("bad-gateway", on=name)
    assert whole.ask(other, other.path, {}).status == 200
    statuses = [whole.ask(call, path, whole.bodies.get(name, {})).status for _ in range(2)]
    assert statuses[0] == 502
    assert statuses[1] != 502


@pytest.mark.parametrize(
    ("method", "path", "meant"),
    [
        (
            "POST",
            "/v2/gen-ai/knowledge_bases/61f7a3de-b5f1/index",
            "POST /v2/gen-ai/indexing_jobs with {knowledge_base_uuid}",
        ),
        ("GET", "/v2/gen-ai/indexing_job/61f7a3de-b5f1", "GET /v2/gen-ai/indexing_jobs/{uuid}"),
        ("GET", "/v2/gen-ai/knowledge-bases", "GET /v2/gen-ai/knowledge_bases"),
        (
            "GET",
            "/v2/gen-ai/knowledge_bases/61f7a3de-b5f1/droplets",
            "GET /v2/gen-ai/knowledge_bases/{knowledge_base_uuid}",
        ),
        ("POST", "/v2/droplets/61f7a3de-b5f1/actions", ""),
        ("GET", "/v2/account", ""),
    ],
)
def test_a_request_that_is_no_call_is_told_the_nearest(method, path, meant):
    assert nearest_call(method, path) == meant
    simulator = Simulator(VirtualClock())
    simulator.handle(Request(method, API_URL + path, HEADERS))
    (miss,) = simulator.journal.misses
    own = f'indexjob_simulator.answer("{method}", "{path}", json=...)'
    assert (f"Did you mean {meant}?" if meant else own) in str(miss)


ROOT = "/v2/gen-ai"
BASE = f"{ROOT}/knowledge_bases/61f7a3de-b5f1-11f0-9c3a-0a58a9feac02"
SOURCE = f"{BASE}/data_sources/70aa91f4-b5f1-11f0-9c3a-0a58a9feac02"
JOB = f"{ROOT}/indexing_jobs/5c0e1d52-b5f6-11f0-9c3a-0a58a9feac02"
AGENT = f"{ROOT}/agents/3c4d5e6f-b5f2-11f0-9c3a-0a58a9feac02"
INVENTED = [
    # Seen in public programs.
    ("POST", f"{SOURCE}/indexing_jobs", "jobs.create"),
    ("POST", f"{BASE}/index", "jobs.create"),
    ("POST", f"{BASE}/indexing_jobs", "jobs.create"),
    ("GET", f"{BASE}/indexing_jobs/5c0e1d52-b5f6-11f0", "jobs.get"),
    ("DELETE", JOB, "jobs.cancel"),
    ("GET", f"{JOB}/details:signed_url", "jobs.details_signed_url"),
    ("GET", SOURCE, "data_sources.list"),
    # Others of their kinds.
    ("POST", f"{SOURCE}/reindex", "jobs.create"),
    ("POST", f"{BASE}/start_indexing", "jobs.create"),
    ("POST", f"{BASE}/indexing-jobs", "jobs.create"),
    ("POST", f"{BASE}/refresh", "jobs.create"),
    ("POST", f"{ROOT}/knowledge_bases/mine/sync", "jobs.create"),
    ("POST", f"{ROOT}/indexing_jobs/start", "jobs.create"),
    ("POST", "/v2/ai/knowledge_bases/mine/index", "jobs.create"),
    ("GET", f"{BASE}/status", "knowledge_bases.get"),
    ("GET", f"{BASE}/database_status", "knowledge_bases.get"),
    ("GET", f"{BASE}/last_indexing_job", "knowledge_bases.get"),
    ("GET", f"{BASE}/indexing_jobs/latest", "jobs.list_for_knowledge_base"),
    ("GET", f"{BASE}/jobs", "jobs.list_for_knowledge_base"),
    ("POST", f"{JOB}/cancel", "jobs.cancel"),
    ("POST", f"{JOB}/stop", "jobs.cancel"),
    ("GET", f"{JOB}/status", "jobs.get"),
    ("GET", f"{JOB}/report", "jobs.details_signed_url"),
    ("GET", f"{JOB}/", "jobs.get"),
    ("GET", "/v2/genai/indexing-jobs/mine-1", "jobs.get"),
    ("GET", "/v2/indexing_jobs/5", "jobs.get"),
    ("POST", f"{ROOT}/knowledgebases", "knowledge_bases.create"),
    ("PATCH", BASE, "knowledge_bases.update"),
    ("POST", f"{BASE}/documents", "data_sources.create"),
    ("POST", f"{BASE}/data_source", "data_sources.create"),
    ("DELETE", f"{ROOT}/data_sources/70aa91f4-b5f1-11f0", "data_sources.delete"),
    ("POST", f"{BASE}/upload", "uploads.create"),
    ("POST", f"{BASE}/data_sources/file_upload_presigned_urls", "uploads.create"),
    ("POST", f"{BASE}/schedule", "schedules.create"),
    ("GET", f"{ROOT}/scheduled-indexing/61f7a3de-b5f1-11f0", "schedules.get"),
    ("GET", f"{AGENT}/knowledge_bases", "agents.get"),
    ("PUT", f"{AGENT}/knowledge_bases/61f7a3de-b5f1-11f0", "agents.attach"),
    ("POST", f"{BASE}/agents/3c4d5e6f-b5f2-11f0", "agents.attach"),
]


@pytest.mark.parametrize(("method", "path", "meant"), INVENTED)
def test_an_invented_call_is_told_the_real_one(method, path, meant):
    assert nearest_call(method, path).startswith(str(named(meant)))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"{ROOT}/models"),
        ("GET", f"{ROOT}/regions"),
        ("POST", f"{AGENT}/api_keys"),
        ("GET", f"{AGENT}/versions"),
        ("GET", "/v2/databases/61f7a3de-b5f1-11f0"),
        ("POST", f"{BASE}/retrieve"),
        ("POST", "/v2/spaces/keys"),
        ("GET", "/"),
        ("GET", ""),
    ],
)
def test_a_call_of_another_part_of_the_api_is_not_taken_for_a_mistake(method, path):
    assert nearest_call(method, path) == ""


def test_the_contract_lists_the_same_calls():
    assert [operation.call for operation in CONTRACT] == [str(call) for call in CALLS]


def test_a_request_is_a_call_or_a_wrong_method_or_none():
    found = match("GET", "/v2/gen-ai/indexing_jobs/a%2Fb?page=2")
    assert found == CallMatch(named("jobs.get"), ("a/b",))
    assert match("PATCH", "/v2/gen-ai/indexing_jobs") == WrongMethod(("GET", "POST"))
    for path in (
        "/v2/gen-ai/indexing_jobs/",
        "/v2/gen-ai/jobs",
        "",
        "/v2/gen-ai/indexing_jobs/a/b",
    ):
        assert match("GET", path) is None


def test_the_short_names_stay_valid_for_jobs():
    for call in CALLS:
        assert named(call.name) is named(call.usual_name) is call
    with pytest.raises(ValueError, match=r"there is no call 'start'. There are: get, list, create"):
        named("start")


def test_a_path_is_found_behind_any_base_url():
    for base in (
        "https://api.digitalocean.com",
        "http://127.0.0.1:8787",
        "https://staging.example/api",
    ):
        assert api_path(f"{base}/v2/gen-ai/indexing_jobs?page=2") == "/v2/gen-ai/indexing_jobs"
    assert api_path("https://example.com/other?x=/v2/gen-ai/") == "/other"
    assert api_path("http://[") == ""


@pytest.mark.parametrize(
    "name", ["assert_status", "IndexingJob", "Simulator", "scenarios", "VirtualClock"]
)
def test_a_name_that_calls_nothing_loads_no_http_library(name):
    code = (
        f"import sys; from pytest_indexjob import {name}; print([m for m in ('requests', 'vcr') if"
        " m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_fault_strikes_the_call_by_either_name():
    for on in ("jobs.list", "list"):
        simulator = Simulator(VirtualClock())
        simulator.inject("server-error", on=on)
        one = simulator.handle(
            Request("GET", f"{API_URL}/v2/gen-ai/indexing_jobs/{simulator.start().uuid}", HEADERS)
        )
        two = simulator.handle(Request("GET", f"{API_URL}/v2/gen-ai/indexing_jobs", HEADERS))
        assert (one.status, two.status) == (200, 500)
