"""What a user writes, for type checkers. It is never run."""

from __future__ import annotations

from typing import assert_type

from pytest_indexjob import (
    CassetteNotFoundError,
    IndexingJob,
    IndexingJobClient,
    IndexingJobPhase,
    IndexingJobStatus,
    IndexJobSettings,
    Journal,
    LoopbackServer,
    Playback,
    Scenario,
    Simulator,
    Step,
    VirtualClock,
    assert_counts,
    assert_finished,
    assert_status,
)


def test_simulated(
    indexjob_simulator: Simulator,
    indexjob_clock: VirtualClock,
    indexjob_client: IndexingJobClient,
    indexjob_journal: Journal,
    indexjob_settings: IndexJobSettings,
) -> None:
    step = Step(at=0, status="PENDING", phase=IndexingJobPhase.UNKNOWN)
    assert_type(step.status, IndexingJobStatus)
    life = Scenario(name="mine", steps=(step, Step(at=9, status="COMPLETED", phase="SUCCEEDED")))
    job = indexjob_simulator.start(life)
    assert_type(job, IndexingJob)
    indexjob_simulator.start("partial", files=10)
    indexjob_simulator.start("partial", total_files=10)
    indexjob_clock.advance(60)
    done = indexjob_client.wait(job.uuid)
    assert_status(done, "COMPLETED")
    assert_status(done, IndexingJobStatus.COMPLETED)
    assert_counts(done, total_files=10)
    assert_counts(done, files=10)
    assert_finished(done)


def test_recorded(
    indexjob_cassette: Playback, indexjob_server: LoopbackServer, indexjob_outcome: Scenario
) -> None:
    assert_type(indexjob_cassette.played, int)
    assert_type(indexjob_server.url, str)
    assert_type(indexjob_outcome.name, str)


def test_errors() -> None:
    try:
        raise CassetteNotFoundError("there is none", name="a", near=["b"])
    except CassetteNotFoundError as error:
        assert_type(error.name, str)
