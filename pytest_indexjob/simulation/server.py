"""A loopback HTTP/1.1 server in front of a source: for other processes, and for other languages.

One thread a connection reads requests and writes answers (``http1`` knows how); what an answer
takes of the clock's time is spent here, since the clients have clocks of their own.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import socketserver
import struct
import sys
import threading
from collections.abc import Callable
from typing import Any, Self
from urllib.parse import urlsplit

from pytest_indexjob.api.calls import TOKEN_VARIABLE, URL_VARIABLES
from pytest_indexjob.exchange import Request, Response, TransportFault
from pytest_indexjob.http1 import MalformedRequestError, RequestReader, refusal, unchunked, written
from pytest_indexjob.simulation import control_access
from pytest_indexjob.virtual_time.clock import VirtualClock

_LARGEST_BODY = 2 * 1024 * 1024
_LONGEST_DISCARD = 0.5  # real seconds without a byte


class LoopbackServer:
    """Serves what ``answer`` gives, on ``127.0.0.1``, until ``stop``.

    ``step_per_poll`` is how many seconds the ``clock`` moves before each GET, so that a client with
    a real clock sees progress. An answer's ``delay`` takes no real time: for a client of this
    process it is a wait on the test's timeline, for others it moves the clock. With a ``token``,
    orders to the control API need it. Raises ``OSError``, with the way out, where the port can't be
    had.
    """

    def __init__(
        self,
        answer: Callable[[Request], Response],
        *,
        clock: VirtualClock | None = None,
        port: int = 0,
        host: str = "127.0.0.1",
        step_per_poll: float = 0.0,
        token: str | None = None,
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
        self.clock.served.add(self.port)
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
        """The variables that point known clients at it: Python's, doctl, Terraform."""
        # Without a token of its own the server takes any.
        token = "any-token" if self.token is None else self.token
        return {**dict.fromkeys(URL_VARIABLES, self.url), TOKEN_VARIABLE: token}

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
        self.clock.served.discard(self.port)
        self._server.hang_up()
        if self._thread:
            self._thread.join()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    # On Windows it would let two servers have one port.
    allow_reuse_address = sys.platform != "win32"
    request_queue_size = 128
    owner: LoopbackServer

    def __init__(self, *args: Any) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(*args)

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


def _check_target(request: Request) -> None:
    """Refuse a target that no one can take apart. Raises ``MalformedRequestError``."""
    try:
        urlsplit(request.url)
    except ValueError:
        raise MalformedRequestError("the target is no URL") from None


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
        raise OSError(errno.EINVAL, f"the port must be 0 to 65535, not {port}") from None


class _Handler(socketserver.StreamRequestHandler):
    server: _Server
    disable_nagle_algorithm = True
    wbufsize = -1  # one packet an answer

    def handle(self) -> None:
        """Answer the requests of one connection."""
        self._reader = reader = RequestReader(self.server.owner.url, largest_body=_LARGEST_BODY)
        try:
            while (request := self._next(reader)) is not None:
                if not self._reply(request) or reader.closes:
                    return
        except MalformedRequestError as error:
            self._send(refusal(error), "GET")
            self._discard()

    def _next(self, reader: RequestReader) -> Request | None:
        """The next request, or ``None`` where the client has hung up."""
        while (request := reader.next_request()) is None:
            if reader.wants_continue:
                self.connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            received = self.connection.recv(64 * 1024)
            if not received:
                return None
            reader.feed(received)
        _check_target(request)
        return request

    def _discard(self) -> None:
        """Read what the client still sends: a reset would take the answer away from it."""
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(_LONGEST_DISCARD)
            for _ in range(_LARGEST_BODY // 65536):
                if not self.connection.recv(65536):
                    return

    def _reply(self, request: Request) -> bool:
        """Answer a request; whether the connection goes on."""
        owner = self.server.owner
        try:
            with owner.clock.serving(self.connection, owner.stopping.is_set) as spend:
                return self._reply_in_time(request, spend)
        except TransportFault as fault:
            self._log(request, None)
            self._fail(fault)
            return False

    def _reply_in_time(self, request: Request, spend: Callable[[float], None]) -> bool:
        owner = self.server.owner
        if control_access.is_order(request):
            host, port = self.server.server_address[:2]
            refused = control_access.refusal(request, str(host), int(port), owner.token)
            if refused is not None:
                self._log(request, refused)
                self._send(refused, request.method)
                return True
        elif request.method == "GET" and owner.step_per_poll:
            owner.clock.advance(owner.step_per_poll)
        response = owner.answer(request)
        spend(response.delay)
        self._log(request, response)
        self._send(response, request.method)
        if response.cut_after is not None:
            self._reset()
        return response.cut_after is None

    def _log(self, request: Request, response: Response | None) -> None:
        if self.server.owner.log:
            self.server.owner.log(request, response)

    def _send(self, response: Response, method: str) -> None:
        if not self._reader.takes_chunks:
            response = unchunked(response)
        self.wfile.write(written(response, method))
        self.wfile.flush()

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
        with contextlib.suppress(OSError):
            self.wfile.flush()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
