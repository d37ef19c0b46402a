"""The table of calls: the one list that client, simulator, coverage, story, schema and the
documented example read."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pytest_indexjob import IndexingJobClient, Simulator, VirtualClock
from pytest_indexjob.api.calls import API_URL, CALLS, CallMatch, WrongMethod, api_path, match, named
from pytest_indexjob.api.schema import CONTRACT, operation_of
from pytest_indexjob.checking.coverage import outcomes_of
from pytest_indexjob.exchange import Exchange, Request, Response
from pytest_indexjob.simulation.documented import DocumentedExample

HEADERS = (("Authorization", "Bearer any"),)
NAMES = [call.name for call in CALLS]


@pytest.mark.parametrize("name", NAMES)
def test_each_call_has_a_method_of_the_client_a_shape_and_an_example(name):
    call = named(name)
    path = call.path.replace("{uuid}", "some-uuid")
    assert callable(getattr(IndexingJobClient, call.short_name))
    assert operation_of(call.method, path).call == str(call)
    example = DocumentedExample().handle(Request(call.method, API_URL + path))
    assert example.status == 200


@pytest.mark.parametrize("name", NAMES)
def test_each_call_has_a_handler_and_a_place_in_coverage(name):
    call = named(name)
    simulator = Simulator(VirtualClock())
    uuid = simulator.start(duration=1).uuid
    simulator.clock.advance(1)
    body = b'{"knowledge_base_uuid": "x"}' if call.method == "POST" else b"{}"
    answer = simulator.handle(
        Request(call.method, API_URL + call.path.replace("{uuid}", uuid), HEADERS, body)
    )
    assert answer.status == 200
    assert simulator.journal.misses == []
    # Only a call's empty body is an item of coverage; another page's says nothing.
    empty = Exchange(
        Request(call.method, API_URL + call.path.replace("{uuid}", uuid)), Response(200)
    )
    assert "fault:empty-body" in outcomes_of([empty])


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
