"""Delays of the loopback server are waits on the timeline for a client of the same process."""

from __future__ import annotations

import asyncio
import concurrent.futures
import subprocess
import sys
import time

import aiohttp
import httpx
import pytest
import requests

HEADERS = {"Authorization": "Bearer any"}


@pytest.fixture
def url(indexjob_clock, indexjob_server):
    indexjob_server.step_per_poll = 0
    return f"{indexjob_server.url}/v2/gen-ai/indexing_jobs"


@pytest.mark.parametrize("get", [requests.get, httpx.get])
def test_a_slow_answer_takes_its_time(url, indexjob_simulator, indexjob_clock, get):
    indexjob_simulator.inject("slow-answer")
    assert get(url, headers=HEADERS, timeout=60).status_code == 200
    assert (indexjob_clock.elapsed, indexjob_clock.sleeps) == (20, [])


@pytest.mark.parametrize("fault", ["slow-answer", "read-timeout"])
@pytest.mark.parametrize(
    ("get", "late"), [(requests.get, requests.ReadTimeout), (httpx.get, httpx.ReadTimeout)]
)
def test_the_clients_limit_comes_first(url, indexjob_simulator, indexjob_clock, get, late, fault):
    indexjob_simulator.inject(fault)
    with pytest.raises(late):
        get(url, headers=HEADERS, timeout=5)
    assert indexjob_clock.elapsed == 5


def test_slow_answers_to_threads_overlap(url, indexjob_simulator, indexjob_clock):
    indexjob_simulator.inject("slow-answer", times=5)
    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        answers = pool.map(lambda _: requests.get(url, headers=HEADERS, timeout=60), range(5))
        assert all(answer.ok for answer in answers)
    assert indexjob_clock.elapsed == 20


def test_slow_answers_to_tasks_overlap_while_others_run(url, indexjob_simulator, indexjob_clock):
    indexjob_simulator.inject("slow-answer", times=5)
    ticks = []

    async def tick():
        while True:
            await asyncio.sleep(1.5)
            ticks.append(indexjob_clock.elapsed)

    async def main():
        ticking = asyncio.create_task(tick())
        async with httpx.AsyncClient(timeout=60) as client:
            answers = await asyncio.gather(*[client.get(url, headers=HEADERS) for _ in range(5)])
        ticking.cancel()
        assert all(answer.is_success for answer in answers)

    asyncio.run(main())
    assert indexjob_clock.elapsed == 20
    assert ticks == [1.5 * number for number in range(1, 14)]


def test_limits_of_tasks_come_before_a_slow_answer(url, indexjob_simulator, indexjob_clock):
    indexjob_simulator.inject("slow-answer", times=2)

    async def main():
        async with aiohttp.ClientSession(headers=HEADERS) as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(2):
                    await client.get(url)
            with pytest.raises(TimeoutError):
                await client.get(url, timeout=aiohttp.ClientTimeout(total=3))

    asyncio.run(main())
    assert indexjob_clock.elapsed == 5


def test_a_client_in_another_process_does_not_wait(url, indexjob_simulator, indexjob_clock):
    indexjob_simulator.inject("slow-answer")
    text = (
        "import sys, urllib.request as u; u.urlopen(u.Request(sys.argv[1], headers={}), timeout=9)"
    )
    text = text.replace("{}", repr(HEADERS))
    subprocess.run([sys.executable, "-c", text, url], check=True)
    # A child process may take a while to begin.
    assert 20 <= indexjob_clock.elapsed < 40


def test_polling_a_server_costs_no_real_time(url, indexjob_clock):
    began = time.clock_gettime(time.CLOCK_MONOTONIC)
    with requests.Session() as session:
        for _ in range(100):
            assert session.get(url, headers=HEADERS, timeout=10).ok
            time.sleep(5)
    assert indexjob_clock.elapsed == 500
    # Not a real second for each poll.
    assert time.clock_gettime(time.CLOCK_MONOTONIC) - began < 50
