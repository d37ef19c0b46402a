"""What a test costs that records to a cassette it shares: ``python benchmarks/record.py``.

60 tests of 10 calls each record one cassette, in one run. The last five are compared with the
second to the sixth: the first also pays for imports.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROUNDS, TESTS, CALLS = 5, 60, 10
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


def seconds(mode: str) -> list[float]:
    """What each of the tests took, in their order."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "conftest.py").write_text(CONFTEST)
        Path(folder, "test_it.py").write_text(SUITE.format(tests=TESTS, calls=CALLS))
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


def main() -> None:
    for mode in ("once", "new_episodes", "all"):
        ratios, first = [], []
        for _ in range(ROUNDS):
            taken = seconds(mode)
            begin, end = statistics.median(taken[1:6]), statistics.median(taken[-5:])
            first.append(begin)
            ratios.append(end / begin)
        print(
            f"{mode:13} one of the first {statistics.median(first) * 1e3:.0f} ms, one of the last"
            f" {statistics.median(ratios):.2f} times that ({min(ratios):.2f} to {max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()
