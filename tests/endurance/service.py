"""What the endurance scripts share: a service that answers, and what a folder holds after a run."""

from __future__ import annotations

import json
import multiprocessing
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from pytest_indexjob.recording.cassette import load

UUID = "5c0e1d52-b5f6-11f0-9c3a-0a58a9feac02"
CONFTEST = """
import pytest
from pytest_indexjob import IndexJobSettings
@pytest.fixture(scope="session")
def indexjob_settings():
    return IndexJobSettings(base_url={url!r}, token="any")
"""


class _Handler(BaseHTTPRequestHandler):
    """Answers a page of jobs whose uuid list is as long as ``size`` in the query says."""

    waiting: multiprocessing.synchronize.Barrier | None = None

    def do_GET(self):
        if self.waiting is not None and "wait=1" in self.path:
            self.waiting.wait(120)
        size = int(self.path.partition("size=")[2].partition("&")[0] or 1)
        page = self.path.partition("page=")[2].partition("&")[0]
        jobs = [{"uuid": UUID, "total_tokens": page}] * size
        body = json.dumps({"jobs": jobs}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def _serve(connection, parties):
    import threading

    _Handler.waiting = threading.Barrier(parties) if parties else None
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    connection.send(server.server_address[1])
    server.serve_forever()


@contextmanager
def service(parties=0):
    """The URL of a service in a process of its own.

    A request with ``wait=1`` is answered when so many parties have asked.
    """
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(there, parties))
    process.start()
    try:
        yield f"http://127.0.0.1:{here.recv()}"
    finally:
        process.terminate()
        process.join()


def pages(path):
    """The pages whose answers a cassette holds, in its order; ``[]`` where there is no file."""
    if not path.exists():
        return []
    urls = [item.request.url for item in load(path).interactions]
    return [url.partition("page=")[2].partition("&")[0] for url in urls]


def left(folder):
    """The names of the files in a folder of cassettes, beside the cassette."""
    return sorted(path.name for path in folder.iterdir() if path.name != "mine.yaml")
