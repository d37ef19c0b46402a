"""This project's own client and assertions against everything that the service can say.

Run with ``--indexjob-coverage`` it shows that nothing is left unserved; CI holds it there.
"""

from __future__ import annotations

import pytest
import requests

from pytest_indexjob import (
    ApiError,
    ConflictError,
    DatabaseStatus,
    DecodeError,
    IndexJobError,
    NotFoundError,
    WaitTimeoutError,
    assert_consistent,
    assert_database_status,
    assert_finished,
    assert_phase,
    assert_status,
    assert_transitions,
    faults,
    scenarios,
)

ODD = [
    name for name in scenarios.names() if name not in {each.name for each in scenarios.outcomes()}
]


def test_every_end_is_returned_and_consistent(
    indexjob_outcome, indexjob_client, indexjob_simulator
):
    polls = []
    job = indexjob_client.wait(
        indexjob_simulator.start(indexjob_outcome).uuid, on_poll=polls.append
    )
    assert_finished(job)
    assert_status(job, indexjob_outcome.status)
    assert_phase(job, indexjob_outcome.phase)
    assert_transitions(polls, ["IN_PROGRESS", indexjob_outcome.status])
    for poll in polls:
        assert_consistent(poll)


@pytest.mark.parametrize("scenario", ODD)
def test_odd_lives_end_or_time_out(scenario, indexjob_client, indexjob_simulator):
    job = indexjob_simulator.start(scenario)
    if scenario == "missing-job":
        with pytest.raises(DecodeError, match="holds no job"):
            indexjob_client.wait(job.uuid)
    elif scenario in ("stuck", "future-status"):
        with pytest.raises(WaitTimeoutError):
            indexjob_client.wait(job.uuid)
    else:
        assert_finished(indexjob_client.wait(job.uuid))


@pytest.mark.parametrize("fault", faults.all())
def test_every_fault_is_an_error_of_ours_or_passes(fault, indexjob_client, indexjob_simulator):
    job = indexjob_simulator.start()
    indexjob_simulator.inject(fault, times=9)
    try:
        assert indexjob_client.get(job.uuid).uuid == job.uuid
    except IndexJobError as error:
        assert isinstance(error, ApiError) == bool(fault.status)  # noqa: PT017  # which of them is the point


def test_every_call(indexjob_client, indexjob_simulator):
    posted = indexjob_client.create("base")
    with pytest.raises(ConflictError):
        indexjob_client.create("base")
    with pytest.raises(NotFoundError):
        indexjob_client.get("no-such-job")
    job = indexjob_client.wait(posted.uuid)
    assert indexjob_client.data_sources(job.uuid) == job.data_source_jobs
    assert indexjob_client.details_signed_url(job.uuid)
    others = [indexjob_simulator.start() for _ in range(20)]
    assert len(list(indexjob_client.iterate())) == 21
    assert indexjob_client.list_for_knowledge_base("base").jobs == (job,)
    indexjob_client.cancel(others[0].uuid)
    assert_status(indexjob_client.wait(others[0].uuid), "CANCELLED")


# The knowledge base around the job.

BASES = "https://api.digitalocean.com/v2/gen-ai/knowledge_bases"
KINDS = {
    "spaces_data_source": {"bucket_name": "documents"},
    "web_crawler_data_source": {"base_url": "https://example.com"},
    "file_upload_data_source": {"original_file_name": "a.pdf"},
    "aws_data_source": {"bucket_name": "documents"},
    "dropbox_data_source": {"folder": "/documents"},
    "google_drive_data_source": {"folder_name": "documents"},
}


def ask(method, url):
    return requests.request(method, url, headers={"Authorization": "Bearer any"}, timeout=10)


@pytest.mark.parametrize("status", DatabaseStatus)
def test_a_database_comes_to_each_status(status, indexjob_simulator, indexjob_clock):
    life = "never" if status is DatabaseStatus.CREATING else status.lower().replace("_", "-")
    base = indexjob_simulator.add_knowledge_base(database=life, after=60)
    assert_database_status(ask("GET", f"{BASES}/{base.uuid}"), "CREATING")
    indexjob_clock.sleep(60)
    assert_database_status(ask("GET", f"{BASES}/{base.uuid}"), status)


def test_every_kind_of_data_source_is_listed(indexjob_simulator):
    base = indexjob_simulator.add_knowledge_base()
    for kind, fields in KINDS.items():
        indexjob_simulator.add_data_source(base.uuid, **{kind: fields})
    listed = ask("GET", f"{BASES}/{base.uuid}/data_sources").json()["knowledge_base_data_sources"]
    assert [next(kind for kind in KINDS if kind in source) for source in listed] == [*KINDS][::-1]


def test_a_knowledge_base_that_is_indexed_is_in_use_until_its_job_has_ended(
    indexjob_simulator, indexjob_clock
):
    base, *_ = [indexjob_simulator.add_knowledge_base() for _ in range(21)]
    url = f"{BASES}/{base.uuid}"
    assert ask("GET", f"{BASES}?page=2").json()["meta"]["pages"] == 2
    with pytest.raises(AssertionError, match="no last_indexing_job"):
        assert_status(ask("GET", url), "COMPLETED")
    indexjob_simulator.start(knowledge_base_uuid=base.uuid)
    assert ask("DELETE", url).status_code == 409
    indexjob_clock.sleep(400)
    assert_status(ask("GET", url), "COMPLETED")
    assert ask("DELETE", url).json() == {"uuid": base.uuid}
    assert ask("GET", url).status_code == 404
