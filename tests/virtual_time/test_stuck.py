"""A test in which nobody can move fails, whatever its main thread sits in."""

from __future__ import annotations

import sys

import pytest

STUCK = {
    "socket": "PAIR[0].recv(1)",
    "accept": "socket.create_server(('127.0.0.1', 0)).accept()",
    "pipe": "os.read(os.pipe()[0], 1)",
    "queue": "multiprocessing.Queue().get()",
    "signal": "signal.sigwaitinfo([signal.SIGUSR1])",
    "sigwait": "signal.sigwait({signal.SIGUSR1})",
    "pause": "signal.pause()",
    "poll": "select.poll().poll()",
    "selector": "selectors.DefaultSelector().select()",
    "trio": "trio.run(trio.sleep_forever)",
    "future": "concurrent.futures.Future().result()",
    "swallowed": "swallow(lambda: os.read(os.pipe()[0], 1))",
}
MODULES = """
import concurrent.futures, multiprocessing, os, select, selectors, signal, socket, sys, time
import threading
import pytest, trio
PAIR = socket.socketpair()

def swallow(wait):
    try:
        wait()
    except Exception:
        pass
"""


def run(pytester, text):
    pytester.makeini("[pytest]\nindexjob_stuck_after = 0.4\nfilterwarnings = ignore\n")
    pytester.makepyfile(MODULES + text)
    # A process of its own, since what is left in the midst of a wait warns when it is collected.
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", timeout=60)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it is not told what a thread does")
def test_whatever_the_main_thread_sits_in_it_is_told(pytester):
    tests = [f"def test_{name}(indexjob_clock):\n    {wait}\n" for name, wait in STUCK.items()]
    result = run(pytester, "\n".join(tests))
    result.assert_outcomes(failed=len(STUCK))
    for wait in STUCK.values():
        result.stdout.fnmatch_lines(
            [f"*thread MainThread: *, at *test_whatever*: {wait.replace('[', '[[]')}"]
        )
    assert str(result.stdout).count("nobody in this test could move for 0.4 real seconds") >= 10


SPINS = """
import asyncio

def test_loop_time(indexjob_clock):
    async def main():
        loop = asyncio.get_running_loop()
        end = loop.time() + 5
        while loop.time() < end:
            pass
    asyncio.run(main())

def test_wait_0(indexjob_clock):
    done = threading.Event()
    threading.Timer(5, done.set).start()
    while not done.wait(0):
        pass

seen = []

def test_alone(indexjob_clock):
    while not seen:
        pass

def test_after():
    assert signal.getsignal(signal.SIGVTALRM) == signal.SIG_DFL
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0, 0)
"""


@pytest.mark.slow
def test_more_ways_to_spin_are_told_as_endless(pytester):
    result = run(pytester, SPINS)
    result.assert_outcomes(failed=3, passed=1)
    result.stdout.fnmatch_lines(
        [
            "*does not stop: it has read the clock*(at *while loop.time() < end*",
            "*does not stop: it has read the clock*(at *while not done.wait(0)*",
            "*thread MainThread: works *: while not seen:*",
        ]
    )


LOOKS = """
import http.server, socketserver

event = threading.Event()
seen = []

def later(work, *arguments):
    timer = threading.Timer(600, work, arguments)
    timer.daemon = True
    timer.start()

def test_main_spins(indexjob_clock):
    later(event.set)
    while not event.is_set():
        pass

def test_main_spins_at_its_own_list(indexjob_clock):
    later(seen.append, 1)
    while len(seen) < 1:
        pass

def test_main_spins_until_a_break(indexjob_clock):
    done = threading.Event()  # a name that a method has too
    later(done.set)
    while True:
        if done.is_set():
            break

def test_work_of_a_function_with_such_a_name(indexjob_clock):
    end = time.clock_gettime(time.CLOCK_MONOTONIC) + 1
    def done():
        return time.clock_gettime(time.CLOCK_MONOTONIC) > end
    later(event.set)
    while not done():
        pass

def test_thread_spins(indexjob_clock):
    def spin():
        while not event.is_set():
            pass
    spinner = threading.Thread(target=spin, name="spinner")
    spinner.start()
    time.sleep(5)

def test_beside_a_server(indexjob_clock):
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, name="server").start()
        try:
            PAIR[0].recv(1)
        finally:
            server.shutdown()

def test_work_that_looks(indexjob_clock):
    later(event.set)
    end = time.clock_gettime(time.CLOCK_MONOTONIC) + 1
    while not event.is_set() and time.clock_gettime(time.CLOCK_MONOTONIC) < end:
        pass
    assert indexjob_clock.elapsed == 0

def test_work(indexjob_clock):
    later(event.set)
    total, numbers = 0, list(range(5_000_000))
    while not event.is_set() and numbers:
        total += numbers.pop()
    assert indexjob_clock.elapsed == 0

def test_sigwait_of_an_alarm(indexjob_clock):
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
    signal.alarm(5)
    assert signal.sigwait({signal.SIGALRM}) is signal.SIGALRM
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
    assert indexjob_clock.elapsed == 5
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody looks")
def test_a_loop_that_only_looks_and_a_server_that_ticks_are_no_work(pytester):
    result = run(pytester, LOOKS)
    result.assert_outcomes(passed=4, failed=5)
    result.stdout.fnmatch_lines(
        [
            # Which line of the loop is told depends on the moment and on the Python.
            "*thread MainThread: works *",
            "*thread MainThread: works *",
            "*thread MainThread: works *",
            "*thread spinner: works *",
            "*thread MainThread: works *: PAIR[[]0].recv(1)",
        ]
    )
    assert str(result.stdout).count("nobody in this test could move for 0.4 real seconds") >= 5


NOT_STUCK = """
import queue, subprocess
before = signal.getsignal(signal.SIGURG)

def test_work(indexjob_clock):
    end = time.clock_gettime(time.CLOCK_MONOTONIC) + 1
    while time.clock_gettime(time.CLOCK_MONOTONIC) < end:
        pass

def test_child(indexjob_clock):
    subprocess.run([sys.executable, "-c", "import time; time.sleep(0.8)"], check=True)

def test_child_beside_a_thread_that_waits(indexjob_clock):
    orders, seen = queue.Queue(), []
    thread = threading.Thread(target=lambda: seen.append(orders.get()))
    thread.start()
    subprocess.run([sys.executable, "-c", "import time; time.sleep(1.5)"], check=True)
    orders.put("order")
    thread.join()
    assert seen == ["order"]

def test_debugger(indexjob_clock):
    command = [sys.executable, "-c", "import time; time.sleep(1.5); print(1)"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        prompt = {"__name__": "pdb", "os": os, "file": child.stdout.fileno()}
        assert eval("os.read(file, 1)", prompt) == b"1"

def test_signal_of_the_users_own(indexjob_clock):
    seen = []
    mine = signal.signal(signal.SIGURG, lambda *_: seen.append(1))
    signal.raise_signal(signal.SIGURG)
    signal.signal(signal.SIGURG, mine)
    assert seen == [1]

def test_afterwards():
    assert signal.getsignal(signal.SIGURG) == before

def test_alarm_without_a_handler(indexjob_clock):
    signal.alarm(5)
    time.sleep(60)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody looks")
def test_who_works_or_waits_for_a_child_is_not_stuck(pytester):
    result = run(pytester, NOT_STUCK)
    result.assert_outcomes(passed=6, failed=1)
    result.stdout.fnmatch_lines(["SIGALRM was sent at 5 s of the test's clock, and no handler is*"])
