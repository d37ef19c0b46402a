"""The same work by this plugin and by its peers, side by side: ``python benchmarks/replay.py``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from pytest_indexjob.exchange import Interaction, Journal, Request, Response
from pytest_indexjob.interception.interception import Interception
from pytest_indexjob.recording.cassette import Playback, Recording, dump
from pytest_indexjob.virtual_time.clock import VirtualClock

TESTS, POLLS, ROUNDS = 200, 10, 7
UUID = "5c0e1d52-b5f6-11f0-9c3a-0a58a9feac02"
URL = f"https://api.digitalocean.com/v2/gen-ai/indexing_jobs/{UUID}"
HEADERS = (("Content-Type", "application/json"), ("ratelimit-limit", "5000"))


def answer(status: str) -> Response:
    source = {
        "data_source_uuid": UUID,
        "total_file_count": "3",
        "indexed_item_count": "1",
        "total_bytes": "6454487",
    }
    job = {"uuid": UUID, "status": f"INDEX_JOB_STATUS_{status}", "data_source_jobs": [source]}
    return Response(200, HEADERS, json.dumps({"job": job}).encode(), "OK")


def life(polls: int) -> list[Interaction]:
    last = polls - 1
    return [
        Interaction(Request("GET", URL), answer("COMPLETED" if at == last else "IN_PROGRESS"))
        for at in range(polls)
    ]


BODIES = [item.response.body.decode() for item in life(POLLS)]
BY_REQUESTS = f"""
    with requests.Session() as session:
        for _ in range({POLLS}):
            status = session.get({URL!r}, timeout=5).json()["job"]["status"]
    assert status == "INDEX_JOB_STATUS_COMPLETED"
"""
# One client for all tests: making one takes 20 ms, for the certificates it reads, which would drown
# what is measured.
BY_HTTPX = f"""
    for _ in range({POLLS}):
        status = CLIENT.get({URL!r}).json()["job"]["status"]
    assert status == "INDEX_JOB_STATUS_COMPLETED"
"""
# What the client itself costs, made in every test on both sides, is no HTTP: it is taken off by
# these.
NO_HTTP = {
    "requests": (
        "import pytest, requests\ndef body():\n    with requests.Session() as session:\n       "
        " pass\n"
    ),
    "httpx": "import pytest, httpx\nCLIENT = httpx.Client()\ndef body():\n    pass\n",
}
SUITES = {
    "nothing (requests)": ([], NO_HTTP["requests"], "", "", "body()"),
    "nothing (httpx)": ([], NO_HTTP["httpx"], "", "", "body()"),
    "requests / this plugin": (
        ["pytest_indexjob.plugin"], f"import pytest, requests\ndef body():{BY_REQUESTS}",
        '@pytest.mark.indexjob_cassette("life")', "", "body()",
    ),
    "requests / pytest-recording": (
        ["pytest_recording.plugin"], f"import pytest, requests\ndef body():{BY_REQUESTS}",
        '@pytest.mark.vcr("life.yaml")\n@pytest.mark.default_cassette("life.yaml")', "", "body()",
    ),
    "own client / this plugin": (
        ["pytest_indexjob.plugin"],
        f"import pytest\ndef body(client):\n    for _ in range({POLLS}):\n"
        f"        job = client.get({UUID!r})\n    assert job.is_terminal\n",
        '@pytest.mark.indexjob_cassette("life")', "indexjob_client", "body(indexjob_client)",
    ),
    "requests / responses": (
        [],
        f"import pytest, requests, responses\nBODIES = {BODIES!r}\ndef body():\n"
        f"    for each in BODIES:\n"
        f"        responses.get({URL!r}, body=each, content_type='application/json', "
        f"headers={{'ratelimit-limit': '5000'}})\n"
        f"{BY_REQUESTS}",
        "@responses.activate", "", "body()",
    ),
    "httpx / this plugin": (
        ["pytest_indexjob.plugin"],
        f"import pytest, httpx\nCLIENT = httpx.Client()\ndef body():{BY_HTTPX}",
        '@pytest.mark.indexjob_cassette("life")', "", "body()",
    ),
    "httpx / respx": (
        ["respx.plugin"],
        f"import pytest, httpx, respx\nCLIENT = httpx.Client()\nBODIES = {BODIES!r}\ndef body():\n"
        f"    headers = {dict(HEADERS)!r}\n"
        "    answers = [httpx.Response(200, text=each, headers=headers) for each in BODIES]\n"
        f"    respx.get({URL!r}).mock(side_effect=answers)\n"
        f"{BY_HTTPX}",
        "@respx.mock", "", "body()",
    ),
    "httpx / pytest-httpx": (
        ["pytest_httpx"], f"import pytest, httpx\nCLIENT = httpx.Client()\nBODIES = {BODIES!r}\n"
        "def body(mock):\n    for each in BODIES:\n"
        f"        mock.add_response(url={URL!r}, text=each, headers={dict(HEADERS)!r})\n{BY_HTTPX}",
        "", "httpx_mock", "body(httpx_mock)",
    ),
}  # fmt: skip
RATIOS = (
    ("requests / this plugin", "requests / pytest-recording", 0.5),
    ("own client / this plugin", "requests / responses", 1.0),
    ("httpx / this plugin", "httpx / respx", 1.0),
    ("httpx / this plugin", "httpx / pytest-httpx", 1.0),
)


def write(folder: Path) -> None:
    for name, (_, head, mark, arguments, call) in SUITES.items():
        suite = folder / name.replace(" ", "").replace("/", "-")
        for cassettes in (suite / "cassettes", suite / "cassettes" / "test_it"):
            cassettes.mkdir(parents=True, exist_ok=True)
            cassettes.joinpath("life.yaml").write_text(dump(life(POLLS)))
        tests = "".join(
            f"\n{mark}\ndef test_{at}({arguments}):\n    {call}\n" for at in range(TESTS)
        )
        suite.joinpath("test_it.py").write_text(head + tests)


def run(suite: Path, plugins: list[str]) -> float:
    """Seconds that the tests' own three phases took, as pytest measured them.

    Start-up and imports are left out.
    """
    options = [option for plugin in plugins for option in ("-p", plugin)]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        *options,
        "-p",
        "phases",
        "test_it.py",
    ]
    # Few variables: requests looks through all of them for proxies at every call, on both sides.
    env = {
        "PATH": os.environ["PATH"],
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONPATH": str(suite.parent),
    }
    done = subprocess.run(command, cwd=suite, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return float(
        next(line.split()[1] for line in done.stdout.splitlines() if line.startswith("seconds"))
    )


# From the first test's beginning to the last one's end, but for the first ten tests, in which
# modules load.
PHASES = """
import time
began = []
def pytest_runtest_logstart(nodeid):
    began.append(time.perf_counter())
