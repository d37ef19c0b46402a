"""One more of each kind of wait: each ends after 5 s of the clock, in no real time."""

from __future__ import annotations

import _thread
import asyncio
import contextlib
import datetime as dt
import email.utils
import multiprocessing
import os
import queue
import select
import selectors
import signal
import socket
import threading
import time
from select import select as imported_select

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


def select_under_its_own_name():
    assert imported_select([], [], [], 5) == ([], [], [])


def poll():
    here, there = socket.socketpair()
    each = select.poll()
    with here, there:
        each.register(here, select.POLLIN)
        assert each.poll(5000) == []
        there.send(b"x")
        assert each.poll(60_000) == [(here.fileno(), select.POLLIN)]


def epoll():
    here, there = socket.socketpair()
    with here, there, select.epoll() as each:
        each.register(here.fileno(), select.EPOLLIN)
        answer = threading.Timer(5, there.sendall, (b"x",))
        answer.start()
        assert each.poll(60) == [(here.fileno(), select.EPOLLIN)]
        each.unregister(here)
        answer.join()


def sigtimedwait():
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    try:
        assert signal.sigtimedwait([signal.SIGUSR1], 5) is None
        signal.raise_signal(signal.SIGUSR1)
        assert signal.sigtimedwait([signal.SIGUSR1], 60).si_signo == signal.SIGUSR1
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])


def sigtimedwait_of_a_signal_that_comes():
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    main = threading.main_thread().ident
    timer = threading.Timer(5, signal.pthread_kill, (main, signal.SIGUSR1))
    try:
        timer.start()
        assert signal.sigtimedwait([signal.SIGUSR1], 60).si_signo == signal.SIGUSR1
        timer.join()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])


def mplock():
    each = multiprocessing.Lock()
    with each:
        assert not each.acquire(timeout=5)


def mpevent():
    each = multiprocessing.Event()
    timer = threading.Timer(5, each.set)
    timer.start()
    assert each.wait(60)
    timer.join()


def mpsemaphore_that_is_released_too_late():
    each = multiprocessing.Semaphore(0)
    timer = threading.Timer(60, each.release)
    timer.start()
    assert not each.acquire(timeout=5)
    timer.cancel()
    timer.join()


class AlarmError(Exception):
    pass


@contextlib.contextmanager
def alarm_handler(*seen):
    def raise_error(*_):
        raise AlarmError

    before = signal.signal(signal.SIGALRM, seen[0] if seen else raise_error)
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, before)


def alarm_in_a_sleep():
    with alarm_handler(), pytest.raises(AlarmError):
        signal.alarm(5)
        time.sleep(3600)


def alarm_in_an_event():
    with alarm_handler(), pytest.raises(AlarmError):
        signal.setitimer(signal.ITIMER_REAL, 5)
        threading.Event().wait()


def alarm_in_a_socket():
    here, there = socket.socketpair()
    with here, there, alarm_handler(), pytest.raises(AlarmError):
        signal.alarm(5)
        here.recv(1)


def alarm_in_a_loop():
    async def main():
        rung = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGALRM, rung.set)
        signal.alarm(5)
        await asyncio.wait_for(rung.wait(), 60)

    asyncio.run(main())


def alarm_that_is_taken_back():
    with alarm_handler():
        assert signal.alarm(60) == 0
        time.sleep(5)
        assert signal.alarm(0) == 55
        assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def nobody_hears_a_socket():
    here, there = socket.socketpair()
    with here, there:
        here.settimeout(5)
        with pytest.raises(TimeoutError):
            here.recv(1)


def an_answer_that_comes_too_late():
    here, there = socket.socketpair()
    with here, there:
        here.settimeout(5)
        timer = threading.Timer(60, there.send, (b"x",))
        timer.start()
        with pytest.raises(TimeoutError):
            here.recv(1)
        timer.cancel()
        timer.join()


def nobody_connects():
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)
        with pytest.raises(TimeoutError):
            server.accept()


def a_client_that_connects_in_time():
    with socket.create_server(("127.0.0.1", 0)) as server, contextlib.ExitStack() as clients:

        def connect():
            time.sleep(5)
            clients.enter_context(socket.create_connection(server.getsockname()))

        thread = threading.Thread(target=connect)
        thread.start()
        server.settimeout(100)
        server.accept()[0].close()
        thread.join()


def signal_from_a_thread(send):
    def work():
        time.sleep(5)
        send()

    thread = threading.Thread(target=work)
    # A shell's background process ignores the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            time.sleep(1000)
        thread.join()
    finally:
        signal.signal(signal.SIGINT, before)


def kill():
    signal_from_a_thread(lambda: os.kill(os.getpid(), signal.SIGINT))


def raise_signal():
    signal_from_a_thread(lambda: signal.raise_signal(signal.SIGINT))


def pthread_kill():
    main = threading.main_thread().ident
    signal_from_a_thread(lambda: signal.pthread_kill(main, signal.SIGINT))


def interrupt_main():
    signal_from_a_thread(_thread.interrupt_main)


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
    select_under_its_own_name,
    poll,
    epoll,
    sigtimedwait,
    sigtimedwait_of_a_signal_that_comes,
    mplock,
    mpevent,
    mpsemaphore_that_is_released_too_late,
    alarm_in_a_sleep,
    alarm_in_an_event,
    alarm_in_a_socket,
    alarm_in_a_loop,
    alarm_that_is_taken_back,
    nobody_hears_a_socket,
    an_answer_that_comes_too_late,
    nobody_connects,
    a_client_that_connects_in_time,
    kill,
    raise_signal,
    pthread_kill,
    interrupt_main,
]


@pytest.mark.parametrize("wait", WAITS, ids=lambda wait: wait.__name__)
def test_a_wait_ends_at_its_moment(wait, clock):
    wait()
    assert 5 <= clock.elapsed < 5.5


def test_an_alarm_with_an_interval_rings_until_it_is_taken_back(clock):
    seen = []
    with alarm_handler(lambda *_: seen.append(clock.elapsed)):
        signal.setitimer(signal.ITIMER_REAL, 5, 10)
        time.sleep(30)
        assert seen == [5, 15, 25]
        assert signal.setitimer(signal.ITIMER_REAL, 0) == (5, 10)
        clock.advance(100)
    assert seen == [5, 15, 25]


def test_advance_rings_the_alarms_in_between(clock):
    seen = []
    with alarm_handler(lambda *_: seen.append(clock.elapsed)):
        signal.setitimer(signal.ITIMER_REAL, 5)
        clock.advance(100)
    assert seen == [5]


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: signal.alarm("5"), TypeError),
        (lambda: signal.setitimer(signal.ITIMER_REAL, "5"), TypeError),
        (lambda: signal.setitimer(signal.ITIMER_REAL, -5), signal.ItimerError),
        (lambda: signal.sigtimedwait([signal.SIGUSR1], -5), ValueError),
        (lambda: multiprocessing.Lock().acquire(timeout="5"), TypeError),
        (lambda: select.poll().poll("5"), TypeError),
        (lambda: threading.Event().wait(1e20), OverflowError),
    ],
)
def test_a_wait_is_as_strict_as_the_real(call, error, clock):
    with pytest.raises(error):
        call()
    assert clock.elapsed == 0


def test_a_length_that_comes_of_readings_is_not_short(clock):
    for _ in range(3):
        threading.Event().wait(0)
        end = time.monotonic() + 12
        threading.Event().wait(0)
        time.sleep(end - time.monotonic())
    assert clock.elapsed == 36
