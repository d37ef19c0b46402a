"""The knowledge base around the job: knowledge bases, data sources, uploads, schedules, agents."""

from __future__ import annotations

import ast
import inspect
import json
import re
from datetime import datetime
from pathlib import Path

import jsonschema
import pytest
import requests
import yaml
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from pytest_indexjob import DatabaseStatus, Simulator, VirtualClock, faults
from pytest_indexjob.api.calls import CALLS, named
from pytest_indexjob.api.schema import FORMATS, json_schema, operation_of
from pytest_indexjob.exchange import Request
from pytest_indexjob.simulation.server import LoopbackServer

API = "https://api.digitalocean.com"
ROOT = "/v2/gen-ai"
BASES = f"{ROOT}/knowledge_bases"
JOBS = f"{ROOT}/indexing_jobs"
SCHEDULES = f"{ROOT}/scheduled-indexing"
AGENTS = f"{ROOT}/agents"
UPLOADS = f"{BASES}/data_sources/file_upload_presigned_urls"
TOKEN = (("Authorization", "Bearer any"),)
SPACES = {"spaces_data_source": {"bucket_name": "manuals", "region": "nyc3"}}


@pytest.fixture
def service():
    return Simulator(VirtualClock(), requests_per_minute=None)


def ask(service, method, path, body=None):
    sent = b"" if body is None else json.dumps(body).encode()
    answer = service.handle(Request(method, API + path, TOKEN, sent))
    return answer.status, json.loads(answer.body)


def granted(service, method, path, body=None):
    status, answer = ask(service, method, path, body)
    assert status == 200, answer
    return answer


def state_of(service):
    return (
        service.knowledge_bases,
        service.data_sources,
        service.jobs,
        service.uploads,
        service.schedules,
        service.agents,
    )


def test_a_database_takes_its_time_and_a_job_has_to_wait(service):
    base = granted(service, "POST", BASES, {"name": "manuals"})["knowledge_base"]["uuid"]
    assert granted(service, "GET", f"{BASES}/{base}")["database_status"] == "CREATING"
    service.add_data_source(base)
    status, error = ask(service, "POST", JOBS, {"knowledge_base_uuid": base})
    assert (status, error["message"]) == (400, "failed to get db creds")
    service.clock.advance(service.database_delay)
    assert granted(service, "GET", f"{BASES}/{base}")["database_status"] == "ONLINE"
    granted(service, "POST", JOBS, {"knowledge_base_uuid": base})


@pytest.mark.parametrize(
    ("life", "end"),
    [
        ("online", DatabaseStatus.ONLINE),
        ("unhealthy", DatabaseStatus.UNHEALTHY),
        ("decommissioned", DatabaseStatus.DECOMMISSIONED),
        ("never", DatabaseStatus.CREATING),
    ],
)
def test_the_lives_of_a_database(service, life, end):
    service.plan_database(life, after=30)
    base = granted(service, "POST", BASES, {"name": "manuals"})["knowledge_base"]["uuid"]
    statuses = []
    for seconds in (29, 1, 10_000):
        service.clock.advance(seconds)
        statuses.append(granted(service, "GET", f"{BASES}/{base}")["database_status"])
    assert statuses == ["CREATING", end, end]
    with pytest.raises(ValueError, match=r"no life 'offline' of a database\. There are: online"):
        service.plan_database("offline")


def test_a_knowledge_base_with_a_database_of_ones_own_is_ready_at_once(service):
    body = {"name": "manuals", "database_id": "mine"}
    base = granted(service, "POST", BASES, body)["knowledge_base"]["uuid"]
    answer = granted(service, "GET", f"{BASES}/{base}")
    assert answer["database_status"] == "ONLINE"
    assert answer["knowledge_base"]["database_id"] == "mine"


def test_data_sources_in_the_post_are_indexed_when_the_database_is_online(service):
    service.plan("partial", ends=("UPDATED", "FAILED"))
    crawler = {"web_crawler_data_source": {"base_url": "https://docs.example.com"}}
    body = {"name": "manuals", "datasources": [SPACES, crawler]}
    base = granted(service, "POST", BASES, body)["knowledge_base"]["uuid"]
    assert service.jobs == ()
    service.clock.advance(10_000)
    (job,) = service.jobs
    created = service.knowledge_bases[0].created_at
    assert (job.created_at - created).total_seconds() == service.database_delay
    assert list(job.data_source_uuids) == [source.uuid for source in service.data_sources]
    parts = [source.last_datasource_indexing_job for source in service.data_sources]
    assert parts == list(job.data_source_jobs)
    assert [part.status.name for part in parts] == ["UPDATED", "FAILED"]
    last = granted(service, "GET", f"{BASES}/{base}")["knowledge_base"]["last_indexing_job"]
    assert last == granted(service, "GET", f"{JOBS}/{job.uuid}")["job"]


