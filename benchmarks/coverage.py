"""What coverage costs, what a second process saves, how fast jobs are made.

Run ``python benchmarks/coverage.py``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_indexjob import strategies

TESTS = 10_000
ROUNDS = 3
EXAMPLES = 5_000
SUITE = f"""
import pytest
import requests

URL = "https://api.digitalocean.com/v2/gen-ai/indexing_jobs/"


@pytest.mark.parametrize("number", range({TESTS}))
def test_one_poll(number, indexjob_simulator):
    job = indexjob_simulator.start("completed", files=1 + number % 7)
    answer = requests.get(URL + job.uuid, headers={{"Authorization": "Bearer any"}}, timeout=5)
    assert answer.json()["job"]["uuid"] == job.uuid
"""
COMMAND = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly")


def run(suite: Path, *options: str) -> float:
    """The seconds of a run of the suite."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "CI"))
    }
    began = time.perf_counter()
    command = [*COMMAND, *options, suite.name]
    done = subprocess.run(
        command, cwd=suite.parent, env=environment, capture_output=True, text=True, check=False
    )
    elapsed = time.perf_counter() - began
    assert f"{TESTS} passed" in done.stdout, done.stdout[-2000:]
    return elapsed


def halves(suite: Path) -> float:
    """The seconds of two runs of half the suite each, at the same time.

    That is what this machine's second core can save.
    """
    began = time.perf_counter()
    runs = [
        subprocess.Popen([*COMMAND, suite.name], cwd=suite.parent, stdout=subprocess.DEVNULL)
        for _ in range(2)
    ]
    assert [each.wait() for each in runs] == [0, 0]
    return time.perf_counter() - began


def best(suite: Path, *runs: tuple[str, ...]) -> list[float]:
    """The shortest seconds of each, of some rounds in which they take turns."""
    rounds = [[run(suite, *options) for options in runs] for _ in range(ROUNDS)]
    return [min(times) for times in zip(*rounds, strict=True)]


def examples_a_second(strategy: st.SearchStrategy[object]) -> float:
    @settings(
        max_examples=EXAMPLES, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(strategy)
    def make(example: object) -> None:
        pass

    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        make()
        times.append(time.perf_counter() - began)
    return EXAMPLES / min(times)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        suite, half = Path(folder, "test_polls.py"), Path(folder, "test_half.py")
        suite.write_text(SUITE)
        half.write_text(SUITE.replace(f"range({TESTS})", f"range({TESTS // 2})"))
        without, with_it, two = best(suite, (), ("--indexjob-coverage",), ("-n", "2"))
        limit = min(halves(half) for _ in range(ROUNDS))
        print(
            f"{TESTS} tests of one poll: {without:.2f} s; with coverage {with_it:.2f} s:"
            f" {with_it / without - 1:+.1%}"
        )
        print(f"-n 2: {two:.2f} s, {two / without:.2f} of one process")
        print(
            f"two processes without pytest-xdist: {limit:.2f} s, {limit / without:.2f} of one"
            " process"
        )
    for name in ("indexing_jobs", "data_sources", "wire_jobs", "lifecycles", "misbehaviours"):
        print(f"{name}(): {examples_a_second(getattr(strategies, name)()):.0f} examples a second")


if __name__ == "__main__":
    main()
