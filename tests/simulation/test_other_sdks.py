"""The answers as the official clients of other languages read them."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from pytest_indexjob import LoopbackServer, Simulator, VirtualClock, scenarios
from pytest_indexjob.exchange import Request

API = "https://api.digitalocean.com"
ROOT = "/v2/gen-ai"
SCRIPT = Path(__file__).parents[1] / "data" / "dots.mjs"

DOTS = os.environ.get("INDEXJOB_DOTS", "")


@pytest.mark.skipif(not DOTS, reason="INDEXJOB_DOTS names no folder: run nox -s dots")
def test_the_official_javascript_client_reads_every_answer():
    node = shutil.which("node") or pytest.skip("there is no Node.js")
    simulator = Simulator(VirtualClock(), requests_per_minute=None)
    server = LoopbackServer(simulator.handle, clock=simulator.clock, step_per_poll=5.0).start()
    simulator.serve_at(server.url)
    try:
        command = [node, str(SCRIPT), DOTS, server.url]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    finally:
        server.stop()
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "polls": True,
        "sources": 2,
        "upload": True,
        "createdAt": True,
        "total": 1,
        "indexed": "5",
        "report": True,
        "again": "INDEX_JOB_STATUS_PENDING",
        "cancelled": True,
        "listed": [2, 2],
        "days": [1],
        "gone": True,
        "renamed": "books",
        "bases": 1,
        "deleted": True,
    }
    assert simulator.journal.misses == []


# What doctl reads: the fields of godo, its library, with the Go type of each. Go's decoder refuses
# a string where an int is declared, and the other way round. A dict is a struct, a list of one item
# is a slice; a time is read by RFC 3339. Fields that godo lacks are passed over.
PART = {
    "completed_at": "time",
    "data_source_uuid": "string",
    "error_details": "string",
    "error_msg": "string",
    "failed_item_count": "string",
    "indexed_file_count": "string",
    "indexed_item_count": "string",
    "removed_item_count": "string",
    "skipped_item_count": "string",
    "started_at": "time",
    "status": "string",
    "total_bytes": "string",
    "total_bytes_indexed": "string",
    "total_file_count": "string",
}
JOB = {
    "completed_datasources": "int",
    "created_at": "time",
    "data_source_uuids": ["string"],
    "finished_at": "time",
    "knowledge_base_uuid": "string",
    "phase": "string",
    "started_at": "time",
    "status": "string",
    "tokens": "int",
    "total_datasources": "int",
    "total_items_failed": "string",
    "total_items_indexed": "string",
    "total_items_skipped": "string",
    "updated_at": "time",
    "uuid": "string",
}
BASE = {
    "added_to_agent_at": "time",
    "created_at": "time",
    "database_id": "string",
    "embedding_model_uuid": "string",
    "is_public": "bool",
    "last_indexing_job": JOB,
    "name": "string",
    "project_id": "string",
    "region": "string",
    "tags": ["string"],
    "updated_at": "time",
    "user_id": "string",
    "uuid": "string",
    "is_deleted": "bool",
}
SOURCE = {
    "created_at": "time",
    "file_upload_data_source": {
        "original_file_name": "string",
        "size_in_bytes": "string",
        "stored_object_key": "string",
    },
    "last_indexing_job": JOB,
    "spaces_data_source": {"bucket_name": "string", "item_path": "string", "region": "string"},
    "updated_at": "time",
    "uuid": "string",
    "web_crawler_data_source": {
        "base_url": "string",
        "crawling_option": "string",
        "embed_media": "bool",
    },
}
# ``prev`` is what godo calls the service's ``previous``.
LINKS = {"pages": {"first": "string", "prev": "string", "last": "string", "next": "string"}}
META = {"total": "int", "page": "int", "pages": "int"}
LIST = {"links": LINKS, "meta": META}
GODO = {
    "one job": {"job": JOB},
    "jobs": {"jobs": [JOB], **LIST},
    "data sources of a job": {"indexed_data_sources": [PART]},
    "one knowledge base": {"knowledge_base": BASE, "database_status": "string"},
    "knowledge bases": {"knowledge_bases": [BASE], **LIST},
    "one data source": {"knowledge_base_data_source": SOURCE, **LIST},
    "data sources": {"knowledge_base_data_sources": [SOURCE], **LIST},
    "deleted data source": {"data_source_uuid": "string", "knowledge_base_uuid": "string"},
    "deleted knowledge base": {"uuid": "string"},
}


def unmarshal(value, go, path="$"):
    """Fail where Go's decoder would return an error."""
    if value is None:
        return
    if isinstance(go, dict):
        assert isinstance(value, dict), path
        for name, kind in go.items():
            unmarshal(value.get(name), kind, f"{path}.{name}")
    elif isinstance(go, list):
        assert isinstance(value, list), path
        for each in value:
            unmarshal(each, go[0], f"{path}[]")
    elif go == "time":
        assert dt.datetime.fromisoformat(value).tzinfo is not None, path
    else:
        assert type(value) is {"string": str, "int": int, "bool": bool}[go], (path, value)


