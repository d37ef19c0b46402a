"""What the first test costs, imports included: ``python benchmarks/first_use.py``.

Whole processes, each net of the same process without HTTP. The sides take turns; the best of some
rounds counts.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from replay import POLLS, URL, life

from pytest_indexjob.recording.cassette import dump

ROUNDS = 7
MANY = 200
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
# Name: plugins, the module, the one without HTTP that it is net of.
SUITES: dict[str, tuple[list[str], str, str]] = {
    "pytest": ([], "def test_0():\n    pass\n", ""),
    "pytest and requests": ([], plain(1), ""),
    "200 tests of pytest and requests": ([], plain(MANY), ""),
    "one test, this plugin": (OURS, tests(1, OURS_MARK, 1), "pytest and requests"),
    "one test, pytest-recording": (THEIRS, tests(1, THEIRS_MARK, 1), "pytest and requests"),
    "one simulated test": (OURS, SIMULATED, "pytest and requests"),
    "one simulated test, requests included": (OURS, SIMULATED, "pytest"),
    "200 tests, this plugin": (
        OURS, tests(MANY, OURS_MARK, POLLS), "200 tests of pytest and requests"
    ),
    "200 tests, pytest-recording": (
        THEIRS, tests(MANY, THEIRS_MARK, POLLS), "200 tests of pytest and requests"
    ),
}  # fmt: skip


def write(folder: Path) -> None:
    for name, (_, module, _) in SUITES.items():
        suite = folder / name.replace(" ", "-").replace(",", "")
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
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PYTHONPYCACHEPREFIX": str(suite.parent / "bytecode"),
    }
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=suite, env=env, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return seconds


def main() -> None:
    names = ("pytest-indexjob", "pytest", "requests", "vcrpy", "pytest-recording")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    print(f"{versions} on Python {sys.version.split()[0]}, best of {ROUNDS} rounds\n")
    best: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write(folder)
        for at in range(ROUNDS + 1):
            for name, (plugins, _, _) in SUITES.items():
                seconds = run(folder / name.replace(" ", "-").replace(",", ""), plugins)
                if at:
                    best[name] = min(best.get(name, seconds), seconds)
    net = {name: best[name] - best[base] for name, (*_, base) in SUITES.items() if base}
    print("| | ms | net of HTTP-free |\n| --- | --- | --- |")
    for name, seconds in net.items():
        print(f"| {name} | {best[name] * 1000:.0f} | {seconds * 1000:.0f} |")
    for many, most in (("one test", 0.6), ("200 tests", 0.5)):
        ratio = net[f"{many}, this plugin"] / net[f"{many}, pytest-recording"]
        print(f"{many}, this plugin over pytest-recording: {ratio:.2f} (at most {most})")
    simulated = net["one simulated test, requests included"] * 1000
    print(f"one simulated test over plain pytest: {simulated:.0f} ms (at most 100)")


if __name__ == "__main__":
    main()
