"""Replay of recordings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import requests

from benchmarks.figures import PROCESSOR, Curve, Figure, paired
from pytest_indexjob.exchange import Interaction, Journal, Request, Response
from pytest_indexjob.interception.interception import Interception
from pytest_indexjob.recording.cassette import Playback, Recording, dump
from pytest_indexjob.virtual_time.clock import VirtualClock

LIBRARIES = (
    *("requests", "httpx", "vcrpy"),
    *("pytest-recording", "responses", "respx", "pytest-httpx"),
)
NOTES = (
    "tests of 10 polls each, net of the same tests without HTTP. The limits are the same clients"
    " over a transport that only hands out answers. Start-up and imports are left out."
)
ROOT = Path(__file__).parents[1]
POLLS = 10
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
    "requests / bare transport": (
        [],
        f"import requests\nfrom benchmarks.bare import bare_session\nBODIES = {BODIES!r}\n"
        "def body():\n    give = iter([each.encode() for each in BODIES]).__next__\n"
        f"    with bare_session(give) as session:\n        for _ in range({POLLS}):\n"
        f"            status = session.get({URL!r}, timeout=5).json()['job']['status']\n"
        "    assert status == 'INDEX_JOB_STATUS_COMPLETED'\n",
        "", "", "body()",
    ),
    "httpx / bare transport": (
        [],
        f"import httpx\nfrom benchmarks.bare import bare_transport\nBODIES = {BODIES!r}\n"
        "GIVE = []\nCLIENT = httpx.Client(transport=bare_transport(lambda: GIVE.pop(0)))\n"
        "def body():\n    GIVE[:] = [each.encode() for each in BODIES]\n"
        f"{BY_HTTPX}",
        "", "", "body()",
    ),
}  # fmt: skip
# This plugin's suite, the other one, the aim.
RATIOS = (
    ("requests / this plugin", "requests / pytest-recording", 0.5),
    ("own client / this plugin", "requests / responses", 1.0),
    ("httpx / this plugin", "httpx / respx", 1.0),
    ("httpx / this plugin", "httpx / pytest-httpx", 1.0),
    ("requests / this plugin", "requests / bare transport", None),
    ("httpx / this plugin", "httpx / bare transport", None),
)


def folder_of(name: str) -> str:
    return name.replace(" ", "").replace("/", "-")


def write(folder: Path, tests: int) -> None:
    for name, (_, head, mark, arguments, call) in SUITES.items():
        suite = folder / folder_of(name)
        for cassettes in (suite / "cassettes", suite / "cassettes" / "test_it"):
            cassettes.mkdir(parents=True, exist_ok=True)
            cassettes.joinpath("life.yaml").write_text(dump(life(POLLS)))
        module = head + "".join(
            f"\n{mark}\ndef test_{at}({arguments}):\n    {call}\n" for at in range(tests)
        )
        suite.joinpath("test_it.py").write_text(module)


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
        "PYTHONPATH": os.pathsep.join((str(suite.parent), str(ROOT))),
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


def suites(tests: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of each suite in each round, net of the suite of its client without HTTP."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        folder.joinpath("phases.py").write_text(PHASES)
        write(folder, tests)
        works = [
            partial(run, folder / folder_of(name), plugins)
            for name, (plugins, *_) in SUITES.items()
        ]
        measured = dict(zip(SUITES, paired(rounds, *works), strict=True))
    net = {}
    for name, times in measured.items():
        # What pytest itself takes varies less than what it is taken off from.
        base = min(measured[f"nothing ({'httpx' if 'httpx' in name else 'requests'})"])
        net[name] = [max(each - base, 1e-6) for each in times]
    return net


def per_request(interactions: int, *, own: bool) -> float:
    """Microseconds of the processor a request, while a whole recording is played.

    The best of some rounds counts.
    """
    recording = Recording(Path("life"), tuple(life(interactions)), {})
    best = float("inf")
    for _ in range(max(1, 300 // interactions)):
        interception = Interception(Journal(), VirtualClock()).start()
        interception.source = Playback([recording])
        with interception.session() if own else requests.Session() as session:
            began = PROCESSOR()
            for _ in range(interactions):
                session.get(URL, timeout=5)
            best = min(best, (PROCESSOR() - began) / interactions)
        interception.stop()
    return best * 1e6


def import_cost() -> tuple[float, list[str]]:
    """Milliseconds of the plugin's own import over pytest's, and what heavy modules it loaded."""
    code = (
        "import pytest, sys, time; began = time.perf_counter(); import pytest_indexjob.plugin;"
        " print((time.perf_counter() - began) * 1000,"
        " *({'vcr', 'requests', 'hypothesis'} & set(sys.modules)))"
    )
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=env
    )
    milliseconds, *heavy = done.stdout.split()
    return float(milliseconds), heavy


def measure(*, quick: bool) -> Iterator[Figure | Curve]:
    tests, rounds = (12, 1) if quick else (100, 5)
    net = suites(tests, rounds)
    a_poll = {name: [each / tests / POLLS * 1e6 for each in times] for name, times in net.items()}
    for ours, theirs, aim in RATIOS:
        what = f"a poll by {ours.partition(' /')[0]}"
        client, _, peer = theirs.partition(" / ")
        yield Figure(what, "µs", a_poll[ours], f"{peer} ({client})", a_poll[theirs], aim)
    sizes = (10, 100) if quick else (10, 100, 1_000, 5_000)
    lines: dict[str, list[tuple[float, float]]] = {}
    for own, client in ((True, "own client's session"), (False, "requests")):
        grown = [[per_request(size, own=own) for size in sizes] for _ in range(min(rounds, 3))]
        at = min(2, len(sizes) - 1)
        few, many = [each[0] for each in grown], [each[at] for each in grown]
        what = f"a request of a cassette of {sizes[at]:,} interactions by {client}"
        yield Figure(what, "µs", many, "a cassette of 10", few, 1.2)
        lines[client] = [
            (size, min(each)) for size, each in zip(sizes, zip(*grown, strict=True), strict=True)
        ]
    yield Curve("A request of a long cassette", "interactions", "µs a request", lines)
    imports = [import_cost() for _ in range(rounds)]
    heavy = ", ".join(imports[0][1]) or "no"
    what = f"`import pytest_indexjob.plugin` over pytest's; it loads {heavy} heavy module"
    yield Figure(what, "ms", [milliseconds for milliseconds, _ in imports], aim=5)
