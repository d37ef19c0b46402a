"""Clients that nothing answers in this process: the guard stands at their own entries.

They do not use Python's sockets (uvloop, curl_cffi, pycurl, primp, grpc, pycares), or use them in a
way of their own (tornado, niquests with urllib3-future). Each request of theirs off this machine is
refused, in words that name the client and the loopback server. That server itself is always in
reach. Requests by aiohttp or httpx in a loop of uvloop are answered all the same, as they need no
connection.
"""

from __future__ import annotations

import functools
import socket
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pytest_indexjob.interception import child_processes
from pytest_indexjob.replacements import Patch, original

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from pytest_indexjob.interception.guard import Guard
    from pytest_indexjob.interception.interception import Interception


def uvloop_patches(interception: Interception, uvloop: ModuleType) -> Iterator[Patch]:
    """Those of uvloop's loops: connections and look-ups."""
    guard = interception.guard

    def host_and_port(_protocol: Any, host: Any = None, port: Any = None, **_: Any) -> Any:
        return host, port

    def remote(_protocol: Any, _local: Any = None, remote_addr: Any = None, **_: Any) -> Any:
        return remote_addr or (None, None)

    destinations: dict[str, Callable[..., tuple[Any, Any]]] = {
        "create_connection": host_and_port,
        "create_datagram_endpoint": remote,
        "getaddrinfo": lambda host, port, **_: (host, port),
        "sock_connect": lambda _sock, address: (
            address[:2] if isinstance(address, tuple) else (None, None)
        ),
    }
    for name, destination in destinations.items():
        real = original(uvloop.Loop, name)
        yield Patch(uvloop.Loop, name, _checked_method(guard, "uvloop", real, destination))
    for name in ("subprocess_exec", "subprocess_shell"):
        yield Patch(uvloop.Loop, name, _checked_child(guard, original(uvloop.Loop, name)))


