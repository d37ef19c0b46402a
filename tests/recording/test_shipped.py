"""The shipped recordings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pydo
import pytest

from pytest_indexjob import (
    AuthenticationError,
    BadRequestError,
    CassetteError,
    ConflictError,
    DecodeError,
    IndexingJobClient,
    NotFoundError,
    assert_consistent,
    assert_counts,
    assert_database_status,
    assert_status,
    assert_transitions,
)
from pytest_indexjob.exchange import Journal
from pytest_indexjob.interception.interception import Interception
from pytest_indexjob.recording.library import open_cassettes, shipped_folder, shipped_names
from pytest_indexjob.virtual_time.clock import VirtualClock

ROOT = Path(__file__).parents[2]
NAMES = [
    "cancel",
    "cancelled",
    "completed",
    "create",
    "create-conflict",
    "data-sources",
    "database-provisioning",
    "documented-example",
    "error",
    "failed",
    "future-status",
    "in-progress",
    "knowledge-base-ingest",
    "knowledge-base-jobs",
    "knowledge-bases-two-pages",
    "list-three-pages",
    "missing-job",
    "missing-phase",
    "no-changes",
    "not-found",
    "partial",
    "pending",
    "rate-limited",
    "report-url",
    "server-error",
    "unauthorized",
]


@pytest.fixture
def play(tmp_path):
    """Opens a shipped recording: a client that it answers, the playback, the clock."""

    def start(name, **options):
        playback = open_cassettes([name], tmp_path)
        interception = Interception(Journal(), VirtualClock())
        interception.play(playback, strict=False)
        client = IndexingJobClient(
            "any", session=interception.session(), clock=interception.clock, **options
        )
        return client, playback

    return start


def test_they_are_all_there_and_catalogued():
    assert shipped_names() == sorted(NAMES)
    catalogue = (shipped_folder() / "README.md").read_text()
    assert [name for name in NAMES if f"| `{name}` |" not in catalogue] == []
    assert "not recorded from the live service" in catalogue


def test_the_script_remakes_them_byte_for_byte(tmp_path):
    subprocess.run(
        [sys.executable, ROOT / "cassettes" / "record.py", tmp_path],
        check=True,
        capture_output=True,
    )
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert made == {path.name: path.read_bytes() for path in (ROOT / "cassettes").glob("*.yaml")}


@pytest.mark.parametrize(
    ("name", "status", "phase", "counts"),
    [
        (
            "completed",
            "COMPLETED",
            "SUCCEEDED",
            {"indexed_items": 1, "skipped_items": 2, "failed_items": 0},
        ),
        ("no-changes", "NO_CHANGES", "SUCCEEDED", {"indexed_items": 0, "skipped_items": 3}),
        ("partial", "PARTIAL", "SUCCEEDED", {"indexed_items": 2, "failed_items": 1}),
        ("failed", "FAILED", "FAILED", {"indexed_items": 0, "failed_items": 3}),
        ("error", "FAILED", "ERROR", {"indexed_items": 0}),
        ("cancelled", "CANCELLED", "CANCELLED", {"indexed_items": 1}),
    ],
)
def test_whole_lives(play, name, status, phase, counts):
    client, playback = play(name)
    polls = []
    job = client.wait(playback.job_uuid, on_poll=polls.append)
    assert (job.status.name, job.phase.name) == (status, phase)
    assert_counts(job, **counts)
    assert_transitions(polls, ["IN_PROGRESS", status])
    for poll in polls:
        assert_consistent(poll)
    assert polls[0].data_source_jobs == ()  # no totals at first
    if name != "cancelled":  # final counts stand before the end
        assert {poll.data_source_jobs for poll in polls[-3:]} == {job.data_source_jobs}
        assert (job.finished_at - job.data_source_jobs[0].completed_at).total_seconds() == 13
    assert playback.unplayed == []


def test_single_answers(play):
    for name, status in (
        ("in-progress", "IN_PROGRESS"),
        ("pending", "PENDING"),
        ("missing-phase", "COMPLETED"),
    ):
        client, playback = play(name)
        assert client.get(playback.job_uuid).status.name == status
    client, playback = play("future-status")
    job = client.get(playback.job_uuid)
    assert (job.status.is_known, job.phase.is_known, job.is_terminal) == (False, False, False)
    client, playback = play("documented-example")
    job = client.get(playback.job_uuid)
    assert (job.total_tokens, job.tokens, job.data_source_jobs[0].total_bytes) == (
        12345,
        123,
        12345,
    )


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("unauthorized", AuthenticationError),
        ("not-found", NotFoundError),
        ("missing-job", DecodeError),
    ],
)
def test_errors(play, name, error):
    client, playback = play(name)
    with pytest.raises(error):
        client.get(playback.job_uuid)


@pytest.mark.parametrize("name", ["rate-limited", "server-error"])
def test_errors_that_pass(play, name):
    client, playback = play(name)
    assert client.get(playback.job_uuid).is_terminal
    assert playback.unplayed == []


def test_lists(play):
    client, _ = play("list-three-pages")
    assert len({job.uuid for job in client.iterate(per_page=2)}) == 5
    client, playback = play("knowledge-base-jobs")
    assert len(client.list_for_knowledge_base(playback.knowledge_base_uuid).jobs) == 1


def test_other_calls(play):
    client, playback = play("data-sources")
    assert client.data_sources(playback.job_uuid)[0].skipped_item_count == 2
    client, playback = play("report-url")
    assert client.details_signed_url(playback.job_uuid).endswith("X-Amz-Signature=REDACTED")
    client, playback = play("create")
    assert client.create("any").data_source_jobs == ()
    client, playback = play("create-conflict")
    client.create("any")
    with pytest.raises(ConflictError, match="already has an indexing job running"):
        client.create("any")
    client, playback = play("cancel")
    assert not client.cancel(playback.job_uuid).is_terminal
    assert client.wait(playback.job_uuid).status.name == "CANCELLED"


@pytest.mark.indexjob_cassette("knowledge-base-ingest", strict=True)
def test_a_whole_ingest_by_pydo(indexjob_cassette):
    calls = pydo.Client(token="any").genai
    made = calls.create_knowledge_base({"name": "documents"})["knowledge_base"]
    assert made["uuid"] == indexjob_cassette.knowledge_base_uuid
    answer = calls.get_knowledge_base(made["uuid"])
    polls = 1
    while answer["database_status"] != "ONLINE":
        answer = calls.get_knowledge_base(made["uuid"])
        polls += 1
    assert polls == 6
    job = assert_status(answer, "IN_PROGRESS")
    assert job.uuid == indexjob_cassette.uuid_of("jobs") == indexjob_cassette.job_uuid
    (source,) = calls.list_knowledge_base_data_sources(made["uuid"])["knowledge_base_data_sources"]
    assert source["uuid"] == indexjob_cassette.uuid_of("data_sources")
    lives = [calls.get_indexing_job(job.uuid)]
    while lives[-1]["job"]["status"] == "INDEX_JOB_STATUS_IN_PROGRESS":
        lives.append(calls.get_indexing_job(job.uuid))
    assert_transitions(lives, ["IN_PROGRESS", "COMPLETED"])
    assert_status(calls.get_knowledge_base(made["uuid"]), "COMPLETED")
    assert calls.delete_knowledge_base(made["uuid"]) == {"uuid": made["uuid"]}


@pytest.mark.indexjob_cassette("database-provisioning", strict=True)
def test_a_database_that_takes_its_time(indexjob_client, indexjob_cassette):
    calls = pydo.Client(token="any").genai
    calls.create_knowledge_base({"name": "documents"})
    uuid = indexjob_cassette.knowledge_base_uuid
    with pytest.raises(BadRequestError, match="failed to get db creds"):
        indexjob_client.create(uuid)
    for _ in range(5):
        assert_database_status(calls.get_knowledge_base(uuid), "CREATING")
    assert_database_status(calls.get_knowledge_base(uuid), "ONLINE")


@pytest.mark.indexjob_cassette("knowledge-bases-two-pages", strict=True)
def test_two_pages_of_knowledge_bases(indexjob_cassette):
    calls = pydo.Client(token="any").genai
    pages = [calls.list_knowledge_bases(page=page, per_page=2) for page in (1, 2)]
    names = [base["name"] for page in pages for base in page["knowledge_bases"]]
    assert names == ["invoices", "letters", "manuals"]
    assert pages[0]["links"]["pages"]["next"].endswith("/knowledge_bases?page=2&per_page=2")
    with pytest.raises(CassetteError, match="is about 3 knowledge bases"):
        _ = indexjob_cassette.knowledge_base_uuid
