"""Waits for files on the timeline: what selectors, ``select``, ``poll`` and ``epoll`` watch."""

from __future__ import annotations

import itertools
import math
import os
import select
import selectors
import socket
from collections.abc import Callable, Iterable
from multiprocessing.process import active_children
from types import SimpleNamespace
from typing import Any, Self

from pytest_indexjob.replacements import original
from pytest_indexjob.virtual_time.sockets import Sockets, is_pipe, linger, listening_ports
from pytest_indexjob.virtual_time.time_functions import REAL
from pytest_indexjob.virtual_time.timeline import BY_EVENT, PATIENCE, Timeline, Wait

# Taken at import, before they are replaced.
_real_poll = select.poll
_real_monotonic: Callable[[], float] = REAL["monotonic"]
_WHAT = "waits for a file in {}"


class SelectorWait(Wait):
    """A stand at a selector: files that become ready end it too."""

    __slots__ = ("_files", "_poll", "_read", "_write")

    def __init__(self, timeline: Timeline, until: float | None, what: str, files: Files) -> None:
        super().__init__(timeline, until, what, files.are_ready)
        self._files = files
        self._poll: Any = None

    def close(self) -> None:
        """Make the pipe by which the thread is woken; the system's own wait sees both."""
        self._read, self._write = os.pipe()
        self._poll = self._files.poll()
        self._poll.register(self._read, select.POLLIN)

    def open(self) -> None:
        """Let the thread look whether its wait has ended."""
        if self._poll is not None and self._write >= 0:
            os.write(self._write, b"x")

    def block(self, seconds: float) -> None:
        """Wait in the system for a file or the pipe."""
        ready = [file for file, _ in self._poll.poll(math.ceil(seconds * 1000))]
        if self._read in ready:
            os.read(self._read, 1)
            ready.remove(self._read)
        if ready:
            self.timeline.end(self, BY_EVENT)

    def holds(self) -> bool:
        """Whether something was heard from its files a short real while ago."""
        return self._files.hold()

    def forget(self) -> None:
        """Give the pipe back."""
        if self._poll is None:
            return
        with self.timeline.lock:
            read, write, self._write = self._read, self._write, -1
            os.close(read)
            os.close(write)


class Files:
    """What a selector watches, and when something was last heard of it."""

    def __init__(self, selector: Any, select_now: Callable[[], Any], sockets: Sockets) -> None:
        self._selector = selector
        self._select_now = select_now
        self._sockets = sockets
        self._own = _real_poll()
        self._is_deep = hasattr(selector, "fileno")
        if self._is_deep:
            self._own.register(selector.fileno(), select.POLLIN)
        self._known: frozenset[Any] = frozenset()
        # The files at whose other ends somebody works for the test, and how long each lingers.
        self._peers: dict[int, float] = {}
        self._held_until = -math.inf

    def are_ready(self) -> bool:
        """Whether a file has something to say, without taking it."""
        return bool(self._own.poll(0) if self._is_deep else self._select_now())

    def take(self) -> Any:
        """What the files have to say now, as the selector tells it."""
        # The poll of one file costs less than the selector's list of all.
        return self._select_now() if not self._is_deep or self._own.poll(0) else []

    def poll(self) -> Any:
        """An object of the system's that waits for all of them."""
        poll = _real_poll()
        if self._is_deep:
            poll.register(self._selector.fileno(), select.POLLIN)
            return poll
        for key in self._selector.get_map().values():
            read = select.POLLIN if key.events & selectors.EVENT_READ else 0
            write = select.POLLOUT if key.events & selectors.EVENT_WRITE else 0
            poll.register(key.fd, read | write)
        return poll

    def heard(self, files: Iterable[int]) -> None:
        """Something was heard: more may follow at once, from another process."""
        lingers = [self._peers[file] for file in files if file in self._peers]
        if lingers:
            self._held_until = _real_monotonic() + max(lingers)

    def look(self, patience: float, patience_with_pipes: float = 0.0) -> None:
        """See which files are there: a new one holds time for ``patience`` real seconds.

        The other end of a new pipe is a child process: it may have more patience.
        """
        files = self._selector.get_map()
        if len(files) <= 1 and not self._peers and len(files) == len(self._known):
            return
        # The number of a file that was closed is given to the next.
        known = frozenset((file, _inode(file)) for file in [*files])
        if known == self._known:
            return
        ports = listening_ports()
        self._peers = {
            key.fd: seconds
            for key in [*files.values()]
            if not _is_loops_own(key) and (seconds := linger(key.fd, ports)) is not None
        }
        new = [file for file, _ in known - self._known]
        # Who works in this process is seen to work.
        if any(self._peers.get(file) for file in new):
            if any(is_pipe(file) for file in new):
                patience = max(patience, patience_with_pipes)
            self._held_until = _real_monotonic() + patience
        self._known = known

    def add_peer(self, file: int) -> None:
        """Watch a file at whose other end a thread of the test works."""
        self._peers[file] = 0.0

    def hold(self) -> bool:
        """Whether the files are in use."""
        if not self._peers:
            return False
        if _real_monotonic() < self._held_until:
            return True
        return any(self._sockets.is_in_flight(file) for file in self._peers)


