import pytest
from worker import watch_all

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


async def test_each_end_is_seen(indexjob_simulator, indexjob_clock):
    names = ("completed", "partial", "failed", "cancelled")
    jobs = [indexjob_simulator.start(name) for name in names]
    ends = await watch_all("any", [job.uuid for job in jobs], limit=3600)
    assert [ends[job.uuid] for job in jobs] == [name.upper() for name in names]
    assert indexjob_clock.elapsed < 3600


async def test_a_job_that_hangs_does_not_hold_the_others(indexjob_simulator, indexjob_clock):
    good, stuck = indexjob_simulator.start(), indexjob_simulator.start("stuck")
    ends = await watch_all("any", [good.uuid, stuck.uuid], limit=7200)
    assert ends == {good.uuid: "COMPLETED"}
    assert indexjob_clock.elapsed == pytest.approx(7200, abs=1)


async def test_a_broken_connection_is_no_end(indexjob_simulator, indexjob_clock):
    job = indexjob_simulator.start()
    indexjob_simulator.inject("connection-reset", times=2)
    assert await watch_all("any", [job.uuid], limit=3600) == {job.uuid: "COMPLETED"}
