"""What is said and heard on sockets: a request in flight holds time still, an idle one does not."""

from __future__ import annotations

import _thread
import contextlib
import functools
import os
import socket
import stat
import sys
import weakref
from collections.abc import Callable, Iterator
from multiprocessing.process import active_children
from pathlib import Path
from typing import Any

from pytest_indexjob.replacements import original
from pytest_indexjob.virtual_time.time_functions import REAL

# How long after one packet of another process the next may be on its way, in real seconds.
LINGER = 0.05
_SAYS = ("send", "sendall", "sendmsg")
_HEARS = ("recv", "recv_into", "recvfrom", "recvfrom_into", "recvmsg")
_OUR_SERVER = "pytest_indexjob.simulation.server"
_real_monotonic: Callable[[], float] = REAL["monotonic"]


class _Talk:
    """One socket: when something was last said on it that has no answer yet."""

    __slots__ = ("is_silent", "patience", "said_at", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = weakref.ref(sock)
        self.said_at: float | None = None
        # It let a whole patience run out, and has said nothing since.
        self.is_silent = False
        self.patience: float | None = None


class Sockets:
    """Which sockets have said something and await an answer, and which threads wait for it.

    A request in flight is work of another process. It holds time for ``patience`` real seconds.
    What stays silent for so long counts as idle until something is heard of it. A service in this
    process is seen to work, so its silence is believed after ``inside_patience`` real seconds.
    """

    def __init__(self, patience: float, inside_patience: float) -> None:
        self.patience = patience
        self._inside_patience = inside_patience
        self._talks: dict[int, _Talk] = {}
        self._hearing: dict[int, _Talk] = {}
        # Called before a thread waits in a socket in real time.
        self.on_real_wait: Callable[[], None] = lambda: None
        # The addresses at which threads of the test listen, or the simulator's server for it.
        self.served: set[Any] = set()

    def patches(
        self, participates: Callable[[], bool], wait: Callable[[socket.socket], bool]
    ) -> Iterator[tuple[Any, str, Any]]:
        """What to put in the place of sockets' methods.

        ``participates()`` tells whether the calling thread is on the timeline; ``wait(socket)``
        waits there until the socket may be read, and returns false if its time-out came.
        """
        yield socket.socket, "listen", self._listen(original(socket.socket, "listen"), participates)
        yield socket.socket, "accept", self._accept(original(socket.socket, "accept"), wait)
        tls = sys.modules.get("ssl")
        for owner in (socket.socket, tls.SSLSocket) if tls else (socket.socket,):
            for name in _SAYS:
                if hasattr(owner, name):
                    yield owner, name, self._say(original(owner, name))
            for name in _HEARS:
                if hasattr(owner, name):
                    yield owner, name, self._hear(original(owner, name), participates, wait)

    def is_in_flight(self, file: int) -> bool:
        """Whether an answer may be on its way to a file."""
        talk = self._talks.get(file)
        return talk is not None and self._awaits_answer(talk)

    def has_thread_in_flight(self, ident: int) -> bool:
        """Whether a thread waits in a socket for an answer that may be on its way."""
        talk = self._hearing.get(ident)
        return talk is not None and self._awaits_answer(talk)

    def _awaits_answer(self, talk: _Talk) -> bool:
        if talk.said_at is None or talk.is_silent:
            return False
        sock = talk.sock()
        if sock is None or sock.fileno() < 0:
            return False
        if talk.patience is None:
            talk.patience = self._patience_with(sock)
        if _real_monotonic() - talk.said_at < talk.patience:
            return True
        talk.is_silent = True
        return False

    def _patience_with(self, sock: socket.socket) -> float:
        rest = linger(sock.fileno(), listening_ports())
        if rest is None:
            return 0.0
        return self.patience if rest else self._inside_patience

    def _talk(self, sock: socket.socket) -> _Talk:
        file = sock.fileno()
        talk = self._talks.get(file)
        # The number of a file that was closed is given to the next.
        if talk is None or talk.sock() is not sock:
            talk = self._talks[file] = _Talk(sock)
        return talk

    def is_from_here(self, connection: socket.socket) -> bool:
        """Whether a socket of this process is at the other end of a server's connection."""
        return self._other_end(connection) is not None

    def arrived(self, connection: socket.socket) -> None:
        """What was said to a server's connection is no longer in flight: it is worked on."""
        talk = self._other_end(connection)
        if talk is not None:
            talk.said_at = None

    def _other_end(self, connection: socket.socket) -> _Talk | None:
        with contextlib.suppress(OSError):
            peer = connection.getpeername()
            for talk in self._talks.copy().values():
                sock = talk.sock()
                if sock is not None and sock.fileno() >= 0 and sock.getsockname() == peer:
                    return talk
        return None

    def _say(self, real: Any) -> Any:
        @functools.wraps(real)
        def say(sock: socket.socket, *args: Any, **kwargs: Any) -> Any:
            # Before it is said: the other end may be quick to hear it.
            self._talk(sock).said_at = _real_monotonic()
            return real(sock, *args, **kwargs)

        return say

    def _listen(self, real: Any, participates: Callable[[], bool]) -> Any:
        @functools.wraps(real)
        def listen(sock: socket.socket, *args: Any) -> None:
            real(sock, *args)
            # The simulator's server may have a clock of its own. If not, that clock knows it.
            if participates() and not is_in(sys._getframe(1), _OUR_SERVER):
                self.served.add(_name(sock.getsockname()))

        return listen

    def _is_served(self, sock: socket.socket) -> bool:
        """Whether a thread of the test works at the other end."""
        try:
            peer = sock.getpeername()
        except OSError:
            return False
        # A pair of sockets has no address, and a child process may have the other end.
        is_pair = not peer and sock.family == socket.AF_UNIX
        return not active_children() if is_pair else _name(peer) in self.served

    def _accept(self, real: Any, wait: Callable[[socket.socket], bool]) -> Any:
        @functools.wraps(real)
        def accept(sock: socket.socket) -> Any:
            if sock.gettimeout() and not wait(sock):
                raise TimeoutError("timed out")
            self.on_real_wait()
            return real(sock)

        return accept

    def _hear(
        self, real: Any, participates: Callable[[], bool], wait: Callable[[socket.socket], bool]
    ) -> Any:
        @functools.wraps(real)
        def hear(sock: socket.socket, *args: Any, **kwargs: Any) -> Any:
            if sock.gettimeout() and self._is_served(sock) and not wait(sock):
                raise TimeoutError("timed out")
            self.on_real_wait()
            ident, talk = _thread.get_ident(), self._talk(sock)
            self._hearing[ident] = talk
            try:
                result = real(sock, *args, **kwargs)
            finally:
                self._hearing.pop(ident, None)
            talk.said_at = None
            talk.is_silent = False
            # The thread of a server, which is seen to work for what it heard.
            if result and participates() and self._is_servers(sock):
                self.arrived(sock)
            return result

        return hear

    def _is_servers(self, sock: socket.socket) -> bool:
        try:
            return _name(sock.getsockname()) in self.served
        except OSError:
            return False


def linger(file: int, ports: frozenset[int]) -> float | None:
    """How many real seconds after one thing was heard more may follow, or ``None`` for never.

    It is never where nobody at the other end works for the test: a socket that listens, a
    connection that this process serves. A service in this process is seen to work.
    """
    with _socket_at(file) as copy:
        if copy is None:
            return LINGER
        if _listens(copy) or _port(copy.getsockname()) in ports:
            return None
        try:
            peer = copy.getpeername()
            is_inside = _port(peer) in ports or (not peer and not active_children())
            return 0.0 if is_inside else LINGER
        except OSError:  # not yet connected
            return LINGER


@contextlib.contextmanager
def _socket_at(file: int) -> Iterator[socket.socket | None]:
    try:
        is_socket = stat.S_ISSOCK(os.fstat(file).st_mode)
        copy = socket.socket(fileno=os.dup(file)) if is_socket else None
    except OSError:
        copy = None
    with copy or contextlib.nullcontext():
        yield copy


def _listens(copy: socket.socket) -> bool:
    try:
        return bool(copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:
        return False


def is_in(frame: Any, module: str) -> bool:
    """Whether a frame was called, at whatever distance, by a module."""
    while frame is not None and frame.f_globals.get("__name__") != module:
        frame = frame.f_back
    return frame is not None


def is_pipe(file: int) -> bool:
    """Whether a file is a pipe."""
    try:
        return stat.S_ISFIFO(os.fstat(file).st_mode)
    except OSError:
        return False


def _name(address: Any) -> Any:
    """By what a server's address is known: the port, or the path of a socket of Unix."""
    return _port(address) or address


def _port(address: Any) -> int | None:
    return address[1] if isinstance(address, tuple) else None


def listening_ports() -> frozenset[int]:
    """The ports at which this process listens, as far as the system tells."""
    ports = set()
    with contextlib.suppress(OSError):
        for file in Path("/proc/self/fd").iterdir():
            with _socket_at(int(file.name)) as copy:
                if copy is not None and _listens(copy):
                    ports.add(_port(copy.getsockname()))
    return frozenset(port for port in ports if port)