def _is_loops_own(key: Any) -> bool:
    """Whether a file is the pipe by which an asyncio loop wakes itself."""
    reader = key.data[0] if isinstance(key.data, tuple) and key.data else None
    return getattr(getattr(reader, "_callback", None), "__name__", "") == "_read_from_self"


def stand_at_files(timeline: Timeline, files: Files, timeout: float | None, what: str) -> bool:
    """Stand until a file has something to say. Returns false if the time-out came."""
    until = None if timeout is None else timeline.moment_in(timeout)
    wait = SelectorWait(timeline, until, what, files)
    try:
        return timeline.stand(wait)
    finally:
        wait.forget()


def patience_with_children(timeline: Timeline, timeout: float | None) -> float:
    """How long a wait for a pipe holds time, in real seconds: as long as in reality, if one lives.

    A child's silence is believed after half of ``stuck_after``.
    """
    if not active_children():
        return PATIENCE
    longest = timeline.stuck_after / 2
    return longest if timeout is None else min(timeout, longest)


def virtual_select(timeline: Timeline, real: Any, moved: Callable[[], object]) -> Any:
    """``select.select`` whose time-out is on the timeline."""
    known: dict[Any, Files] = {}

    def select_files(*args: Any) -> Any:
        *lists, timeout = args if len(args) == 4 else (*args, None)
        is_limit = isinstance(timeout, (int, float)) and timeout > 0
        if len(lists) != 3 or not (timeout is None or is_limit) or not timeline.participates():
            return real(*args)
        lists = [[*files] for files in lists]
        result = real(*lists, 0)
        if any(result):
            return result
        selector = selectors.PollSelector()
        for file in {_number(file) for files in lists for file in files}:
            wanted = [any(_number(each) == file for each in files) for files in lists]
            is_read, is_written = wanted[0] or wanted[2], wanted[1]
            read = selectors.EVENT_READ if is_read else 0
            selector.register(file, read | (selectors.EVENT_WRITE if is_written else 0))
        key = frozenset(
            (each.fd, each.events, _inode(each.fd)) for each in selector.get_map().values()
        )
        files = Files(selector, lambda: any(real(*lists, 0)), timeline.sockets)
        files = known.setdefault(key, files)
        files.look(patience_with_children(timeline, timeout))
        if not stand_at_files(timeline, files, timeout, _WHAT.format("select.select")):
            moved()
        result = real(*lists, 0)
        files.heard(map(_number, itertools.chain(*result)))
        return result

    return select_files


