import pytest

ENDS = [("completed", 0), ("no-changes", 0), ("partial", 3), ("failed", 4), ("cancelled", 4)]


@pytest.mark.parametrize(("job", "status"), ENDS, indirect=["job"])
def test_the_exit_status_says_how_the_job_ended(run, job, status, indexjob_clock):
    assert run(job.uuid).exit_code == status
    assert set(indexjob_clock.sleeps) == {60}


def test_no_end_is_waited_for_in_vain(run, indexjob_outcome, indexjob_simulator, indexjob_clock):
    job = indexjob_simulator.start(indexjob_outcome)
    assert run(job.uuid).exit_code in (0, 3, 4)


@pytest.mark.indexjob_cassette("partial")
def test_a_recorded_job(run, indexjob_cassette, indexjob_clock):
    result = run(indexjob_cassette.job_uuid)
    assert (result.exit_code, result.output.split()[0]) == (3, "PARTIAL")


def test_a_job_that_is_not_there(run, indexjob_simulator):
    result = run("00000000-0000-4000-8000-000000000000")
    assert result.exit_code == 1
    assert "can't be read" in result.output