def _checked_child(guard: Guard, real: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(real)
    def subprocess(self: Any, protocol_factory: Any, *command: Any, **options: Any) -> Any:
        words = command[0] if len(command) == 1 else command
        child_processes.check(guard, words, options.get("env"))
        return real(self, protocol_factory, *command, **options)

    return subprocess


def _checked_method(
    guard: Guard,
    client: str,
    real: Callable[..., Any],
    destination: Callable[..., tuple[Any, Any]],
) -> Callable[..., Any]:
    @functools.wraps(real)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        host, port = destination(*args, **kwargs)
        guard.check(host, port, client=client)
        if args and isinstance(args[0], socket.socket):  # `sock_connect` does so without Python
            guard.note_connected(args[0].fileno())
        return real(self, *args, **kwargs)

    return method


def curl_cffi_patches(interception: Interception, module: ModuleType) -> Iterator[Patch]:
    """That of curl_cffi's handles: each is told its URL before it asks."""
    yield _checked_url(interception.guard, "curl_cffi", module.Curl, module.CurlOpt.URL)


def _checked_url(guard: Guard, client: str, curl: Any, url_option: Any) -> Patch:
    real = original(curl, "setopt")

    def setopt(self: Any, option: Any, value: Any, *args: Any) -> Any:
        if option == url_option:
            guard.check(*_authority(value), client=client)
        return real(self, option, value, *args)

    return Patch(curl, "setopt", setopt)


def pycurl_patches(interception: Interception, pycurl: ModuleType) -> Iterator[Patch]:
    """Those of pycurl's handles.

    The class is C, so a class that descends from it takes its place, under each name that a module
    has for it. A handle that was made before the test stays what it is.
    """
    real = original(pycurl, "Curl")

    class Curl(real):  # type: ignore[misc, valid-type]
        def setopt(self, option: Any, value: Any) -> Any:
            if option == pycurl.URL:
                interception.guard.check(*_authority(value), client="pycurl")
            return super().setopt(option, value)

        def setopt_string(self, option: Any, value: Any) -> Any:
            if option == pycurl.URL:
                interception.guard.check(*_authority(value), client="pycurl")
            return super().setopt_string(option, value)

    yield from _patch_names(real, Curl)


def _patch_names(real: Any, replacement: Any) -> Iterator[Patch]:
    """A patch for each name that a module has for a class or a function of C."""
    for module in [*sys.modules.values()]:
        for name, value in dict(getattr(module, "__dict__", {})).items():
            if value is real:
                yield Patch(module, name, replacement)


_PRIMP_METHODS = ("get", "head", "options", "delete", "post", "put", "patch")


def primp_patches(interception: Interception, primp: ModuleType) -> Iterator[Patch]:
    """Those of primp's clients, and of its functions under each name that a module has for them."""
    guard = interception.guard

    def of_method(_method: Any, url: Any = "", *_: Any, **__: Any) -> tuple[Any, Any]:
        return _authority(url)

    def of_url(url: Any = "", *_: Any, **__: Any) -> tuple[Any, Any]:
        return _authority(url)

    destinations: dict[str, Callable[..., tuple[Any, Any]]]
    destinations = {"request": of_method, **dict.fromkeys(_PRIMP_METHODS, of_url)}
    for name, destination in destinations.items():
        for client in (primp.Client, primp.AsyncClient):
            yield Patch(client, name, _primp_method(guard, original(client, name), destination))
        real = getattr(primp, name)
        function = _checked_function(guard, "primp", real, destination)
        yield from _patch_names(real, function)


def _primp_method(
    guard: Guard, real: Callable[..., Any], destination: Callable[..., tuple[Any, Any]]
) -> Callable[..., Any]:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        host, port = destination(*args, **kwargs)
        base = getattr(self, "base_url", None)
        if base:
            guard.check(*_authority(base), client="primp")
        if host or not base:
            guard.check(host, port, client="primp")
        return real(self, *args, **kwargs)

    return method


def _checked_function(
    guard: Guard,
    client: str,
    real: Callable[..., Any],
    destination: Callable[..., tuple[Any, Any]],
) -> Callable[..., Any]:
    def function(*args: Any, **kwargs: Any) -> Any:
        host, port = destination(*args, **kwargs)
        guard.check(host, port, client=client)
        return real(*args, **kwargs)

    return function


def pycares_patches(interception: Interception, pycares: ModuleType) -> Iterator[Patch]:
    """Those of c-ares, by which aiodns, and so aiohttp, looks names up."""

    def name_of(name: Any = None, *_: Any, **__: Any) -> tuple[Any, Any]:
        return (name[0] if isinstance(name, tuple) else name), None

    names = ("getaddrinfo", "gethostbyname", "gethostbyaddr", "getnameinfo", "query", "search")
    for name in names:
        if hasattr(pycares.Channel, name):
            real = original(pycares.Channel, name)
            check = _checked_method(interception.guard, "pycares", real, name_of)
            yield Patch(pycares.Channel, name, check)


def grpc_patches(interception: Interception, module: ModuleType) -> Iterator[Patch]:
    """Those of channels as they are made, and of calls by channels from before the test.

    ``module`` holds the channels of threads or those of ``grpc.aio``, which don't tell their
    calls where they lead.
    """
    guard = interception.guard

    def of_channel(target: Any, *_: Any, **__: Any) -> tuple[Any, Any]:
        return _grpc_host(target)

    real = original(module.Channel, "__init__")
    init = _checked_method(guard, "grpc", real, of_channel)
    yield Patch(module.Channel, "__init__", init)
    for name, owner in vars(module).items():
        if name.endswith("MultiCallable") and isinstance(owner, type):
            for call in ("__call__", "with_call", "future"):
                if call in vars(owner):
                    yield Patch(owner, call, _checked_call(guard, original(owner, call)))


def _checked_call(guard: Guard, real: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(real)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        target = getattr(self, "_target", None)
        if target is not None:
            guard.check(*_grpc_host(target), client="grpc")
        return real(self, *args, **kwargs)

    return call


def _grpc_host(target: str | bytes) -> tuple[str | None, int | None]:
    text = target.decode("latin-1") if isinstance(target, bytes) else target
    if text.startswith(("unix:", "unix-abstract:")):
        return None, None
    address = text.rpartition("/")[2].removeprefix("dns:").removeprefix("ipv4:")
    return _authority(f"//{address.removeprefix('ipv6:')}")


def tornado_patches(interception: Interception, module: ModuleType) -> Iterator[Patch]:
    """That of tornado's own client (the other one of tornado uses pycurl)."""
    yield _checked_send(interception.guard, "tornado", module.SimpleAsyncHTTPClient, "fetch_impl")


def niquests_patches(interception: Interception, module: ModuleType) -> Iterator[Patch]:
    """Those of the adapters of niquests."""
    for name in ("HTTPAdapter", "AsyncHTTPAdapter"):
        yield _checked_send(interception.guard, "niquests", getattr(module, name), "send")


def _checked_send(guard: Guard, client: str, owner: Any, name: str) -> Patch:
    def destination(request: Any, *_: Any, **__: Any) -> tuple[Any, Any]:
        return _authority(request.url or "")

    return Patch(owner, name, _checked_method(guard, client, original(owner, name), destination))


def _authority(url: str | bytes) -> tuple[str | None, int | None]:
    text = url.decode("latin-1") if isinstance(url, bytes) else str(url)
    parts = urlsplit(text if "//" in text else f"//{text}")
    return parts.hostname, parts.port