def pytest_terminal_summary(terminalreporter):
    seconds = (time.perf_counter() - began[10]) * len(began) / (len(began) - 10)
    terminalreporter.write_line(f"seconds {seconds}")
"""


def suites() -> dict[str, float]:
    best: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        folder.joinpath("phases.py").write_text(PHASES)
        write(folder)
        for _ in range(ROUNDS):
            for name, (plugins, *_) in SUITES.items():
                seconds = run(folder / name.replace(" ", "").replace("/", "-"), plugins)
                best[name] = min(best.get(name, seconds), seconds)
    return best


def per_request(interactions: int, *, own: bool) -> float:
    """Microseconds a request: a whole recording of one request's answers is played.

    The best of some rounds counts.
    """
    import requests

    recording = Recording(Path("life"), tuple(life(interactions)), {})
    best = float("inf")
    for _ in range(max(5, 2000 // interactions)):
        interception = Interception(Journal(), VirtualClock()).start()
        interception.source = Playback([recording])
        with interception.session() if own else requests.Session() as session:
            began = time.perf_counter()
            for _ in range(interactions):
                session.get(URL, timeout=5)
            best = min(best, (time.perf_counter() - began) / interactions)
        interception.stop()
    return best * 1e6


def import_cost() -> tuple[float, list[str]]:
    """Milliseconds of the plugin's own import over pytest's, and what heavy modules it loaded."""
    code = (
        "import pytest, sys, time; began = time.perf_counter(); import"
        " pytest_indexjob.plugin;print((time.perf_counter() - began) * 1000, *({'vcr', 'requests',"
        " 'msgspec'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    outputs = [
        subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        for _ in range(9)
    ]
    return min(float(output[0]) for output in outputs), outputs[0][1:]


def main() -> None:
    names = (
        "pytest-indexjob",
        "pytest",
        "requests",
        "httpx",
        "vcrpy",
        "pytest-recording",
        "responses",
        "respx",
        "pytest-httpx",
    )
    print(
        ", ".join(f"{name} {version(name)}" for name in names),
        f"on Python {sys.version.split()[0]}\n",
    )
    best = suites()
    net = {
        name: seconds - best[f"nothing ({'httpx' if 'httpx' in name else 'requests'})"]
        for name, seconds in best.items()
    }
    print(f"{TESTS} tests of {POLLS} polls, best of {ROUNDS} rounds\n")
    print("| suite | seconds | net of HTTP-free | a poll |\n| --- | --- | --- | --- |")
    for name, seconds in best.items():
        print(
            f"| {name} | {seconds:.3f} | {net[name]:.3f} | {net[name] / TESTS / POLLS * 1e6:.0f}"
            " us |"
        )
    print("\n| this plugin | its peer | ratio | at most |\n| --- | --- | --- | --- |")
    for ours, theirs, target in RATIOS:
        print(f"| {ours.split(' /')[0]} | {theirs} | {net[ours] / net[theirs]:.2f} | {target} |")
    for own in (True, False):
        short, long = per_request(10, own=own), per_request(1000, own=own)
        client = "own client's session" if own else "requests"
        print(
            f"| {client}, a cassette of 1,000 | a cassette of 10 | {long / short:.2f} ({long:.0f}"
            " us) | 1.2 |"
        )
    milliseconds, heavy = import_cost()
    print(f"\nimport pytest_indexjob.plugin, over pytest's: {milliseconds:.2f} ms (at most 5)")
    print(f"heavy modules that it loads: {', '.join(heavy) or 'none'}")


if __name__ == "__main__":
    main()
