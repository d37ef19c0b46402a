"""Recording."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import Figure

CALLS = 10
LIBRARIES = ("requests", "vcrpy")
NOTES = (
    "tests of 10 calls each, which record one cassette in one run. The last five are compared with"
    " the second to the sixth: the first also pays for imports."
)
CONFTEST = """
import json, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import pytest
from pytest_indexjob import IndexJobSettings

UUID = "5c0e1d52-b5f6-11f0-9c3a-0a58a9feac02"
SOURCE = {"data_source_uuid": UUID, "total_file_count": "3", "indexed_item_count": "1"}
BODY = json.dumps({"job": {"uuid": UUID, "data_source_jobs": [SOURCE] * 3}}).encode()
SECONDS = {}

class Service(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)
    def log_message(self, *_): pass

SERVER = ThreadingHTTPServer(("127.0.0.1", 0), Service)
threading.Thread(target=SERVER.serve_forever, daemon=True).start()
URL = f"http://127.0.0.1:{SERVER.server_address[1]}"

@pytest.fixture(scope="session")
def indexjob_settings():
    return IndexJobSettings(base_url=URL, token="any")

@pytest.fixture
def url(): return f"{URL}/v2/gen-ai/indexing_jobs/{UUID}"

def pytest_runtest_logreport(report):
    SECONDS[report.nodeid] = SECONDS.get(report.nodeid, 0) + report.duration

def pytest_sessionfinish(session):
    session.config.rootpath.joinpath("seconds.json").write_text(json.dumps(list(SECONDS.values())))
"""
SUITE = """
import pytest, requests
@pytest.mark.parametrize("n", range({tests}))
@pytest.mark.indexjob_cassette("mine")
def test_it(n, url):
    for call in range({calls}):
        assert requests.get(f"{{url}}?n={{n}}.{{call}}").ok
"""


def times(mode: str, tests: int) -> list[float]:
    """What each of the tests took, in their order."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "conftest.py").write_text(CONFTEST)
        Path(folder, "test_it.py").write_text(SUITE.format(tests=tests, calls=CALLS))
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        subprocess.run(
            [*command, f"--indexjob-record={mode}", "--rootdir=."],
            cwd=folder,
            env=os.environ,
            check=True,
            capture_output=True,
        )
        taken: list[float] = json.loads(Path(folder, "seconds.json").read_text())
    return taken


def measure(*, quick: bool) -> Iterator[Figure]:
    tests, rounds = (12, 1) if quick else (60, 5)
    for mode in ("once", "new_episodes", "all"):
        taken = [times(mode, tests) for _ in range(rounds)]
        first = [statistics.median(each[1:6]) * 1e3 for each in taken]
        last = [statistics.median(each[-5:]) * 1e3 for each in taken]
        yield Figure(
            f"one of the last of {tests} tests, {mode}", "ms", last, "one of the first", first
        )
