"""Computed answers, on virtual time: every end, every delay and every fault, in no time."""

import pytest
from indexing import summary, wait_for_job

from pytest_indexjob import assert_consistent, assert_finished, scenarios


def test_partial_index_is_reported(indexjob_simulator, indexjob_clock):
    job = indexjob_simulator.start("partial", failed_items=3)
    assert summary(wait_for_job(job.uuid, token="any")) == "PARTIAL: 3 failed"
    assert indexjob_clock.elapsed > 300  # seconds that nobody waited


@pytest.mark.parametrize("scenario", scenarios.outcomes())
def test_every_end_is_recognised(scenario, indexjob_simulator, indexjob_clock):
    job = indexjob_simulator.start(scenario, duration=8 * 3600)
    ended = wait_for_job(job.uuid, token="any", poll_interval=60, timeout=9 * 3600)
    assert_finished(ended)
    assert_consistent(ended)


def test_a_job_that_never_ends_is_given_up(indexjob_simulator, indexjob_clock):
    job = indexjob_simulator.start("stuck")
    with pytest.raises(TimeoutError, match="IN_PROGRESS"):
        wait_for_job(job.uuid, token="any")
    assert indexjob_clock.elapsed == pytest.approx(3600, abs=10)


def test_an_outage_reaches_the_caller(indexjob_simulator):
    job = indexjob_simulator.start()
    indexjob_simulator.inject("bad-gateway")
    with pytest.raises(Exception, match="502"):
        wait_for_job(job.uuid, token="any")
