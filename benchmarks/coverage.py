"""Coverage and strategies."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.figures import Curve, Figure, paired
from pytest_indexjob import strategies

LIBRARIES = ("pytest-xdist", "hypothesis", "requests")
NOTES = (
    "a suite of tests of one poll each, in whole processes: what coverage costs, and what a second"
    " process saves. Two processes without pytest-xdist, each with half of the tests, are the limit"
    " of what this machine's second core can save. Then examples a second of each strategy,"
    " Hypothesis' own work included."
)
ROOT = Path(__file__).parents[1]
SUITE = """
import pytest
import requests

URL = "https://api.digitalocean.com/v2/gen-ai/indexing_jobs/"


@pytest.mark.parametrize("number", range(TESTS))
def test_one_poll(number, indexjob_simulator):
    job = indexjob_simulator.start("completed", files=1 + number % 7)
    answer = requests.get(URL + job.uuid, headers={"Authorization": "Bearer any"}, timeout=5)
    assert answer.json()["job"]["uuid"] == job.uuid
"""
COMMAND = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
# No other plugin that happens to be installed.
PLUGINS = ("-p", "pytest_indexjob.plugin", "-p", "xdist.plugin")


def environment() -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONPATH": str(ROOT),
    }


def run(*commands: tuple[str, ...], folder: Path) -> float:
    """The seconds of pytest with these arguments, of several at the same time."""
    began = time.perf_counter()
    runs = [
        subprocess.Popen(
            [*COMMAND, *PLUGINS, *command],
            cwd=folder,
            env=environment(),
            stdout=subprocess.DEVNULL,
        )
        for command in commands
    ]
    statuses = [each.wait() for each in runs]
    elapsed = time.perf_counter() - began
    assert not any(statuses), statuses
    return elapsed


def examples_a_second(strategy: st.SearchStrategy[object], examples: int) -> float:
    @settings(
        max_examples=examples, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(strategy)
    def make(example: object) -> None:
        pass

    began = time.perf_counter()
    make()
    return examples / (time.perf_counter() - began)


def measure(*, quick: bool) -> Iterator[Figure | Curve]:
    tests, rounds, examples = (20, 1, 20) if quick else (1_000, 3, 2_000)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        suite = SUITE.replace("TESTS", str(tests))
        folder.joinpath("test_polls.py").write_text(suite)
        folder.joinpath("test_half.py").write_text(SUITE.replace("TESTS", str(tests // 2)))
        one, half = ("test_polls.py",), ("test_half.py",)
        plain, covered, two, limit = paired(
            rounds,
            lambda: run(one, folder=folder),
            lambda: run((*one, "--indexjob-coverage"), folder=folder),
            lambda: run((*one, "-n", "2"), folder=folder),
            lambda: run(half, half, folder=folder),
        )
    against = "one process without"
    yield Figure(f"{tests:,} tests with `--indexjob-coverage`", "s", covered, against, plain, 1.02)
    yield Figure(f"{tests:,} tests with `-n 2`", "s", two, against, plain, 0.6)
    yield Figure("two processes without pytest-xdist", "s", limit, against, plain)
    for name, aim in (
        ("indexing_jobs", 1_000),
        ("data_sources", None),
        ("wire_jobs", None),
        ("lifecycles", None),
        ("misbehaviours", None),
    ):
        strategy = getattr(strategies, name)()
        rates = [examples_a_second(strategy, examples) for _ in range(rounds)]
        yield Figure(f"`{name}()`", "examples a second", rates, aim=aim, at_least=True)