@pytest.mark.parametrize(
    ("value", "go"),
    [("3", "int"), (3, "string"), (True, "int"), ({}, ["string"]), (["a"], [JOB]), (1.5, "int")],
)
def test_what_go_refuses_is_refused_here(value, go):
    with pytest.raises(AssertionError):
        unmarshal(value, go)


def ask(simulator, method, path, body=None):
    sent = b"" if body is None else json.dumps(body).encode()
    headers = (("Authorization", "Bearer any"),)
    answer = simulator.handle(Request(method, API + ROOT + path, headers, sent))
    assert answer.status == 200, answer.body
    return json.loads(answer.body)


@pytest.mark.parametrize(
    "name", [name for name in scenarios.names() if name not in ("missing-job", "explicit-nulls")]
)
def test_the_go_client_reads_a_job_at_every_step(name):
    simulator = Simulator(VirtualClock(), requests_per_minute=None)
    base = simulator.add_knowledge_base().uuid
    simulator.add_data_source(base)
    job = simulator.start(name, knowledge_base_uuid=base).uuid
    for step in scenarios.get(name).steps:
        simulator.clock.advance(step.at - simulator.clock.elapsed)
        unmarshal(ask(simulator, "GET", f"/indexing_jobs/{job}"), GODO["one job"])
        parts = ask(simulator, "GET", f"/indexing_jobs/{job}/data_sources")
        unmarshal(parts, GODO["data sources of a job"])
        read = ask(simulator, "GET", f"/knowledge_bases/{base}")
        unmarshal(read, GODO["one knowledge base"])
    for _ in range(3):
        simulator.start(name)
    unmarshal(ask(simulator, "GET", "/indexing_jobs?page=2&per_page=1"), GODO["jobs"])


def test_the_go_client_reads_knowledge_bases_and_data_sources():
    simulator = Simulator(VirtualClock(), requests_per_minute=None)
    crawler = {"base_url": "https://docs.example.com", "embed_media": True}
    upload = {"original_file_name": "a", "size_in_bytes": "3", "stored_object_key": "k"}
    body = {"name": "manuals", "tags": ["a"], "datasources": [{"web_crawler_data_source": crawler}]}
    made = ask(simulator, "POST", "/knowledge_bases", body)
    unmarshal(made, GODO["one knowledge base"])
    path = f"/knowledge_bases/{made['knowledge_base']['uuid']}"
    simulator.clock.advance(1000)
    unmarshal(ask(simulator, "GET", "/knowledge_bases"), GODO["knowledge bases"])
    source = ask(simulator, "POST", f"{path}/data_sources", {"file_upload_data_source": upload})
    unmarshal(source, GODO["one data source"])
    unmarshal(ask(simulator, "GET", f"{path}/data_sources"), GODO["data sources"])
    uuid = source["knowledge_base_data_source"]["uuid"]
    gone = ask(simulator, "DELETE", f"{path}/data_sources/{uuid}")
    unmarshal(gone, GODO["deleted data source"])
    unmarshal(ask(simulator, "PUT", path, {"name": "books"}), GODO["one knowledge base"])
    unmarshal(ask(simulator, "DELETE", path), GODO["deleted knowledge base"])
