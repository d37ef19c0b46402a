"""First use: whole processes."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.figures import Curve, Figure, paired
from benchmarks.replay import POLLS, ROOT, URL, life
from pytest_indexjob.recording.cassette import dump

LIBRARIES = ("requests", "vcrpy", "pytest-recording")
NOTES = (
    "processor time of whole processes, imports included, net of the same process that imports"
    " requests and asks nothing. One test is first use, 200 tests of 10 polls are steady state."
)
OURS, THEIRS = ["pytest_indexjob.plugin"], ["pytest_recording.plugin"]
BY_REQUESTS = f"""
    import requests
    with requests.Session() as session:
        for _ in range({{polls}}):
            assert session.get({URL!r}, timeout=5).ok
"""
SIMULATED = """
def test_0(indexjob_simulator, indexjob_clock):
    import requests
    uuid = indexjob_simulator.start().uuid
    url = "https://api.digitalocean.com/v2/gen-ai/indexing_jobs/" + uuid
    assert requests.get(url, headers={"Authorization": "Bearer any"}, timeout=5).ok
"""


def tests(count: int, mark: str, polls: int) -> str:
    body = BY_REQUESTS.format(polls=polls)
    each = "".join(f"\n{mark}\ndef test_{at}():{body}" for at in range(count))
    return f"import pytest\n{each}"


def plain(count: int) -> str:
    body = "import requests\n    with requests.Session():\n        pass\n"
    return "".join(f"\ndef test_{at}():\n    {body}" for at in range(count))


OURS_MARK = '@pytest.mark.indexjob_cassette("life")'
THEIRS_MARK = '@pytest.mark.vcr("life.yaml")\n@pytest.mark.default_cassette("life.yaml")'
# Name: the plugins, the module, and the suite without HTTP that it is net of.
Suites = dict[str, tuple[list[str], str, str]]


def suites(many: int) -> Suites:
    return {
        "pytest": ([], "def test_0():\n    pass\n", ""),
        "pytest and requests": ([], plain(1), ""),
        "many of pytest and requests": ([], plain(many), ""),
        "one, this plugin": (OURS, tests(1, OURS_MARK, 1), "pytest and requests"),
        "one, pytest-recording": (THEIRS, tests(1, THEIRS_MARK, 1), "pytest and requests"),
        "simulated": (OURS, SIMULATED, "pytest and requests"),
        "simulated, with requests": (OURS, SIMULATED, "pytest"),
        "many, this plugin": (
            OURS, tests(many, OURS_MARK, POLLS), "many of pytest and requests"
        ),
        "many, pytest-recording": (
            THEIRS, tests(many, THEIRS_MARK, POLLS), "many of pytest and requests"
        ),
    }  # fmt: skip


def folder_of(name: str) -> str:
    return name.replace(" ", "-").replace(",", "")


def write(folder: Path, suites: Suites) -> None:
    for name, (_, module, _) in suites.items():
        suite = folder / folder_of(name)
        for cassettes in (suite / "cassettes", suite / "cassettes" / "test_it"):
            cassettes.mkdir(parents=True, exist_ok=True)
            cassettes.joinpath("life.yaml").write_text(dump(life(POLLS)))
        suite.joinpath("test_it.py").write_text(module)


def run(suite: Path, plugins: list[str]) -> float:
    """Seconds of processor time of one whole process, to which others on the machine add little."""
    options = [option for plugin in plugins for option in ("-p", plugin)]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *options]
    # Bytecode is written in the round that does not count, as it is once on a user's machine.
    env = {
        "PATH": os.environ["PATH"],
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONPATH": str(ROOT),
        "PYTHONPYCACHEPREFIX": str(suite.parent / "bytecode"),
    }
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=suite, env=env, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return seconds


def measure(*, quick: bool) -> Iterator[Figure | Curve]:
    many, rounds = (2, 1) if quick else (200, 5)
    measured = suites(many)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write(folder, measured)
        works = [
            partial(run, folder / folder_of(name), plugins)
            for name, (plugins, *_) in measured.items()
        ]
        paired(1, *works)  # writes the bytecode
        times = dict(zip(measured, paired(rounds, *works), strict=True))
    net = {
        name: [max(each - min(times[base]), 1e-4) * 1000 for each in times[name]]
        for name, (*_, base) in measured.items()
        if base
    }
    for size, what, aim in (
        ("one", "one test with a cassette", 0.6),
        ("many", f"{many} tests of {POLLS} polls by requests", 0.5),
    ):
        ours, theirs = net[f"{size}, this plugin"], net[f"{size}, pytest-recording"]
        yield Figure(what, "ms", ours, "pytest-recording", theirs, aim)
    yield Figure("one simulated test", "ms", net["simulated"])
    over = net["simulated, with requests"]
    yield Figure("the same over pytest without requests", "ms", over, aim=100)
