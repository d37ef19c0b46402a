"""Libraries that wait in their own ways are on the timeline as they are."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
import time

import anyio
import pytest
import tenacity
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.background import BackgroundScheduler


def test_a_background_schedulers_interval(clock):
    beats, done = [], threading.Event()

    def beat():
        beats.append(clock.elapsed)
        if len(beats) == 8:
            done.set()

    scheduler = BackgroundScheduler(timezone=dt.UTC)
    scheduler.add_job(beat, "interval", hours=1)
    scheduler.start()
    assert done.wait(9 * 3600)
    scheduler.shutdown()
    assert beats == pytest.approx([3600 * hour for hour in range(1, 9)], abs=0.1)


def test_an_asyncio_schedulers_interval(clock):
    beats = []

    async def main():
        scheduler = AsyncIOScheduler(timezone=dt.UTC)
        scheduler.add_job(lambda: beats.append(clock.elapsed), "interval", minutes=10)
        scheduler.start()
        await asyncio.sleep(3601)
        scheduler.shutdown()

    asyncio.run(main())
    assert beats == pytest.approx([600 * beat for beat in range(1, 7)], abs=0.1)


def test_a_retry_of_tenacity_that_takes_hours(clock):
    @tenacity.retry(wait=tenacity.wait_fixed(3600), stop=tenacity.stop_after_attempt(5))
    async def fail():
        raise ConnectionError

    with pytest.raises(tenacity.RetryError):
        asyncio.run(fail())
    assert clock.elapsed == 4 * 3600


def test_a_limit_of_anyio_around_work_in_a_thread(clock):
    async def main():
        with anyio.fail_after(60):
            await anyio.to_thread.run_sync(time.sleep, 30)
        with anyio.move_on_after(5):
            await anyio.sleep_forever()

    anyio.run(main)
    assert clock.elapsed == 35


def test_a_test_client_of_a_wider_fixture_is_adopted(pytester):
    pytester.makeini("[pytest]\nfilterwarnings = ignore\nindexjob_stuck_after = 3\n")
    pytester.makepyfile(
        """
        import asyncio, fastapi, fastapi.testclient, pytest, threading
        app = fastapi.FastAPI()
        portals = []

        @app.get("/")
        async def slow():
            portals[:] = [threading.current_thread()]
            try:
                async with asyncio.timeout(20):
                    await asyncio.sleep(0 if app.state.quick else 1000)
            except TimeoutError:
                return "late"
            return "soon"

        @pytest.fixture(scope="module")
        def client():
            with fastapi.testclient.TestClient(app) as client:
                app.state.quick = True
                client.get("/")
                app.state.quick = False
                yield client

        def test_it(client, indexjob_clock):
            indexjob_clock.adopt(portals[0])
            assert client.get("/").json() == "late"
            assert indexjob_clock.elapsed == 20
        """
    )
    pytester.runpytest("-p", "no:cacheprovider").assert_outcomes(passed=1)
