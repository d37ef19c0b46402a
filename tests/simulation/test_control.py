"""The control API: what a test in another language says, over real HTTP."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_indexjob import LoopbackServer, Simulator, VirtualClock
from pytest_indexjob.exchange import Request
from pytest_indexjob.simulation.control import Controlled

ROOT = Path(__file__).parents[2]


class Suite:
    """A suite in another language, with a served simulator to drive."""

    def __init__(self):
        clock = VirtualClock()
        self.source = Controlled(clock, Simulator)
        self.server = LoopbackServer(self.source.handle, clock=clock).start()
        self.source.serve_at(self.server.url)
        self.session = requests.Session()
        self.session.headers["Authorization"] = "Bearer any"

    @property
    def simulator(self):
        return self.source.simulator

    def send(self, method, path, body=None):
        """The status and the JSON of an answer."""
        url = self.server.url + path
        answer = self.session.request(method, url, json=body, timeout=10)
        return answer.status_code, answer.json() if answer.content else None

    def look(self, what):
        status, body = self.send("GET", f"/_indexjob/{what}")
        assert status == 200
        return body[what]

    def order(self, path, /, **body):
        status, answer = self.send("POST", f"/_indexjob/{path}", body)
        assert status == 200, answer
        return answer

    def refused(self, path, body):
        """Why an order was refused."""
        status, answer = self.send("POST", f"/_indexjob/{path}", body)
        assert (status, answer["id"]) == (400, "invalid_argument")
        return answer["message"]


@pytest.fixture
def suite():
    made = Suite()
    yield made
    made.session.close()
    made.server.stop()


def test_a_whole_ingest_is_prepared_and_looked_at(suite):
    base = suite.order("knowledge_bases", name="my-documents", database="online", after=60)
    base = base["knowledge_base"]
    made = suite.order(
        "data_sources",
        knowledge_base_uuid=base["uuid"],
        web_crawler_data_source={"base_url": "https://example.com"},
    )
    source = made["knowledge_base_data_source"]
    url = f"/v2/gen-ai/knowledge_bases/{base['uuid']}"
    assert suite.send("GET", url)[1]["database_status"] == "CREATING"
    suite.order("clock", advance=60)
    assert suite.send("GET", url)[1]["database_status"] == "ONLINE"
    suite.order("plan", scenario="failed", error_msg="CRAWL", error_details="no page answered")
    body = {"knowledge_base_uuid": base["uuid"]}
    job = suite.send("POST", "/v2/gen-ai/indexing_jobs", body)[1]["job"]
    suite.order("clock", advance=400)
    assert suite.look("knowledge_bases")[0]["last_indexing_job"]["uuid"] == job["uuid"]
    (ended,) = suite.look("jobs")
    assert ended["status"] == "INDEX_JOB_STATUS_FAILED"
    assert ended["data_source_jobs"][0]["error_msg"] == "CRAWL"
    (shown,) = suite.look("data_sources")
    assert shown["uuid"] == source["uuid"]
    assert shown["last_datasource_indexing_job"]["status"] == "DATA_SOURCE_STATUS_FAILED"


def test_what_clients_make_is_seen(suite):
    uuid = suite.order("knowledge_bases")["knowledge_base"]["uuid"]
    agent = {"name": "helper", "knowledge_base_uuid": [uuid], "temperature": 0.5}
    suite.send("POST", "/v2/gen-ai/agents", agent)
    schedule = {"knowledge_base_uuid": uuid, "days": [1], "time": "04:00"}
    suite.send("POST", "/v2/gen-ai/scheduled-indexing", schedule)
    uploads = "/v2/gen-ai/knowledge_bases/data_sources/file_upload_presigned_urls"
    files = {"files": [{"file_name": name, "file_size": 4} for name in ("a.txt", "b.txt")]}
    (upload, _) = suite.send("POST", uploads, files)[1]["uploads"]
    suite.session.put(upload["presigned_url"], b"\xff\x00ab", timeout=10)
    (shown,) = suite.look("agents")
    assert (shown["temperature"], shown["knowledge_bases"][0]["uuid"]) == (0.5, uuid)
    (shown,) = suite.look("schedules")
    assert (shown["days"], shown["time"], shown["knowledge_base_uuid"]) == ([1], "04:00", uuid)
    sent, missing = suite.look("uploads")
    assert (sent["file_name"], sent["size"], sent["is_complete"]) == ("a.txt", 4, True)
    assert base64.b64decode(sent["body"]) == b"\xff\x00ab"
    assert (missing["is_complete"], missing["body"]) == (False, None)


def test_databases_are_planned(suite):
    suite.order("plan_database", life="unhealthy", after=30)
    kb = "/v2/gen-ai/knowledge_bases"
    uuid = suite.send("POST", kb, {"name": "docs"})[1]["knowledge_base"]["uuid"]
    suite.order("clock", advance=30)
    assert suite.send("GET", f"{kb}/{uuid}")[1]["database_status"] == "UNHEALTHY"


def test_each_data_source_of_a_job_has_its_own_end(suite):
    suite.order("jobs", scenario="partial", ends=["UPDATED", "FAILED"], queued=10, tokens=7)
    suite.order("clock", advance=400)
    (job,) = suite.look("jobs")
    assert job["tokens"] == 7
    ends = [source["status"] for source in job["data_source_jobs"]]
    assert ends == ["DATA_SOURCE_STATUS_UPDATED", "DATA_SOURCE_STATUS_FAILED"]


def test_other_calls_are_answered_as_they_were_told(suite):
    suite.order("answers", method="get", path="/v2/gen-ai/models", json={"models": []})
    suite.order(
        "answers",
        method="DELETE",
        path="/v2/databases/{uuid}",
        status=204,
        headers={"x-request-id": "r"},
        times=1,
    )
    assert suite.send("GET", "/v2/gen-ai/models") == (200, {"models": []})
    answer = suite.session.delete(f"{suite.server.url}/v2/databases/d", timeout=10)
    assert (answer.status_code, answer.headers["x-request-id"]) == (204, "r")
    assert suite.send("DELETE", "/v2/databases/d")[0] == 404


@pytest.mark.parametrize(
    ("path", "body", "problem"),
    [
        ("jobs", {"uuid": 5}, "uuid must be a string, not 5"),
        ("jobs", {"knowledge_base_uuid": ["a"]}, "knowledge_base_uuid must be a string"),
        ("jobs", {"data_sources": 10**9}, "data_sources must be at most 100000"),
        ("jobs", {"scenario": None}, "scenario must be a string"),
        ("jobs", {"ends": ["DONE"]}, "'DONE' is no DataSourceStatus"),
        ("plan", {"scenario": "partly"}, "there is no scenario 'partly'"),
        ("knowledge_bases", {"name": 5}, "name must be a string, not 5"),
        ("knowledge_bases", {"title": "x"}, "a KnowledgeBase has no 'title'"),
        ("knowledge_bases", {"tags": "x"}, "a list was expected"),
        ("knowledge_bases", {"database": "gone"}, "there is no life 'gone'"),
        ("knowledge_bases", {"database": ["online"]}, "database must be a string"),
        ("knowledge_bases", {"database": "online", "after": True}, "after must be a number"),
        ("knowledge_bases", {"database": "online", "after": 10**400}, "0 or more seconds"),
        ("data_sources", {}, "knowledge_base_uuid must be a string, not None"),
        ("data_sources", {"knowledge_base_uuid": "x"}, "there is no knowledge base 'x'"),
        ("plan_database", {"life": "never", "after": -1}, "after must be 0 or more seconds"),
        ("answers", {"method": "GET"}, "path must be a string"),
        ("answers", {"method": "GET", "path": "models"}, "path must begin with a slash"),
        ("answers", {"method": "GET", "path": "/{a}{b}"}, "braces only around a whole segment"),
        ("answers", {"method": "GET", "path": "/" * 1001}, "at most 1000 characters"),
        ("answers", {"method": "GET x", "path": "/"}, "a text such as 'GET', not 'GET x'"),
        ("answers", {"method": "GET", "path": "/", "status": 100}, "status must be an HTTP status"),
        ("answers", {"method": "GET", "path": "/", "status": True}, "status must be an HTTP"),
        ("answers", {"method": "GET", "path": "/", "status": 600}, "status must be an HTTP"),
        ("answers", {"method": "GET", "path": "/", "headers": {"a": "b\r\nc: d"}}, "can't be sent"),
        ("answers", {"method": "GET", "path": "/", "headers": {"a b": ""}}, "can't be sent"),
        ("answers", {"method": "GET", "path": "/", "headers": {"a": 1}}, "can't be sent"),
        ("answers", {"method": "GET", "path": "/", "headers": "a"}, "headers must be an object"),
        ("answers", {"method": "GET", "path": "/", "times": 0}, "times must be a whole number"),
        ("faults", {"fault": "conflict", "on": "knowledge_bases.make"}, "there is no call"),
        ("clock", {"advance": 1e300}, "the clock goes at most"),
        ("clock", {"advance": "1"}, "advance must be a number, not '1'"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused_and_changes_nothing(suite, path, body, problem):
    assert problem in suite.refused(path, body)
    assert (suite.simulator.jobs, suite.simulator.knowledge_bases) == ((), ())
    assert suite.server.clock.elapsed == 0


def test_a_reset_forgets_what_was_said(suite):
    suite.order("knowledge_bases")
    suite.order("answers", method="GET", path="/v2/regions", json=[])
    suite.order("reset")
    assert suite.look("knowledge_bases") == []
    assert suite.send("GET", "/v2/regions")[0] == 404


ORDERS = tuple(Controlled(VirtualClock(), Simulator)._orders)
NAMES = st.sampled_from(
    [
        *("scenario", "uuid", "knowledge_base_uuid", "files", "data_sources", "duration", "ends"),
        *("queued", "name", "database", "after", "life", "fault", "times", "on", "advance", "self"),
        *("method", "path", "json", "status", "headers", "spaces_data_source", "tags"),
    ]
)
WORDS = st.sampled_from(
    ("completed", "partial", "online", "never", "rate-limit", "get", "GET", "/a", "/{a}", "UPDATED")
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=5,
)


@settings(deadline=None)
@given(st.sampled_from(ORDERS), st.dictionaries(NAMES, VALUES, max_size=4) | VALUES)
def test_whatever_is_ordered_is_obeyed_or_refused(order, body):
    method, path = order
    source = Controlled(VirtualClock(), Simulator)

    def answered(method, path, content=b""):
        answer = source.handle(Request(method, f"http://127.0.0.1:1{path}", (), content))
        json.loads(answer.body)
        return answer.status

    status = answered(method, f"/_indexjob{path}", json.dumps(body).encode())
    assert status in (200, 400)
    if status == 400:
        assert (source.simulator.jobs, source.simulator.knowledge_bases) == ((), ())
    for method, path in ORDERS:
        assert method != "GET" or answered(method, f"/_indexjob{path}") == 200
    assert answered("GET", "/v2/gen-ai/knowledge_bases/none") in (401, 404)


def test_the_table_of_the_control_api_has_every_order():
    text = (ROOT / "docs" / "command-line.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    for method, path in ORDERS:
        assert any(f"/_indexjob{path}`" in row and f"`{method}" in row for row in rows), path
