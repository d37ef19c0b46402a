"""A loopback HTTP/1.1 server in front of a source: for other processes, and for other languages."""

from __future__ import annotations

import contextlib
import errno
import socket
import socketserver
import struct
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from pytest_indexjob.api.calls import TOKEN_VARIABLE, URL_VARIABLES
from pytest_indexjob.exchange import Request, Response, TransportFault
from pytest_indexjob.virtual_time.clock import VirtualClock

_LARGEST_BODY = 2 * 1024 * 1024
_BODILESS = (204, 304)


class LoopbackServer:
    """Serves what ``answer`` gives, on ``127.0.0.1``, until ``stop``.

    ``step_per_poll`` is how many seconds the ``clock`` moves before each GET, so that a client with
    a real clock sees progress. An answer's ``delay`` moves the clock and takes no real time. Raises
    ``OSError``, with the way out, where the port can't be had.
    """

    def __init__(
        self,
        answer: Callable[[Request], Response],
        *,
        clock: VirtualClock | None = None,
        port: int = 0,
        host: str = "127.0.0.1",
        step_per_poll: float = 0.0,
        token: str = "any-token",  # noqa: S107  # no secret: whatever is sent is good
        log: Callable[[Request, Response | None], object] | None = None,
    ) -> None:
        self.answer = answer
        self.clock = clock if clock is not None else VirtualClock()
        self.step_per_poll = step_per_poll
        self.token = token
        self.log = log
        self.stopping = threading.Event()
        self._server = _listening(host, port)
        self._server.owner = self
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """Where it is: ``http://127.0.0.1:PORT``."""
        return f"http://{self._server.server_address[0]!s}:{self.port}"

    @property
    def env(self) -> dict[str, str]:
        """The variables that point the known clients at it (the official Python client, doctl, Terraform)."""
        return {**dict.fromkeys(URL_VARIABLES, self.url), TOKEN_VARIABLE: self.token}

    def start(self) -> Self:
        """Serve, in a thread of its own."""
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.02},
            daemon=True,
            name="indexjob-server",
        )
        self._thread.start()
        return self

    def serve_forever(self) -> None:
        """Serve in this thread, until ``stop`` is called from another."""
        self._server.serve_forever(poll_interval=0.2)

    def stop(self) -> None:
        """Stop serving, and end the connections that are open."""
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._server.hang_up()
        if self._thread:
            self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    # On Windows it would let two servers have one port.
    allow_reuse_address = sys.platform != "win32"
    request_queue_size = 128
    owner: LoopbackServer

    def __init__(self, *args: Any) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(*args)

    def server_bind(self) -> None:
        # HTTPServer's own asks a name server for this machine's name.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        for connection in [*self._open]:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that hangs up is no news.
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def _listening(host: str, port: int) -> _Server:
    try:
        return _Server((host, port), _Handler)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            text = f"port {port} of {host} is in use: choose another, or 0 for any that is free"
        else:
            text = f"can't listen on port {port} of {host}: {error.strerror}"
        raise OSError(error.errno, text) from None
    except OverflowError:
        raise OSError(errno.EINVAL, f"{port} is no port: 0 to 65535") from None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    disable_nagle_algorithm = True
    wbufsize = -1  # one packet an answer

    def reply(self) -> None:
        owner = self.server.owner
        body = self._body()
        if body is None:
            return
        request = Request(self.command, owner.url + self.path, tuple(self.headers.items()), body)
        if request.method == "GET" and owner.step_per_poll:
            owner.clock.advance(owner.step_per_poll)
        try:
            response = owner.answer(request)
        except TransportFault as fault:
            self._log(request, None)
            self._fail(fault)
            return
        owner.clock.advance(response.delay)
        self._log(request, response)
        self._send(response)

    def __getattr__(self, name: str) -> Any:
        # The standard library looks for a method `do_X` and answers an unknown X with a page of
        # HTML.
        if name.startswith("do_"):
            return self.reply
        raise AttributeError(name)

    def _log(self, request: Request, response: Response | None) -> None:
        if self.server.owner.log:
            self.server.owner.log(request, response)

    def _send(self, response: Response) -> None:
        has_body = self.command != "HEAD" and response.status not in _BODILESS
        framing = ("content-length", "transfer-encoding", "connection")
        lines = [f"HTTP/1.1 {response.status} {response.phrase}"]
        lines += [
            f"{name}: {value}" for name, value in response.headers if name.lower() not in framing
        ]
        if response.status not in _BODILESS:  # RFC 9110: a 204 bears no Content-Length
            lines.append(f"Content-Length: {len(response.body)}")
        self.wfile.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace"))
        body = response.body if has_body else b""
        self.wfile.write(body if response.cut_after is None else body[: response.cut_after])
        if response.cut_after is not None:
            self._reset()

    def _fail(self, fault: TransportFault) -> None:
        """No answer. A listening server can't refuse one connection, so refusing is a reset."""
        if fault.kind == "timeout":
            # Until the client gives up, or the test ends.
            self.connection.setblocking(False)
            while not self.server.owner.stopping.wait(0.01) and not self._hung_up():
                pass
        self._reset()

    def _hung_up(self) -> bool:
        try:
            return not self.connection.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _reset(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.flush()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def _body(self) -> bytes | None:
        """The request's body, or ``None`` where it was refused."""
        if "chunked" in self.headers.get("transfer-encoding", "").lower():
            return self._chunks()
        length = self.headers.get("content-length") or "0"
        if not length.isascii() or not length.isdigit():
            return self._refuse("content-length is no number")
        if int(length) > _LARGEST_BODY:
            return self._refuse(f"the body is larger than {_LARGEST_BODY} bytes")
        if self.headers.get("expect", "").lower() == "100-continue":
            self.wfile.flush()
        return self.rfile.read(int(length))

    def _chunks(self) -> bytes | None:
        body = b""
        while True:
            size = self.rfile.readline(100).split(b";")[0].strip()
            try:
                length = int(size, 16)
            except ValueError:
                return self._refuse("a chunk has no size")
            if length < 0 or len(body) + length > _LARGEST_BODY:
                return self._refuse(f"the body is larger than {_LARGEST_BODY} bytes")
            body += self.rfile.read(length)
            self.rfile.readline(10)
            if not length:
                return body

    def _refuse(self, message: str) -> bytes | None:
        self.close_connection = True
        body = f'{{"id": "invalid_argument", "message": "{message}"}}'.encode()
        self._send(Response(400, (("Content-Type", "application/json"),), body))
        return None

    def log_message(self, *_: Any) -> None:
        """Nothing: ``log`` is for that."""
