"""One more of each kind of wait: each ends after 5 s of the clock, in no real time."""

from __future__ import annotations

import asyncio
import datetime as dt
import email.utils
import multiprocessing
import queue
import select
import selectors
import socket
import threading
import time

import pytest
import trio

from pytest_indexjob import VirtualClock
from pytest_indexjob.virtual_time.time_patches import TimePatches


@pytest.fixture
def clock():
    patches = TimePatches(VirtualClock(), stuck_after=5)
    patches.start()
    yield patches.clock
    patches.stop()


def condition():
    with (each := threading.Condition()):
        assert not each.wait_for(lambda: False, 5)


def priority():
    with pytest.raises(queue.Empty):
        queue.PriorityQueue().get(timeout=5)


def full():
    each = queue.LifoQueue(1)
    each.put(1)
    with pytest.raises(queue.Full):
        each.put(2, timeout=5)


def runner():
    with asyncio.Runner() as each:
        each.run(asyncio.sleep(5))


def executor():
    async def main():
        await asyncio.get_running_loop().run_in_executor(None, time.sleep, 5)

    asyncio.run(main())


def selector():
    here, there = socket.socketpair()
    with here, there, selectors.DefaultSelector() as each:
        each.register(here, selectors.EVENT_READ)
        assert each.select(5) == []


def empty_selector():
    with selectors.SelectSelector() as each:
        assert each.select(5) == []


def bare_select():
    assert select.select([], [], [], 5) == ([], [], [])


def timer_cancel():
    each = threading.Timer(100, lambda: 1 / 0)
    each.start()
    time.sleep(5)
    each.cancel()
    each.join()


def deltas():
    before = (dt.datetime.now(), time.time_ns(), time.time(), dt.datetime.now(dt.UTC))
    time.sleep(5)
    assert dt.datetime.now() - before[0] == dt.timedelta(seconds=5)
    assert time.time_ns() - before[1] == 5_000_000_000
    assert time.time() - before[2] == 5
    assert dt.datetime.now(dt.UTC) - before[3] == dt.timedelta(seconds=5)


def calendars():
    def read():
        date = email.utils.parsedate_tz(email.utils.formatdate())
        return time.mktime(time.localtime()), email.utils.mktime_tz(date)

    before = read()
    time.sleep(5)
    assert [now - then for now, then in zip(read(), before, strict=True)] == [5, 5]
    assert (dt.date.today().year, time.gmtime().tm_year) == (2025, 2025)
    assert time.strftime("%Y") == "2025"


def mpqueue():
    with pytest.raises(queue.Empty):
        multiprocessing.Queue().get(timeout=5)


def mppipe():
    here, there = multiprocessing.Pipe()
    with here, there:
        assert not here.poll(5)


def trio_cancel():
    async def main():
        with trio.CancelScope(deadline=trio.current_time() + 5):
            await trio.sleep_forever()

    trio.run(main)


def sock_timeout():
    here, there = socket.socketpair()
    with here, there:
        here.settimeout(0.2)
        with pytest.raises(TimeoutError):
            here.recv(1)
    time.sleep(5)


def clock_gettime():
    before = time.clock_gettime(time.CLOCK_REALTIME)
    time.sleep(5)
    assert time.clock_gettime(time.CLOCK_REALTIME) - before >= 5


def aqueue():
    async def main():
        waiting = asyncio.Queue()
        if hasattr(waiting, "shutdown"):
            asyncio.get_running_loop().call_later(5, waiting.shutdown)
            with pytest.raises(asyncio.QueueShutDown):
                await waiting.get()
        else:
            await asyncio.sleep(5)

    asyncio.run(main())


def barrier():
    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.Barrier(2).wait()

    asyncio.run(main())


def select_of_a_service_that_answers():
    here, there = socket.socketpair()
    answer = threading.Timer(5, there.sendall, (b"x",))
    answer.start()
    with here, there:
        assert select.select([here], [], [], 60)[0] == [here]
        assert select.select([], [there], [], 60)[1] == [there]
    answer.join()


WAITS = [
    condition,
    priority,
    full,
    runner,
    executor,
    selector,
    empty_selector,
    bare_select,
    timer_cancel,
    deltas,
    calendars,
    mpqueue,
    mppipe,
    trio_cancel,
    sock_timeout,
    clock_gettime,
    aqueue,
    barrier,
    select_of_a_service_that_answers,
]


@pytest.mark.parametrize("wait", WAITS, ids=lambda wait: wait.__name__)
def test_a_wait_ends_at_its_moment(wait, clock):
    wait()
    assert 5 <= clock.elapsed < 5.5