def ends_of(service):
    return {
        source.uuid: source.last_datasource_indexing_job.status.name
        for source in service.data_sources
    }


def test_named_data_sources_end_each_in_its_own_way(service):
    base = service.add_knowledge_base()
    files = service.add_data_source(base.uuid)
    pages = service.add_data_source(
        base.uuid, web_crawler_data_source={"base_url": "https://docs.example.com"}
    )
    ends = {pages.uuid: {"status": "FAILED", "files": 7}}
    service.start("partial", knowledge_base_uuid=base.uuid, ends=ends)
    service.clock.advance(1000)
    assert ends_of(service) == {files.uuid: "UPDATED", pages.uuid: "FAILED"}
    assert service.data_sources[1].last_datasource_indexing_job.failed_item_count == 7
    with pytest.raises(
        ValueError, match="ends names 'x', but the job has the data sources documents"
    ):
        service.start("partial", knowledge_base_uuid=base.uuid, ends={"x": "FAILED"})


def test_data_sources_that_the_code_makes_are_named_by_what_they_hold(service):
    service.plan("partial", ends={"https://docs.example.com": "FAILED", "manuals": "UPDATED"})
    crawler = {"web_crawler_data_source": {"base_url": "https://docs.example.com"}}
    body = {"name": "manuals", "datasources": [crawler, SPACES]}
    granted(service, "POST", BASES, body)
    service.clock.advance(10_000)
    assert list(ends_of(service).values()) == ["FAILED", "UPDATED"]
    with pytest.raises(ValueError, match="'BROKEN' is no DataSourceStatus"):
        service.plan("partial", ends={"manuals": "BROKEN"})


def test_names_are_uuids_where_nobody_made_data_sources(service):
    job = service.start("partial", ends={"first": "UPDATED", "second": "FAILED"})
    service.clock.advance(1000)
    ended = service.job(job.uuid)
    assert [(each.data_source_uuid, each.status.name) for each in ended.data_source_jobs] == [
        ("first", "UPDATED"),
        ("second", "FAILED"),
    ]


def test_a_plan_that_does_not_fit_is_told_at_the_end_of_the_test(service):
    base = service.add_knowledge_base()
    service.add_data_source(base.uuid)
    service.plan("partial", ends=("UPDATED", "FAILED"))
    status, error = ask(service, "POST", JOBS, {"knowledge_base_uuid": base.uuid})
    assert (status, error["id"]) == (501, "not_implemented")
    assert "partial: ends names 2 data sources, but the job has 1" in error["message"]
    assert service.jobs == ()
    (miss,) = service.journal.misses
    assert "ends names 2 data sources, but the job has 1" in str(miss)


def test_a_stale_read_says_what_was_true_some_seconds_ago(service):
    service.plan_database("online", after=100)
    base = granted(service, "POST", BASES, {"name": "manuals"})["knowledge_base"]["uuid"]
    service.clock.advance(110)
    service.inject("stale-read", on="knowledge_bases.get")
    statuses = [granted(service, "GET", f"{BASES}/{base}")["database_status"] for _ in range(2)]
    assert statuses == ["CREATING", "ONLINE"]
    job = service.start(knowledge_base_uuid=base, duration=300).uuid
    service.clock.advance(310)
    service.inject(faults.get("stale-read", age=20), times=2)
    granted(service, "PUT", f"{BASES}/{base}", {"tags": ["a"]})  # no read, so it does not strike
    shown = [granted(service, "GET", f"{JOBS}/{job}")["job"]["status"][17:] for _ in range(3)]
    assert shown == ["IN_PROGRESS", "IN_PROGRESS", "COMPLETED"]
    service.inject(faults.get("stale-read", age=400))
    assert "last_indexing_job" not in granted(service, "GET", f"{BASES}/{base}")["knowledge_base"]
    with pytest.raises(ValueError, match="age must be 0 or more seconds"):
        faults.get("stale-read", age=-1)


