"""The table of calls: the one list that client, simulator, coverage, story, schema and the
documented example read."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import jsonschema
import pytest

from pytest_indexjob import IndexingJobClient, Simulator, VirtualClock
from pytest_indexjob.api.calls import (
    API_URL,
    CALLS,
    JOB_CALLS,
    CallMatch,
    WrongMethod,
    api_path,
    match,
    named,
)
from pytest_indexjob.api.schema import CONTRACT, json_schema, operation_of
from pytest_indexjob.checking.coverage import outcomes_of
from pytest_indexjob.exchange import Exchange, Request, Response
from pytest_indexjob.simulation.documented import DocumentedExample

HEADERS = (("Authorization", "Bearer any"),)
NAMES = [call.name for call in CALLS]


# Why a call has no method of IndexingJobClient.
NO_METHOD = "it is a client of indexing jobs; what stands around them is asked by other clients"


@pytest.mark.parametrize("name", NAMES)
def test_each_call_has_a_method_of_the_client_or_a_reason(name):
    call = named(name)
    assert callable(getattr(IndexingJobClient, call.short_name)) if call in JOB_CALLS else NO_METHOD


@pytest.mark.parametrize("name", NAMES)
def test_each_call_has_a_shape_and_an_example_of_it(name):
    call = named(name)
    path = re.sub(r"\{\w+\}", "some-uuid", call.path)
    operation = operation_of(call.method, path)
    assert operation.call == str(call)
    example = DocumentedExample().handle(Request(call.method, API_URL + path))
    assert example.status == 200
    jsonschema.validate(json.loads(example.body), json_schema(operation))


class Prepared:
    """A simulator in which something of each resource is there."""

    def __init__(self):
        self.simulator = Simulator(VirtualClock())
        kb = self.simulator.add_knowledge_base("documents").uuid
        self.spare = self.simulator.add_knowledge_base("spare").uuid
        source = self.simulator.add_data_source(kb).uuid
        job = self.simulator.start(duration=1, knowledge_base_uuid=kb).uuid
        self.simulator.clock.advance(1)
        agent = self.ask("agents.create", {"name": "a", "knowledge_base_uuid": [kb]})["agent"]
        day = {"knowledge_base_uuid": kb, "days": [1], "time": "08:00"}
        schedule = self.ask("schedules.create", day)["indexing_info"]["uuid"]
        self.arguments = {
            "jobs": {"uuid": job},
            "knowledge_bases": {"uuid": kb},
            "data_sources": {"knowledge_base_uuid": kb, "data_source_uuid": source},
            "uploads": {},
            "schedules": {"knowledge_base_uuid": kb, "uuid": schedule},
            "agents": {"uuid": agent["uuid"], "knowledge_base_uuid": kb},
        }
        self.bodies = {
            "jobs.create": {"knowledge_base_uuid": kb},
            "knowledge_bases.create": {"name": "another"},
            "data_sources.create": {"spaces_data_source": {"bucket_name": "b"}},
            "uploads.create": {"files": [{"file_name": "a.txt", "file_size": "3"}]},
            "schedules.create": {**day, "knowledge_base_uuid": self.spare},
            "agents.create": {"name": "b"},
            "agents.attach_all": {"knowledge_base_uuids": [self.spare]},
        }

    def ask(self, name, body=None, **arguments):
        return json.loads(self.simulator.handle(self.request(name, body, **arguments)).body)

    def request(self, name, body=None, **arguments):
        call = named(name)
        path = call.path.format(**arguments)
        return Request(call.method, API_URL + path, HEADERS, json.dumps(body or {}).encode())


@pytest.mark.parametrize("name", NAMES)
def test_each_call_has_a_handler_and_a_place_in_coverage(name):
    call = named(name)
    prepared = Prepared()
    arguments = prepared.arguments[call.resource]
    if name == "knowledge_bases.delete":  # the other one is attached to an agent
        arguments = {"uuid": prepared.spare}
    if name == "jobs.list_for_knowledge_base":
        arguments = {"uuid": prepared.spare}
    request = prepared.request(name, prepared.bodies.get(name), **arguments)
    answer = prepared.simulator.handle(request)
    assert answer.status == 200
    assert prepared.simulator.journal.misses == []
    schema = json_schema(operation_of(call.method, api_path(request.url)))
    jsonschema.validate(json.loads(answer.body), schema)
    # Only a call's empty body is an item of coverage; another page's says nothing.
    assert "fault:empty-body" in outcomes_of([Exchange(request, Response(200))])


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
    for call in JOB_CALLS:
        assert named(call.name) is named(call.short_name) is call
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
