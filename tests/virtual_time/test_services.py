"""A service in another process: only a request in flight holds time still."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import socket
import subprocess
import sys
import threading
import time

import httpx
import pytest
import requests
import trio
from conftest import ticking_thread

from pytest_indexjob import VirtualClock
from pytest_indexjob.virtual_time.time_patches import TimePatches

# It answers each line after as many real seconds as the line says, or never.
SERVICE = """
import socketserver, time
class Service(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            if line != b"never\\n":
                time.sleep(float(line))
                self.wfile.write(line)
with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Service) as server:
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    server.serve_forever()
"""


@pytest.fixture(scope="module")
def service():
    command = [sys.executable, "-c", SERVICE]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield "127.0.0.1", int(process.stdout.readline())
        process.kill()


@contextlib.contextmanager
def clock_with(stuck_after):
    patches = TimePatches(VirtualClock(), stuck_after=stuck_after)
    patches.start()
    try:
        yield patches.clock
    finally:
        patches.stop()


@contextlib.asynccontextmanager
async def connection_beside_a_ticking_task(service):
    async def tick():
        while True:
            await asyncio.sleep(1)

    task = asyncio.create_task(tick())
    reader, writer = await asyncio.open_connection(*service)
    yield reader, writer
    task.cancel()
    writer.close()


@pytest.mark.slow
def test_a_request_of_a_task_in_flight_holds_time(service):
    async def main():
        async with connection_beside_a_ticking_task(service) as (reader, writer):
            for _ in range(2):
                writer.write(b"1.5\n")
                before = clock.elapsed
                # The wake-ups of a loop by other threads are no answer.
                waker = asyncio.create_task(asyncio.to_thread(sum, range(1000)))
                assert await asyncio.wait_for(reader.readline(), 60) == b"1.5\n"
                assert clock.elapsed == before
                await waker

    with clock_with(stuck_after=60) as clock:
        asyncio.run(main())


@pytest.mark.slow
def test_a_request_of_a_thread_in_flight_holds_time(service):
    with (
        clock_with(stuck_after=60) as clock,
        ticking_thread(1),
        socket.create_connection(service) as connection,
    ):
        for _ in range(2):
            connection.sendall(b"1.5\n")
            before = clock.elapsed
            assert connection.recv(100) == b"1.5\n"
            assert clock.elapsed == before
            time.sleep(5)


def test_a_task_that_only_listens_is_idle(service):
    async def main():
        async with connection_beside_a_ticking_task(service) as (reader, writer):
            writer.write(b"0\n")
            assert await reader.readline() == b"0\n"
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.readline(), 3600)

    # The answer to a request might take 300 real seconds here.
    with clock_with(stuck_after=600) as clock:
        asyncio.run(main())
        assert 3600 <= clock.elapsed <= 3610


def test_a_thread_that_only_listens_is_idle(service):
    with clock_with(stuck_after=600), socket.create_connection(service) as connection:
        connection.sendall(b"0\n")
        assert connection.recv(100) == b"0\n"
        listener = threading.Thread(target=connection.recv, args=(100,))
        listener.start()
        time.sleep(3600)
        connection.shutdown(socket.SHUT_RDWR)
        listener.join()


def test_a_service_that_never_answers_counts_as_idle_until_it_does(service):
    async def main():
        async with connection_beside_a_ticking_task(service) as (reader, writer):
            # Each of these would hold time for half a real second.
            for _ in range(200):
                writer.write(b"never\n")
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(reader.readline(), 30)
            assert clock.elapsed >= 200 * 30
            writer.write(b"0\n")
            assert await reader.readline() == b"0\n"

    with clock_with(stuck_after=1) as clock:
        asyncio.run(main())


class Slow(http.server.BaseHTTPRequestHandler):
    """It answers after as many seconds of the clock as the path says."""

    def do_GET(self):
        time.sleep(float(self.path[1:]))
        self.send_response(204)
        with contextlib.suppress(OSError):
            self.end_headers()

    def log_message(self, *args):
        pass


@pytest.mark.slow
@pytest.mark.parametrize(
    ("get", "late"),
    [(httpx.get, httpx.ReadTimeout), (requests.get, requests.ReadTimeout)],
)
def test_a_service_of_the_test_that_answers_too_late(get, late, clock):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever).start()
        try:
            url = f"http://127.0.0.1:{server.server_port}"
            assert get(f"{url}/3", timeout=5).status_code == 204
            before = clock.elapsed
            with pytest.raises(late):
                get(f"{url}/30", timeout=5)
            assert 5 <= clock.elapsed - before <= 5.6
        finally:
            server.shutdown()


def test_a_limit_of_trio_around_a_service(service):
    async def main():
        stream = await trio.open_tcp_stream(*service)
        with trio.fail_after(60):
            await stream.send_all(b"0.3\n")
            assert await stream.receive_some() == b"0.3\n"
        await stream.aclose()

    with clock_with(stuck_after=60) as clock:
        trio.run(main)
        assert clock.elapsed < 60
