"""Kills runs inside the write of their cassette: ``python tests/endurance/kill.py [N]``.

Each run is a process of its own. Half of the kills strike at a line of the code that writes, each
line in turn; the other half at a random moment between the first and the last of these lines. After
each kill the cassette has to be the old one or the whole new one. The next run has to record, and
to leave nothing but the cassette in the folder.
"""

from __future__ import annotations

import os
import random
import select
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest
from service import CONFTEST, left, pages, service

import pytest_indexjob.running.one_test
from pytest_indexjob import whole_file
from pytest_indexjob.recording import recorder

SUITE = """
import os, pytest, requests
URL = {url!r} + "/v2/gen-ai/indexing_jobs?size=40&page="
@pytest.mark.parametrize("n", range(int(os.environ["TESTS"])))
@pytest.mark.indexjob_cassette("mine")
def test_it(n):
    assert requests.get(URL + os.environ["PAGE"] + str(n)).ok
"""
# How a run records, how many tests share the cassette, whether there is an old one.
WAYS = {
    "once": ("once", 1, False),
    "new_episodes": ("new_episodes", 1, True),
    "all": ("all", 1, True),
    "rewrite": ("rewrite", 1, True),
    "shared rewrite": ("rewrite", 3, True),
}
WRITING = {
    whole_file.write_whole.__code__,
    recorder._put.__code__,
    whole_file._sync_folder.__code__,
}


def run(folder, mode, page, tests, tell=None, line=0):
    """Start a run in a process of its own; gives its id.

    ``tell`` is written to as its write begins and ends; it kills itself at that ``line`` of it.
    """
    pid = os.fork()
    if pid:
        return pid
    os.chdir(folder)
    os.environ.update(PAGE=page, TESTS=str(tests))
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    if tell is not None:
        _watch(tell, line)
    options = ("-q", "-p", "no:cacheprovider", "-p", "no:xdist", f"--indexjob-record={mode}")
    os._exit(int(pytest.main([*options, "test_it.py"])))


def _watch(tell, line):
    seen = Counter()

    def in_write(_frame, event, _value):
        seen[event] += event == "line"
        if line and seen["line"] == line:
            os.kill(os.getpid(), signal.SIGKILL)
        return in_write

    def on_call(frame, _event, _value):
        return in_write if frame.f_code in WRITING else None

    real = recorder._put

    def put(*args):
        os.write(tell, b"begun")
        if line:
            sys.settrace(on_call)
        real(*args)
        sys.settrace(None)
        os.write(tell, b"ended")

    recorder._put = put


def kill_once(folder, way, strike, randomly):
    """Whether a run was killed inside its write."""
    mode, tests, _ = WAYS[way]
    here, there = os.pipe()
    pid = run(folder, mode, "new", tests, there, 0 if randomly else strike)
    os.close(there)
    if randomly:
        select.select([here], [], [])
        time.sleep(random.uniform(0, 0.006))
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    told = os.read(here, 100)
    os.close(here)
    assert randomly or told.startswith(b"begun"), f"{way}: the run came to no write"
    return os.WIFSIGNALED(status) and told == b"begun"


def main(count):
    done, lost, left_behind, torn = Counter(), [], [], 0
    with service() as url, tempfile.TemporaryDirectory() as base:
        # Locks of their own, so that no other run's are counted.
        os.environ["TMPDIR"] = tempfile.tempdir = base
        folder = Path(base, "suite")
        cassettes = folder / "cassettes"
        cassettes.mkdir(parents=True)
        (folder / "conftest.py").write_text(CONFTEST.format(url=url))
        (folder / "test_it.py").write_text(SUITE.format(url=url))
        path = cassettes / "mine.yaml"
        os.waitpid(run(folder, "once", "old", 1), 0)
        old = path.read_bytes()
        strike, tries = 0, 0
        while sum(done.values()) < count:
            way = list(WAYS)[tries % len(WAYS)]
            randomly = tries // len(WAYS) % 2
            tries += 1
            strike = strike % 40 + (tries % len(WAYS) == 1 and not randomly)
            path.unlink(missing_ok=True)
            if WAYS[way][2]:
                path.write_bytes(old)
            if not kill_once(folder, way, max(strike, 1), randomly):
                continue
            done[way, "at random" if randomly else "at a line"] += 1
            torn += bool(left(cassettes))
            if sum(done.values()) % 20 == 0:
                print(f"{sum(done.values())} kills, {tries} runs", flush=True)
            mode, tests, existed = WAYS[way]
            before = ["old0"] if existed else []
            new = [f"new{n}" for n in range(tests)]
            whole = new if mode == "rewrite" or not existed else before + new
            if pages(path) not in (before, whole):
                lost.append((way, pages(path)))
            _, status = os.waitpid(run(folder, "new_episodes", "next", 1), 0)
            if status or pages(path)[-1:] != ["next0"]:
                lost.append((way, "the next run could not record"))
            if left(cassettes):
                left_behind.append((way, left(cassettes)))
        shutil.rmtree(folder)
    for (way, how), kills in sorted(done.items()):
        print(f"{way:15} {how:10} {kills}")
    print(f"{sum(done.values())} kills inside the write, {torn} of them beside a temporary file")
    print(f"lost: {len(lost)}, left behind: {len(left_behind)}", *lost[:5], *left_behind[:5])
    return bool(lost or left_behind)


if __name__ == "__main__":
    assert pytest_indexjob.running.one_test  # loaded once, before the processes part
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200))