def _number(file: Any) -> int:
    return file if isinstance(file, int) else int(file.fileno())


def _inode(file: int) -> tuple[int, int]:
    try:
        found = os.fstat(file)
    except OSError:
        return 0, 0
    return found.st_dev, found.st_ino


class _Polled:
    """An object as ``select.poll`` or ``select.epoll`` makes it, whose waits are on the timeline.

    ``a_second`` is its unit of time. ``moved()`` is called after a wait that ended by time.
    """

    def __init__(
        self, timeline: Timeline, real: Any, a_second: int, moved: Callable[[], object]
    ) -> None:
        self._timeline = timeline
        self._real = real
        self._a_second = a_second
        self._moved = moved
        self._masks: dict[int, int] = {}
        if hasattr(real, "fileno"):
            self.fileno = real.fileno
        self._files = Files(self, lambda: real.poll(0), timeline.sockets)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def __enter__(self) -> Self:
        self._real.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._real.__exit__(*error)

    def register(self, file: Any, *mask: int, **named: int) -> None:
        """Watch a file."""
        self._real.register(file, *mask, **named)
        events = [*mask, *named.values(), select.POLLIN | select.POLLPRI | select.POLLOUT]
        self._masks[_number(file)] = events[0]

    def modify(self, file: Any, mask: int) -> None:
        """Watch a file for something else."""
        self._real.modify(file, mask)
        self._masks[_number(file)] = mask

    def unregister(self, file: Any) -> None:
        """Watch a file no more."""
        self._masks.pop(_number(file), None)
        self._real.unregister(file)

    def get_map(self) -> dict[int, Any]:
        """What is watched, as a selector tells it."""
        return {
            file: SimpleNamespace(
                fd=file,
                data=None,
                events=(selectors.EVENT_READ if mask & (select.POLLIN | select.POLLPRI) else 0)
                | (selectors.EVENT_WRITE if mask & select.POLLOUT else 0),
            )
            for file, mask in self._masks.items()
        }

    def poll(self, timeout: float | None = None, *most: int) -> Any:
        """Wait for the files; no time-out, or a negative one, is none."""
        if timeout == 0 or not self._timeline.participates():
            return self._real.poll(timeout, *most)
        found = self._real.poll(0, *most)
        if not found:
            is_endless = timeout is None or timeout < 0
            seconds = None if is_endless else (timeout or 0.0) / self._a_second
            self._files.look(patience_with_children(self._timeline, seconds))
            what = _WHAT.format("poll or epoll")
            if not stand_at_files(self._timeline, self._files, seconds, what):
                self._moved()
            found = self._real.poll(0, *most)
        self._files.heard(file for file, _ in found)
        return found


def virtual_poll(timeline: Timeline, real: Any, moved: Callable[[], object]) -> Any:
    """``select.poll`` whose objects' time-outs, in milliseconds, are on the timeline."""
    return lambda: _Polled(timeline, real(), 1000, moved)


class VirtualEpoll(_Polled):
    """An object as ``select.epoll`` makes it, whose waits are on the timeline."""

    def __init__(self, timeline: Timeline, real: Any, moved: Callable[[], object]) -> None:
        super().__init__(timeline, real, 1, moved)


def socket_time_outs(
    timeline: Timeline, moved: Callable[[], object]
) -> Callable[[socket.socket], bool]:
    """What waits for a blocking socket on the timeline: true where it may be read in time."""
    select_now = original(selectors.PollSelector, "select")

    def wait(sock: socket.socket) -> bool:
        if not timeline.participates():
            return True
        selector = selectors.PollSelector()
        selector.register(sock, selectors.EVENT_READ)
        files = Files(selector, lambda: select_now(selector, 0), timeline.sockets)
        files.add_peer(sock.fileno())
        if files.are_ready() or stand_at_files(
            timeline, files, sock.gettimeout(), "waits for a socket"
        ):
            return True
        moved()
        return False

    return wait