def test_the_last_job_of_a_knowledge_base_may_lag_behind_the_one_just_started(service):
    base = service.add_knowledge_base().uuid
    service.add_data_source(base)
    first = service.start("failed", knowledge_base_uuid=base, duration=60).uuid
    service.clock.advance(100)
    service.last_job_lag = 15.0
    second = granted(service, "POST", JOBS, {"knowledge_base_uuid": base})["job"]["uuid"]

    def last_job():
        shown = granted(service, "GET", f"{BASES}/{base}")["knowledge_base"]["last_indexing_job"]
        source = granted(service, "GET", f"{BASES}/{base}/data_sources")
        (part,) = source["knowledge_base_data_sources"]
        return shown["uuid"], part["last_datasource_indexing_job"].get("status", "")[19:]

    assert last_job() == (first, "FAILED")
    assert granted(service, "GET", f"{JOBS}/{second}")["job"]["uuid"] == second
    assert ask(service, "POST", JOBS, {"knowledge_base_uuid": base})[0] == 409
    service.clock.advance(15)
    assert last_job()[0] == second


def test_what_a_test_makes_is_there_and_typed(service):
    base = service.add_knowledge_base("manuals", region="tor1")
    source = service.add_data_source(base.uuid)
    assert (base.name, base.region) == ("manuals", "tor1")
    assert source.spaces_data_source.bucket_name == "documents"
    job = service.start(knowledge_base_uuid=base.uuid)
    assert job.knowledge_base_uuid == base.uuid
    assert service.jobs[0].data_source_uuids == (source.uuid,)
    assert service.knowledge_bases[0].last_indexing_job == service.jobs[0]
    with pytest.raises(ValueError, match="a KnowledgeBase has no 'regio'"):
        service.add_knowledge_base(regio="tor1")
    with pytest.raises(ValueError, match="there is a knowledge base"):
        service.add_knowledge_base(uuid=base.uuid)


def test_unknown_knowledge_bases_spring_into_being_unless_strict(service):
    granted(service, "POST", JOBS, {"knowledge_base_uuid": "mine"})
    assert granted(service, "GET", f"{BASES}/mine")["database_status"] == "ONLINE"
    service.strict = True
    assert ask(service, "POST", JOBS, {"knowledge_base_uuid": "other"})[0] == 404
    with pytest.raises(ValueError, match=r"no knowledge base other: make it with add_knowledge"):
        service.start(knowledge_base_uuid="other")
    assert [base.uuid for base in service.knowledge_bases] == ["mine"]


def test_a_uuid_of_another_kind_is_no_knowledge_base(service):
    base = service.add_knowledge_base().uuid
    source = service.add_data_source(base).uuid
    job = service.start().uuid
    agent = granted(service, "POST", AGENTS, {"name": "helper"})["agent"]["uuid"]
    before = state_of(service)
    for uuid in (source, job, agent):
        assert ask(service, "POST", JOBS, {"knowledge_base_uuid": uuid})[0] == 404
        assert ask(service, "GET", f"{BASES}/{uuid}/indexing_jobs")[0] == 404
    assert state_of(service) == before


def test_the_jobs_of_an_unknown_knowledge_base_are_none_unless_strict(service):
    assert granted(service, "GET", f"{BASES}/mine/indexing_jobs")["jobs"] == []
    service.strict = True
    assert ask(service, "GET", f"{BASES}/mine/indexing_jobs")[0] == 404


def test_a_data_source_that_is_named_twice_is_indexed_once(service):
    base = service.add_knowledge_base().uuid
    source = service.add_data_source(base).uuid
    body = {"knowledge_base_uuid": base, "data_source_uuids": [source, source]}
    granted(service, "POST", JOBS, body)
    assert service.jobs[0].data_source_uuids == (source,)
    assert service.jobs[0].total_datasources == 1


def test_of_two_jobs_that_a_test_started_each_keeps_the_knowledge_base_busy(service):
    base = service.add_knowledge_base().uuid
    service.add_data_source(base)
    service.start("taken-back", knowledge_base_uuid=base)
    service.start("failed", knowledge_base_uuid=base, duration=5)
    body = {"knowledge_base_uuid": base}
    for _ in range(3):  # the first is shown as ended for a while, and taken back
        service.clock.advance(100)
        running = any(not job.is_terminal for job in service.jobs)
        assert (ask(service, "POST", JOBS, body)[0] == 409) is running
        assert len(service.jobs) == 2 or not running
    service.clock.advance(10_000)
    granted(service, "POST", JOBS, body)


