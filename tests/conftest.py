"""What several test modules share."""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# pytester forgets what an inner run imported: importing it again is slow, and libyaml can't be
# imported twice.
import hypothesis  # noqa: F401
import pytest
import vcr.patch  # noqa: F401

from pytest_indexjob.exchange import Interaction, Request, Response
from pytest_indexjob.recording.cassette import dump

pytest_plugins = ["pytester"]

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


class LoopbackServer:
    """A real HTTP server of this process, which answers by a function and keeps what it was
    asked."""

    def __init__(self, answer):
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

    def start(answer):
        servers.append(LoopbackServer(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
