"""Clients that do not use Python's sockets: the guard stands at their own entries.

Nothing answers them in this process, so each way of theirs off this machine is refused, in words
that name the client and the loopback server. That server itself is always in reach. Requests by
aiohttp or httpx in a loop of uvloop are answered all the same, as they need no connection.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pytest_indexjob.interception.clients import Patch
from pytest_indexjob.replacements import original

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
    """That of pycurl's handles, whose class is C and is replaced by one that descends from it."""
    real = original(pycurl, "Curl")

    class Curl(real):  # type: ignore[misc, valid-type]
        def setopt(self, option: Any, value: Any) -> Any:
            if option == pycurl.URL:
                interception.guard.check(*_authority(value), client="pycurl")
            return super().setopt(option, value)

    yield Patch(pycurl, "Curl", Curl)


def grpc_patches(interception: Interception, grpc: ModuleType) -> Iterator[Patch]:
    """Those of the makers of channels, synchronous ones or those of ``grpc.aio``."""
    for name in ("insecure_channel", "secure_channel"):
        yield Patch(grpc, name, _checked_channel(interception.guard, original(grpc, name)))


def _checked_channel(guard: Guard, real: Callable[..., Any]) -> Callable[..., Any]:
    def channel(target: str, *args: Any, **kwargs: Any) -> Any:
        if not target.startswith("unix:"):
            address = target.rpartition("/")[2].removeprefix("dns:").removeprefix("ipv4:")
            guard.check(*_authority(f"//{address}"), client="grpc")
        return real(target, *args, **kwargs)

    return channel


def _authority(url: str | bytes) -> tuple[str | None, int | None]:
    text = url.decode("latin-1") if isinstance(url, bytes) else str(url)
    parts = urlsplit(text if "//" in text else f"//{text}")
    return parts.hostname, parts.port
