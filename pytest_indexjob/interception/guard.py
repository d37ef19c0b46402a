"""The offline guard: no connection of a test that uses the plugin leads off this machine.

It stands at Python's sockets. A name is checked before it is looked up, an address before it is
connected to, the other end of a connection from before the test as it is used, and the host that a
proxy on this machine is asked for before the proxy hears of it.

These are patches of the module ``socket``. Code that has a function of it by a name of its own, or
a class of sockets beside that module's, as gevent has, is stopped by an audit hook, which Python
calls from within.
"""

from __future__ import annotations

import fnmatch
import ipaddress
import socket
import sys
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from pytest_indexjob.api.calls import API_URL
from pytest_indexjob.api.errors import NetworkBlockedError
from pytest_indexjob.interception import child_processes
from pytest_indexjob.interception.forward_proxies import ProxyRequests
from pytest_indexjob.replacements import Patch, original

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pytest_indexjob.exchange import Journal

# Not a client, but what stands in the place of one.
VCRPY = "vcrpy"
_TWO_PLAYERS = (
    "vcrpy (pytest-recording's mark `vcr`) stands in front of pytest-indexjob's fixtures, and only"
    " one of the two can answer a test: take the mark or the fixtures away"
)
_API_HOST = urlsplit(API_URL).hostname
_SENDMSG = 3  # which argument of `sendmsg` is an address
_INTERNET = (socket.AF_INET, socket.AF_INET6)
# What else leaves a machine: frames of a wire, a radio, the host of a virtual machine.
_WIRES = ("AF_BLUETOOTH", "AF_PACKET", "AF_TIPC", "AF_VSOCK")
_LEAVING = frozenset((*_INTERNET, *(getattr(socket, name, None) for name in _WIRES)))
_PASSING = ContextVar("indexjob_passing", default=False)


class Guard:
    """Stops what leads elsewhere than to this machine and to the allowed hosts."""

    def __init__(self, journal: Journal, test: str, allowed_hosts: Iterable[str]) -> None:
        self._journal = journal
        self._test = test
        self._allowed = [host.lower() for host in allowed_hosts]
        self._addresses: set[str] = set()
        # Numbers of files. One from before the test is not given to another while it is open.
        self._connected: set[int] = set()
        self._looked_at: set[int] = set()
        self._sent: WeakKeyDictionary[Any, ProxyRequests] = WeakKeyDictionary()
        self._open = 0
        self.active = False

    def start(self) -> None:
        """Stop what is out of bounds from now on."""
        self.active = True
        if not _STANDING:
            _hear_audits()
        _STANDING.append(self)

    def stop(self) -> None:
        """Let everything pass."""
        self.active = False
        if self in _STANDING:
            _STANDING.remove(self)

    def passing(self) -> bool:
        """Whether this thread, or this task, may pass."""
        return _PASSING.get()

    @contextmanager
    def let_pass(self) -> Iterator[None]:
        """Let this thread, or this task, pass for a while."""
        token = _PASSING.set(True)
        try:
            yield
        finally:
            _PASSING.reset(token)

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
        calls = {"connect": 0, "connect_ex": 0, "sendto": -1, "sendmsg": _SENDMSG}
        for name, place in calls.items():
            if hasattr(socket.socket, name):  # `sendmsg` is not on every system
                call = self._checked_call(original(socket.socket, name), place)
                yield Patch(socket.socket, name, call)
        for name in ("send", "sendall"):
            yield Patch(socket.socket, name, self._checked_send(original(socket.socket, name)))
        tls = sys.modules.get("ssl")
        if tls is not None:
            for owner, name in (
                (tls.SSLSocket, "send"),
                (tls.SSLSocket, "write"),
                (tls.SSLObject, "write"),
            ):
                yield Patch(owner, name, self._checked_send(original(owner, name)))
        yield Patch(socket.socket, "bind", self._checked_bind(original(socket.socket, "bind")))
        yield Patch(socket, "getnameinfo", self._checked_name(original(socket, "getnameinfo")))
        for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr"):
            yield Patch(socket, name, self._checked_look_up(original(socket, name)))

    def _checked_call(self, real: Callable[..., Any], place: int) -> Callable[..., Any]:
        def call(sock: socket.socket, *args: Any) -> Any:
            address = args[place] if len(args) > place else None
            if sock.family in _INTERNET and isinstance(address, tuple):
                self.check(address[0], address[1])
                self.note_connected(sock.fileno())
                if self.active and _is_under_localhost(address[0]):
                    at = place % len(args)
                    here = ("localhost", *address[1:])
                    args = (*args[:at], here, *args[at + 1 :])
            elif address is None and place == _SENDMSG:
                self._check_sent(sock, b"".join(map(bytes, args[0])))
            return real(sock, *args)

        return call

    def _checked_send(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def send(sock: Any, data: Any, *args: Any) -> Any:
            self._check_sent(sock, data)
            return real(sock, data, *args)

        return send

    def _check_sent(self, sock: Any, data: Any) -> None:
        if not self.active or self._open or self.passing():
            return
        if isinstance(sock, socket.socket):
            self._check_other_end(sock)
        sent = self._sent.get(sock)
        if sent is None:
            sent = self._sent[sock] = ProxyRequests()
        sent.feed(data)
        for host, port in sent.hosts:
            self.check(host, port)

    def _check_other_end(self, sock: socket.socket) -> None:
        file = sock.fileno()
        if file in self._connected or file in self._looked_at or sock.family not in _INTERNET:
            return
        try:
            address = sock.getpeername()
        except OSError:  # not connected
            return
        self.check(address[0], address[1])
        self._looked_at.add(file)

    def note_connected(self, file: int) -> None:
        """Keep that the socket of this file number was connected in the test."""
        self._connected.add(file)

    def leads_astray(self, sock: Any, host: Any) -> bool:
        """Whether a connection was made before the test, to a host that is out of bounds."""
        return (
            self.active
            and getattr(sock, "family", None) in _INTERNET
            and sock.fileno() not in self._connected
            and not self._permits(host)
        )

    def _checked_bind(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def bind(sock: socket.socket, address: Any) -> Any:
            # An address of this machine needs no look-up; whether it is one, bind itself says.
            if isinstance(address, tuple) and not _is_address(address[0]):
                self.check(address[0], address[1])
            return real(sock, address)

        return bind

    def _checked_name(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def getnameinfo(address: Any, flags: int) -> Any:
            # Python's audit does not tell the flags: an address as it is asks nobody.
            if flags & socket.NI_NUMERICHOST and _is_address(address[0]):
                with self.let_pass():
                    return real(address, flags)
            self.check(address[0], address[1])
            return real(address, flags)

        return getnameinfo

    def _checked_look_up(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def look_up(host: Any, *args: Any, **kwargs: Any) -> Any:
            self.check(host, args[0] if args else kwargs.get("port"))
            if self.active and _is_under_localhost(host):
                host = "localhost"
            found = real(host, *args, **kwargs)
            if self._is_named(host):
                self._addresses.update(_addresses_in(found))
            return found

        return look_up

    def check(self, host: Any, port: Any, *, client: str = "") -> None:
        """Raise ``NetworkBlockedError``, and keep it as a miss, for a host that is out of bounds.

        ``client`` names one that can't be answered in this process.
        """
        if not self.active or self._permits(host):
            return
        shown = _text(host)
        error = NetworkBlockedError(
            f"{self._test or 'a test'} tried to reach {shown}{f', port {port}' if port else ''}:"
            " nothing reaches the network in a test that uses pytest-indexjob."
            f" {_TWO_PLAYERS if client == VCRPY else _way_out(shown) + _advice(client)}",
            host=shown,
            port=port if isinstance(port, int) else None,
            test=self._test,
        )
        self._journal.add_miss(error)
        raise error

    def _permits(self, host: Any) -> bool:
        return bool(
            self._open
            or self.passing()
            or host is None
            or _is_loopback(host)
            or self._is_named(host)
            or _name(host) in self._addresses
        )

    def _is_named(self, host: Any) -> bool:
        return any(fnmatch.fnmatchcase(_name(host), allowed) for allowed in self._allowed)


# What the audit hook asks. It can't be taken away, so there is one for a whole process, even where
# this module is imported again.
_STANDING: list[Guard] = vars(sys).setdefault("_pytest_indexjob_guards", [])


def _hear_audits() -> None:
    if not hasattr(sys, "_pytest_indexjob_hears"):
        vars(sys)["_pytest_indexjob_hears"] = True
        sys.addaudithook(_audit)


def _audit(event: str, args: tuple[Any, ...]) -> None:
    """Called by Python before it does what ``event`` says."""
    if event in _AUDITED and _STANDING:
        for guard in tuple(_STANDING):
            _AUDITED[event](guard, *args)


def _check_address(guard: Guard, sock: Any, address: Any) -> None:
    if isinstance(address, tuple) and sock.family in _LEAVING:
        guard.check(address[0], address[1])


def _check_bind(guard: Guard, sock: Any, address: Any) -> None:
    # What is bound to a wire sends to it without another address.
    if sock.family not in _INTERNET:
        _check_address(guard, sock, address)


def _check_name_of(guard: Guard, address: Any) -> None:
    guard.check(address[0], address[1])


def _check_name(guard: Guard, host: Any, port: Any = None, *_: Any) -> None:
    guard.check(host, port)


def _check_command(guard: Guard, command: Any) -> None:
    child_processes.check(guard, command, None)


def _check_program(guard: Guard, path: Any, command: Any, *rest: Any) -> None:
    # Before the environment, ``subprocess.Popen`` has the folder.
    child_processes.check(guard, command, rest[-1], path)


_AUDITED: dict[str, Callable[..., None]] = {
    "socket.connect": _check_address,
    "socket.sendto": _check_address,
    "socket.sendmsg": _check_address,
    "socket.bind": _check_bind,
    "socket.getaddrinfo": _check_name,
    "socket.gethostbyname": _check_name,
    "socket.gethostbyaddr": _check_name,
    "socket.getnameinfo": _check_name_of,
    "subprocess.Popen": _check_program,
    "os.posix_spawn": _check_program,
    "os.exec": _check_program,
    "os.system": _check_command,
}


def _addresses_in(found: Any) -> list[str]:
    """The addresses in what any of the look-ups gave."""
    if isinstance(found, str):
        return [found]
    if isinstance(found, tuple):  # name, aliases, addresses
        return [*found[2]]
    return [str(entry[4][0]) for entry in found]


def _way_out(host: str) -> str:
    if _name(host) == _API_HOST:
        # Not by the ini key: calls would reach the real service in every run, and cost money.
        return (
            "Answer the call from a recording (@pytest.mark.indexjob_cassette) or by the simulator"
            " (indexjob_simulator), or run with --indexjob-live to reach the real service"
        )
    return (
        "Answer the call by a mock of that host, or name the host in the ini key"
        f" indexjob_allowed_hosts (`indexjob_allowed_hosts = {host}`)"
    )


def _advice(client: str) -> str:
    if not client:
        return ""
    return (
        f". pytest-indexjob can't answer {client} in this process: let {client} send its requests"
        " to the fixture indexjob_server (its `url`)"
    )


def _is_loopback(host: Any) -> bool:
    if _name(host) in ("", "localhost") or _is_under_localhost(host):
        return True
    if not _is_address(host):
        return False
    address = ipaddress.ip_address(_name(host))
    return address.is_loopback or address.is_unspecified


def _is_under_localhost(host: Any) -> bool:
    """Whether RFC 6761 gives a name to this machine, though a resolver may ask the network."""
    return _name(host).endswith(".localhost")


def _is_address(host: Any) -> bool:
    try:
        # Only IPv6 has scopes: a resolver takes `127.0.0.1%x` for a name and asks for it.
        ipaddress.ip_address(_name(host))
    except ValueError:
        return _name(host) == ""
    return True


def _name(host: Any) -> str:
    return _text(host).lower().rstrip(".")


def _text(host: Any) -> str:
    return host.decode("latin-1") if isinstance(host, bytes | bytearray) else str(host)