def test_lists_have_pages_with_links(service):
    for at in range(5):
        service.add_knowledge_base(f"manuals-{at}")
    page = granted(service, "GET", f"{BASES}?page=2&per_page=2")
    assert [base["name"] for base in page["knowledge_bases"]] == ["manuals-2", "manuals-1"]
    assert page["meta"] == {"page": 2, "pages": 3, "total": 5}
    assert page["links"]["pages"]["next"] == f"{API}{BASES}?page=3&per_page=2"
    beyond = granted(service, "GET", f"{BASES}?page=99&per_page=2")
    assert beyond["knowledge_bases"] == []
    assert beyond["links"]["pages"]["previous"] == f"{API}{BASES}?page=3&per_page=2"
    assert granted(service, "GET", f"{BASES}?per_page={2**63 - 1}")["meta"]["pages"] == 1
    for wrong in ("per_page=0", "per_page=-1", "page=1.5", "page=", "page=x", f"page={2**63}"):
        assert ask(service, "GET", f"{BASES}?{wrong}")[0] == 400


def test_a_bucket_may_be_named_without_a_kind(service):
    source = {"bucket_name": "manuals", "bucket_region": "tor1", "item_path": "a/"}
    granted(service, "POST", BASES, {"name": "manuals", "datasources": [source]})
    (made,) = service.data_sources
    assert (made.bucket_name, made.region, made.item_path) == ("manuals", "tor1", "a/")


def test_a_whole_number_may_be_written_with_a_point(service):
    base = service.add_knowledge_base().uuid
    body = b'{"knowledge_base_uuid": "%s", "days": [1.0], "time": "03:30"}' % base.encode()
    assert service.handle(Request("POST", API + SCHEDULES, TOKEN, body)).status == 200
    body = b'{"files": [{"file_name": "a", "file_size": 1e3}]}'
    assert service.handle(Request("POST", API + UPLOADS, TOKEN, body)).status == 200
    assert (service.schedules[0].days, service.uploads[0].size) == ((1,), 1000)


def test_updates_change_what_they_name_and_no_more(service):
    base = service.add_knowledge_base("manuals", tags=["a"])
    source = service.add_data_source(base.uuid)
    service.clock.advance(60)
    changed = granted(service, "PUT", f"{BASES}/{base.uuid}", {"name": "books"})["knowledge_base"]
    assert (changed["name"], changed["tags"]) == ("books", ["a"])
    assert changed["updated_at"] > changed["created_at"]
    path = f"{BASES}/{base.uuid}/data_sources/{source.uuid}"
    body = {"chunking_options": {"max_chunk_size": 500}}
    answer = granted(service, "PUT", path, body)["knowledge_base_data_source"]
    assert answer["chunking_options"] == {"max_chunk_size": 500}
    assert answer["spaces_data_source"]["bucket_name"] == "documents"


def test_what_is_deleted_is_gone_and_what_is_in_use_stays(service):
    base = service.add_knowledge_base()
    source = service.add_data_source(base.uuid)
    service.start(knowledge_base_uuid=base.uuid, duration=100)
    before = state_of(service)
    for path in (f"{BASES}/{base.uuid}", f"{BASES}/{base.uuid}/data_sources/{source.uuid}"):
        assert ask(service, "DELETE", path)[0] == 409
    assert state_of(service) == before
    service.clock.advance(100)
    granted(service, "DELETE", f"{BASES}/{base.uuid}/data_sources/{source.uuid}")
    assert service.data_sources == ()
    granted(service, "DELETE", f"{BASES}/{base.uuid}")
    assert ask(service, "GET", f"{BASES}/{base.uuid}")[0] == 404
    assert ask(service, "POST", JOBS, {"knowledge_base_uuid": base.uuid})[0] == 404
    assert len(service.jobs) == 1


def test_no_secret_of_a_data_source_comes_back(service):
    base = service.add_knowledge_base()
    path = f"{BASES}/{base.uuid}/data_sources"
    for kind, secrets in (
        ("aws_data_source", ("key_id", "secret_key")),
        ("dropbox_data_source", ("refresh_token",)),
        ("google_drive_data_source", ("refresh_token",)),
    ):
        body = {kind: {**dict.fromkeys(secrets, "very-secret"), "folder": "a", "folder_id": "b"}}
        answer = granted(service, "POST", path, body)
        assert "very-secret" not in json.dumps(answer)
        assert kind in answer["knowledge_base_data_source"]


def test_bytes_are_put_to_the_url_of_an_upload(service):
    body = {
        "files": [{"file_name": "a b.txt", "file_size": 3}, {"file_name": "c", "file_size": "1"}]
    }
    uploads = granted(service, "POST", UPLOADS, body)["uploads"]
    url = uploads[0]["presigned_url"]

    def put(url, data):
        return service.handle(Request("PUT", url, (), data)).status

    assert put(url, b"abcd") == 400
    assert put(f"{url}x", b"abc") == 403
    assert put(url, b"abc") == 200
    first, second = service.uploads
    assert (first.file_name, first.body, first.is_complete) == ("a b.txt", b"abc", True)
    assert first.object_key == uploads[0]["object_key"]
    service.clock.advance(service.upload_lifetime + 1)
    assert put(uploads[1]["presigned_url"], b"c") == 403
    assert not service.uploads[1].is_complete
    assert second.body is None


@pytest.mark.parametrize("name", ["docs/../a.txt", "a//b.txt", "/a.txt", "ü ☃?x#%41.pdf"])
def test_a_file_of_any_name_is_uploaded(service, name):
    body = {"files": [{"file_name": name, "file_size": 3}]}
    url = granted(service, "POST", UPLOADS, body)["uploads"][0]["presigned_url"]
    sent = requests.Request("PUT", url).prepare().url  # as a client resolves it
    assert service.handle(Request("PUT", sent, (), b"abc")).status == 200
    assert (service.uploads[0].file_name, service.uploads[0].is_complete) == (name, True)


def test_bytes_that_come_twice_are_kept_once(service):
    body = {"files": [{"file_name": "a", "file_size": 700_000}]}
    url = granted(service, "POST", UPLOADS, body)["uploads"][0]["presigned_url"]
    for content in (b"a" * 700_000, b"b" * 700_000):
        assert service.handle(Request("PUT", url, (), content)).status == 200
    assert service.uploads[0].body == b"b" * 700_000


def test_uploads_by_a_server_lead_to_the_server(service):
    server = LoopbackServer(service.handle, clock=service.clock).start()
    service.serve_at(server.url)
    try:
        body = {"files": [{"file_name": "a.txt", "file_size": 3}]}
        answer = requests.post(server.url + UPLOADS, json=body, headers=dict(TOKEN), timeout=10)
        url = answer.json()["uploads"][0]["presigned_url"]
        assert url.startswith(server.url)
        assert requests.put(url, data=b"abc", timeout=10).status_code == 200
    finally:
        server.stop()
    assert service.uploads[0].body == b"abc"


def test_at_the_scheduled_moments_jobs_start(service):
    base = service.add_knowledge_base()
    service.add_data_source(base.uuid)
    body = {"knowledge_base_uuid": base.uuid, "days": [1, 7], "time": "03:30"}
    made = granted(service, "POST", SCHEDULES, body)["indexing_info"]
    assert ask(service, "POST", SCHEDULES, body)[0] == 409
    service.clock.advance(7 * 86400)
    started = [(job.created_at.isoweekday(), f"{job.created_at:%H:%M}") for job in service.jobs]
    assert sorted(started) == [(1, "03:30"), (7, "03:30")]
    path = f"{SCHEDULES}/knowledge-base/{base.uuid}"
    info = granted(service, "GET", path)["indexing_info"]
    assert info["last_ran_at"] < info["next_run_at"]
    gone = granted(service, "DELETE", f"{SCHEDULES}/{made['uuid']}")["indexing_info"]
    assert "deleted_at" in gone
    service.clock.advance(30 * 86400)
    assert len(service.jobs) == 2
    assert ask(service, "GET", path)[0] == 404


def test_an_agent_keeps_what_it_was_given_and_its_knowledge_bases(service):
    base = service.add_knowledge_base()
    agent = granted(service, "POST", AGENTS, {"name": "helper", "temperature": 0.5})["agent"]
    path = f"{AGENTS}/{agent['uuid']}/knowledge_bases/{base.uuid}"
    granted(service, "POST", path)
    service.start(knowledge_base_uuid=base.uuid, duration=1)
    service.clock.advance(1)
    shown = granted(service, "GET", f"{AGENTS}/{agent['uuid']}")["agent"]
    assert shown["temperature"] == 0.5
    assert shown["knowledge_bases"][0]["last_indexing_job"]["status"].endswith("COMPLETED")
    assert ask(service, "DELETE", f"{BASES}/{base.uuid}")[0] == 409
    granted(service, "DELETE", path)
    granted(service, "DELETE", f"{BASES}/{base.uuid}")
    granted(service, "DELETE", f"{AGENTS}/{agent['uuid']}")
    assert service.agents == ()


