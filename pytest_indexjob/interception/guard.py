"""The offline guard: in a test that uses the plugin, no connection leads off this machine unasked."""

from __future__ import annotations

import fnmatch
import ipaddress
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pytest_indexjob.api.errors import NetworkBlockedError
from pytest_indexjob.interception.clients import Patch
from pytest_indexjob.replacements import original

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pytest_indexjob.exchange import Journal


class Guard:
    """Stops every connection and name look-up but those to this machine and to the allowed hosts."""

    def __init__(self, journal: Journal, test: str, allowed_hosts: Iterable[str]) -> None:
        self._journal = journal
        self._test = test
        self._allowed = [host.lower() for host in allowed_hosts]
        self._addresses: set[str] = set()
        self._thread = threading.local()
        self._open = 0
        self.active = False

    def passing(self) -> bool:
        """Whether this thread may pass."""
        return getattr(self._thread, "passing", False)

    @contextmanager
    def let_pass(self) -> Iterator[None]:
        """Let this thread pass for a while."""
        self._thread.passing = True
        try:
            yield
        finally:
            self._thread.passing = False

    @contextmanager
    def let_all_pass(self) -> Iterator[None]:
        """Let every thread pass for a while: a call of an event loop is made in several."""
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

    def patches(self) -> Iterator[Patch]:
        """What has to be put in place for the guard to stand."""
        calls = {"connect": 0, "connect_ex": 0, "sendto": -1, "sendmsg": 3}
        for name, place in calls.items():
            if hasattr(socket.socket, name):  # `sendmsg` is not on every system
                call = self._checked_call(original(socket.socket, name), place)
                yield Patch(socket.socket, name, call)
        for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr"):
            yield Patch(socket, name, self._checked_look_up(original(socket, name)))

    def _checked_call(self, real: Callable[..., Any], place: int) -> Callable[..., Any]:
        def call(sock: socket.socket, *args: Any) -> Any:
            address = args[place] if len(args) > place else None
            if sock.family in (socket.AF_INET, socket.AF_INET6) and isinstance(address, tuple):
                self.check(address[0], address[1])
            return real(sock, *args)

        return call

    def _checked_look_up(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def look_up(host: Any, *args: Any, **kwargs: Any) -> Any:
            self.check(host, args[0] if args else kwargs.get("port"))
            found = real(host, *args, **kwargs)
            if isinstance(found, list) and self._is_named(host):
                self._addresses.update(str(entry[4][0]) for entry in found)
            return found

        return look_up

    def check(self, host: Any, port: Any) -> None:
        """Raise ``NetworkBlockedError``, and keep it as a miss, for a host that is out of bounds."""
        if (
            not self.active
            or self._open
            or self.passing()
            or host is None
            or _is_loopback(host)
            or self._is_named(host)
        ):
            return
        if host in self._addresses:
            return
        shown = host.decode("latin-1") if isinstance(host, bytes) else str(host)
        error = NetworkBlockedError(
            f"{self._test or 'a test'} tried to reach {shown}{f', port {port}' if port else ''}:"
            " nothing reaches the network in a test that uses pytest-indexjob. Answer the call"
            " from a recording (@pytest.mark.indexjob_cassette), run with --indexjob-live to reach"
            " the real service, or name the host in the ini key indexjob_allowed_hosts"
            f" (`indexjob_allowed_hosts = {shown}`)",
            host=shown,
            port=port if isinstance(port, int) else None,
            test=self._test,
        )
        self._journal.add_miss(error)
        raise error

    def _is_named(self, host: Any) -> bool:
        name = (
            (host.decode("latin-1") if isinstance(host, bytes) else str(host)).lower().rstrip(".")
        )
        return any(fnmatch.fnmatchcase(name, allowed) for allowed in self._allowed)


def _is_loopback(host: Any) -> bool:
    name = (host.decode("latin-1") if isinstance(host, bytes) else str(host)).lower()
    if name in ("", "localhost") or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified
