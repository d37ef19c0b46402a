"""A suite as you would write it: recorded answers, your own code, no network."""

import pytest
from indexing import summary, wait_for_job

from pytest_indexjob import IndexingJobStatus, assert_counts, assert_status


@pytest.mark.indexjob_cassette("completed")
def test_completed(indexjob_cassette):
    job = wait_for_job(indexjob_cassette.job_uuid, token="any", poll_interval=0)
    assert_status(job, "COMPLETED")
    assert_counts(job, indexed_items=1, skipped_items=2, failed_items=0)


@pytest.mark.indexjob_cassette("partial")
def test_a_partial_job_is_an_end_too(indexjob_cassette):
    job = wait_for_job(indexjob_cassette.job_uuid, token="any", poll_interval=0)
    assert summary(job) == "PARTIAL: 1 failed"


@pytest.mark.parametrize(
    "outcome",
    [
        pytest.param(name, marks=pytest.mark.indexjob_cassette(name))
        for name in ("completed", "no-changes", "partial", "failed", "error", "cancelled")
    ],
)
def test_every_end_is_recognised(outcome, indexjob_cassette):
    assert wait_for_job(indexjob_cassette.job_uuid, token="any", poll_interval=0)


@pytest.mark.indexjob_cassette("rate-limited")
def test_the_plugins_own_client_obeys_retry_after(
    indexjob_client, indexjob_cassette, indexjob_journal
):
    job = indexjob_client.get(indexjob_cassette.job_uuid)
    assert job.status == IndexingJobStatus.COMPLETED
    assert [exchange.response.status for exchange in indexjob_journal.exchanges] == [429, 200]