def test_a_fault_strikes_a_tests_own_answer_too(service):
    service.answer("GET", f"{ROOT}/models", json={"models": []}, times=1)
    service.inject("bad-gateway", on=lambda request: "models" in request.url)
    answers = [service.handle(Request("GET", f"{API}{ROOT}/models", TOKEN)) for _ in range(2)]
    assert [answer.status for answer in answers] == [502, 200]


def test_of_several_answers_the_one_that_was_said_last_goes_first(service):
    service.answer("GET", "/v2/{any}/{other}", json=1)
    service.answer("GET", "/v2/databases/{uuid}", json=2, times=2)
    service.answer("GET", "/v2/databases/mine", json=3, times=1)
    asked = [granted(service, "GET", "/v2/databases/mine") for _ in range(5)]
    assert asked == [3, 2, 2, 1, 1]


def test_a_tests_own_answers_go_first(service):
    service.answer("GET", f"{ROOT}/models", json={"models": []}, times=1)
    service.answer("GET", "/v2/databases/{uuid}", json=lambda request: {"asked": request.url})
    service.answer("GET", f"{JOBS}/{{uuid}}", status=503)
    assert granted(service, "GET", f"{ROOT}/models?page=1") == {"models": []}
    assert granted(service, "GET", "/v2/databases/7") == {"asked": f"{API}/v2/databases/7"}
    assert service.handle(Request("GET", f"{API}{JOBS}/x", TOKEN)).status == 503
    assert service.journal.misses == []
    assert len(service.journal) == 3
    assert ask(service, "GET", f"{ROOT}/models")[0] == 404
    assert len(service.journal.misses) == 1
    for wrong in ({"path": "models"}, {"path": "/a", "status": 9}, {"path": "/a", "times": 0}):
        with pytest.raises(ValueError, match=r"path|status|times"):
            service.answer("GET", **wrong)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (BASES, {"uuid": 5}),
        (BASES, {"name": "ab"}),
        (BASES, {"name": "a" * 64}),
        (BASES, {"name": "a name"}),
        (BASES, {"name": 5}),
        (BASES, {"name": "manuals", "tags": "a"}),
        (BASES, {"name": "manuals", "datasources": {}}),
        (BASES, {"name": "manuals", "datasources": [{}]}),
        (BASES, {"name": "manuals", "datasources": [SPACES, {"spaces_data_source": 1}]}),
        (f"{BASES}/BASE/data_sources", {}),
        (f"{BASES}/BASE/data_sources", {"data_source": {"bucket_name": "a"}}),
        (f"{BASES}/BASE/data_sources", {**SPACES, "aws_data_source": {}}),
        (f"{BASES}/BASE/data_sources", {**SPACES, "knowledge_base_uuid": "other"}),
        (f"{BASES}/BASE/data_sources", {**SPACES, "chunking_algorithm": "BEST"}),
        (f"{BASES}/BASE/data_sources", {"web_crawler_data_source": {"crawling_option": "ALL"}}),
        (JOBS, {"knowledge_base_uuid": "BASE", "data_source_uuids": ["OTHER"]}),
        (JOBS, {"knowledge_base_uuid": "BASE", "data_source_uuids": ["unknown"]}),
        (JOBS, {"knowledge_base_uuid": "BASE", "data_source_uuids": {}}),
        (UPLOADS, {"files": []}),
        (UPLOADS, {"files": [{"file_name": "a", "file_size": -1}]}),
        (UPLOADS, {"files": [{"file_name": "a", "file_size": 1}, {"file_name": 1}]}),
        (SCHEDULES, {"knowledge_base_uuid": "BASE", "days": [8], "time": "03:00"}),
        (SCHEDULES, {"knowledge_base_uuid": "BASE", "days": [1], "time": "24:00"}),
        (AGENTS, {"uuid": 5}),
        (AGENTS, {"name": "a", "knowledge_base_uuid": "BASE"}),
    ],
)
def test_bad_input_is_refused_and_makes_nothing(service, path, body):
    base, other = service.add_knowledge_base().uuid, service.add_knowledge_base().uuid
    source = service.add_data_source(other).uuid
    before = state_of(service)
    text = json.dumps(body).replace("BASE", base).replace("OTHER", source)
    status, error = ask(service, "POST", path.replace("BASE", base), json.loads(text))
    assert (status, error["id"]) == (400, "invalid_argument")
    assert state_of(service) == before


# Guesses are settings.


def documented_guesses():
    text = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text()
    table = text.partition("### Guesses")[2].partition("\n## ")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    settings_of = (each for cell in cells for each in re.findall(r"`(\w+)=([^`]*)`", cell))
    return {name: ast.literal_eval(value) for name, value in settings_of}


def test_each_documented_guess_is_a_setting_with_the_value_that_is_documented():
    parameters = inspect.signature(Simulator).parameters
    guesses = documented_guesses()
    known = {"clock", "journal", "base_url", "token", "strict", "on_start"}
    limits = {"requests_per_hour", "requests_per_minute"}
    assert guesses.keys() == parameters.keys() - known - limits
    assert guesses == {name: parameters[name].default for name in guesses}
    changed = Simulator(**guesses)
    assert guesses == {name: getattr(changed, name) for name in guesses}


def test_a_database_of_ones_own_may_take_time_too(service):
    service.own_database_delay = 50.0
    body = {"name": "manuals", "database_id": "mine"}
    base = granted(service, "POST", BASES, body)["knowledge_base"]["uuid"]
    assert granted(service, "GET", f"{BASES}/{base}")["database_status"] == "CREATING"
    service.clock.advance(50)
    assert granted(service, "GET", f"{BASES}/{base}")["database_status"] == "ONLINE"


def test_the_first_job_may_start_at_once(service):
    service.first_job_waits = False
    service.plan_database("never")
    granted(service, "POST", BASES, {"name": "manuals", "datasources": [SPACES]})
    (job,) = service.jobs
    assert job.created_at == service.knowledge_bases[0].created_at
    service.first_job_waits = True
    granted(service, "POST", BASES, {"name": "manuals", "datasources": [SPACES]})
    service.clock.advance(10**6)
    assert len(service.jobs) == 1


def test_deleting_a_data_source_may_index_the_rest(service):
    base = service.add_knowledge_base().uuid
    sources = [service.add_data_source(base).uuid for _ in range(2)]
    granted(service, "DELETE", f"{BASES}/{base}/data_sources/{sources[0]}")
    assert service.jobs == ()
    service.delete_starts_job = True
    third = service.add_data_source(base).uuid
    granted(service, "DELETE", f"{BASES}/{base}/data_sources/{third}")
    (job,) = service.jobs
    assert job.data_source_uuids == (sources[1],)
    service.clock.advance(1000)
    granted(service, "DELETE", f"{BASES}/{base}/data_sources/{sources[1]}")
    assert len(service.jobs) == 1  # nothing was left to index


def test_without_a_data_source_there_is_nothing_to_index(service):
    base = service.add_knowledge_base().uuid
    schedule = {"knowledge_base_uuid": base, "days": [*range(7)], "time": "03:30"}
    granted(service, "POST", SCHEDULES, schedule)
    service.clock.advance(3 * 86400)
    status, error = ask(service, "POST", JOBS, {"knowledge_base_uuid": base})
    assert (status, error["message"]) == (400, f"knowledge base {base} has no data sources")
    assert service.jobs == ()
    service.empty_jobs = True
    granted(service, "POST", JOBS, {"knowledge_base_uuid": base})
    service.clock.advance(86400)
    assert len(service.jobs) == 2


def test_what_is_in_use_may_be_deleted_all_the_same(service):
    service.deletes_in_use = True
    base = service.add_knowledge_base().uuid
    source = service.add_data_source(base).uuid
    service.start(knowledge_base_uuid=base)
    granted(service, "DELETE", f"{BASES}/{base}/data_sources/{source}")
    granted(service, "DELETE", f"{BASES}/{base}")


@pytest.mark.parametrize("sunday", [0, 7])
def test_sunday_may_have_one_number_alone(service, sunday):
    service.sundays = (sunday,)
    base = service.add_knowledge_base().uuid
    body = {"knowledge_base_uuid": base, "days": [7 - sunday], "time": "03:30"}
    assert ask(service, "POST", SCHEDULES, body)[0] == 400
    body["days"] = [sunday]
    info = granted(service, "POST", SCHEDULES, body)["indexing_info"]
    assert datetime.fromisoformat(info["next_run_at"]).isoweekday() == 7


def test_a_second_schedule_may_take_the_place_of_the_first(service):
    service.replaces_schedule = True
    base = service.add_knowledge_base().uuid
    body = {"knowledge_base_uuid": base, "days": [1], "time": "03:30"}
    first = granted(service, "POST", SCHEDULES, body)["indexing_info"]["uuid"]
    second = granted(service, "POST", SCHEDULES, {**body, "time": "04:00"})["indexing_info"]
    assert [schedule.uuid for schedule in service.schedules] == [second["uuid"]]
    assert ask(service, "DELETE", f"{SCHEDULES}/{first}")[0] == 404


