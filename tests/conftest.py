"""What several test modules share."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pkgutil
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import hypothesis
import pytest

import pytest_indexjob
from pytest_indexjob import VirtualClock
from pytest_indexjob.exchange import Interaction, Request, Response
from pytest_indexjob.recording.cassette import dump
from pytest_indexjob.virtual_time.time_patches import TimePatches

pytest_plugins = ["pytester"]
# Suites of users, which run against the built wheel: `nox -s downstream`.
collect_ignore = ["downstream"]

# pytester forgets what an inner run imported. Importing it anew for each inner run is slow, and
# libyaml can't be imported twice: so the modules are here before the first inner run.
for name in ("aiohttp", "gradient", "httpx", "jinja2", "pydo", "vcr.patch"):
    importlib.import_module(name)
for module in pkgutil.walk_packages(pytest_indexjob.__path__, "pytest_indexjob."):
    if not module.name.endswith(".__main__"):
        importlib.import_module(module.name)

# Inner runs write no bytecode: a module that is written twice within a second with the same length
# would be taken for the first. Child processes do: they load the same packages again and again.
sys.dont_write_bytecode = True
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# The same examples in each run, so that a red build is about the change that was made.
# `--hypothesis-profile=thorough` looks further, and elsewhere each time.
hypothesis.settings.register_profile("quick", max_examples=25, deadline=None, derandomize=True)
hypothesis.settings.register_profile("thorough", max_examples=500, deadline=None)
hypothesis.settings.load_profile("quick")


@pytest.fixture
def pytester(pytester, monkeypatch):
    """pytester, whose inner runs load no other plugin that happens to be installed: to load them
    takes two thirds of a run."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p indexjob")
    return pytester


@pytest.fixture
def installed_plugins(pytester, monkeypatch):
    """The inner runs of this test load every plugin that is installed, as a user's run does."""
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    monkeypatch.delenv("PYTEST_ADDOPTS")


SLOW = pytest.StashKey[int]()


def pytest_deselected(items):
    # Options like -k deselect slow tests and others together: only `-m "not slow"` finds slow ones.
    if items and all(item.get_closest_marker("slow") for item in items):
        items[0].config.stash[SLOW] = len(items)


def pytest_sessionfinish(session):
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["slow"] = session.config.stash.get(SLOW, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    output = getattr(node, "workeroutput", None) or {}
    node.config.stash[SLOW] = output.get("slow", 0)


def pytest_terminal_summary(terminalreporter, config):
    if left_out := config.stash.get(SLOW, 0):
        terminalreporter.line(f"slow: {left_out} tests were left out; `pytest -m slow` runs them")


JOB_UUID = "5c0e1d52-b5f6-11f0-9c3a-0a58a9feac02"
JOB_URL = f"https://api.digitalocean.com/v2/gen-ai/indexing_jobs/{JOB_UUID}"


def job_answer(**fields):
    """An answer of the service that holds a job."""
    body = json.dumps({"job": {"uuid": JOB_UUID, **fields}}).encode()
    return Response(200, (("Content-Type", "application/json"),), body, "OK")


RUNNING = job_answer(status="INDEX_JOB_STATUS_IN_PROGRESS", phase="BATCH_JOB_PHASE_RUNNING")
COMPLETED = job_answer(status="INDEX_JOB_STATUS_COMPLETED", phase="BATCH_JOB_PHASE_SUCCEEDED")


def cassette_text(*answers, url=JOB_URL, method="GET"):
    """A cassette that answers one request with these, in order."""
    return dump(Interaction(Request(method, url), answer) for answer in answers)


@pytest.fixture(autouse=True)
def _no_ci(monkeypatch):
    """Inner runs print and record as on a developer's machine: pytest and the plugin look for
    this variable."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("BUILD_NUMBER", raising=False)


@contextlib.contextmanager
def ticking_thread(seconds):
    """A thread that waits again and again, so that virtual time moves unless something holds it."""
    stop = threading.Event()

    def tick():
        while not stop.wait(seconds):
            pass

    thread = threading.Thread(target=tick)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


class LoopbackServer:
    """A real HTTP server of this process, which answers by a function and keeps what it was
    asked. Without ``length`` it adds no Content-Length."""

    def __init__(self, answer, *, length=True):
        self.requests = []
        self.accepted = 0
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                server.accepted += 1

            def reply(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                request = Request(
                    self.command, server.url + self.path, tuple(self.headers.items()), body
                )
                server.requests.append(request)
                response = answer(request)
                self.send_response(response.status)
                for name, value in response.headers:
                    self.send_header(name, value)
                if length:
                    self.send_header("Content-Length", str(len(response.body)))
                self.end_headers()
                self.wfile.write(response.body)

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = reply

            def log_message(self, *args):
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, request, client_address):
                # A client that hangs up is no news.
                if not isinstance(sys.exception(), ConnectionError):
                    super().handle_error(request, client_address)

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def loopback():
    """Starts loopback servers: ``loopback(answer)``, where ``answer(request)`` gives a response."""
    servers = []

    def start(answer, **options):
        servers.append(LoopbackServer(answer, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def clock():
    """A clock that has taken the real one's place."""
    patches = TimePatches(VirtualClock())
    patches.start()
    yield patches.clock
    patches.stop()