def test_pages_may_begin_with_the_oldest_and_have_other_sizes(service):
    service.newest_first, service.per_page, service.most_per_page = False, 2, 3
    for at in range(5):
        service.add_knowledge_base(f"manuals-{at}")

    def names(query):
        return [base["name"] for base in granted(service, "GET", BASES + query)["knowledge_bases"]]

    assert names("") == ["manuals-0", "manuals-1"]
    assert names("?page=3") == ["manuals-4"]
    assert names("?page=2&per_page=100") == ["manuals-3", "manuals-4"]
    assert names("?page=9") == []


def test_the_fault_and_the_simulator_refuse_alike_before_the_database_is_there(service):
    base = granted(service, "POST", BASES, {"name": "manuals"})["knowledge_base"]["uuid"]
    refused = ask(service, "POST", JOBS, {"knowledge_base_uuid": base})
    service.inject("provisioning")
    struck = ask(service, "POST", JOBS, {"knowledge_base_uuid": base})
    refused[1].pop("request_id")
    assert struck == refused


# Every answer is valid by the published OpenAPI.

SHAPES = yaml.safe_load((Path(__file__).parents[1] / "data" / "openapi-shapes.yaml").read_text())
CHECKER = jsonschema.FormatChecker()
for form, holds in FORMATS.items():
    CHECKER.checks(form)(holds)


def validator(name):
    schema = {"$ref": f"#/$defs/{name}", "$defs": SHAPES["$defs"]}
    return jsonschema.Draft202012Validator(schema, format_checker=CHECKER)


VALIDATORS = {name: validator(shape) for name, shape in SHAPES["answers"].items()}
ERROR = validator("error")

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda each: (
        st.lists(each, max_size=2) | st.dictionaries(st.text(max_size=5), each, max_size=2)
    ),
    max_leaves=4,
)


class EveryCall(RuleBasedStateMachine):
    """Any calls in any order, with good bodies and bad ones, at any time."""

    @initialize()
    def begin(self):
        self.service = Simulator(VirtualClock(), requests_per_minute=None, requests_per_hour=None)
        base = self.service.add_knowledge_base().uuid
        self.uuids = ["unknown", base, self.service.add_data_source(base).uuid]

    @rule(
        call=st.sampled_from(CALLS),
        data=st.data(),
        junk=st.dictionaries(
            st.sampled_from(("uuid", "name", "tags", "datasources", "days", "files")),
            JSON,
            max_size=1,
        ),
    )
    def ask(self, call, data, junk):
        uuids = st.sampled_from(self.uuids)
        arguments = [data.draw(uuids) for _ in range(call.path.count("{"))]
        body = {
            "name": "manuals",
            "knowledge_base_uuid": data.draw(uuids),
            "days": [data.draw(st.integers(0, 7))],
            "time": "12:00",
            "files": [{"file_name": "a", "file_size": 1}],
            "datasources": [SPACES],
        }
        if call.resource == "data_sources":
            body = dict(SPACES)
        elif call.resource == "agents":
            body = {"name": "a", "knowledge_base_uuids": [data.draw(uuids)]}
        sent = json.dumps(body | junk).encode() if call.method in ("POST", "PUT") else b""
        request = Request(call.method, API + call.path_with(*arguments), TOKEN, sent)
        answer = self.service.handle(request)
        parsed = json.loads(answer.body)
        if answer.status == 200:
            jsonschema.validate(parsed, json_schema(operation_of(call.method, call.path)))
            if call.name in VALIDATORS:
                VALIDATORS[call.name].validate(parsed)
            self.keep_uuids(parsed)
        else:
            assert answer.status in (400, 404, 409), parsed
            ERROR.validate(parsed)
        assert self.service.journal.misses == []

    def keep_uuids(self, parsed):
        for value in parsed.values():
            if isinstance(value, dict) and value.get("uuid") and len(self.uuids) < 12:
                self.uuids.append(value["uuid"])

    @rule(seconds=st.sampled_from((1, 60, 400, 86400)))
    def wait(self, seconds):
        self.service.clock.advance(seconds)
        state_of(self.service)


TestEveryCall = EveryCall.TestCase
TestEveryCall.settings = settings(stateful_step_count=25)


def test_the_shapes_are_of_all_calls_but_those_of_agents():
    assert {call.name for call in CALLS if call.resource != "agents"} == set(VALIDATORS)
    assert named("agents.get").path == f"{AGENTS}/{{agent_uuid}}"
