"""httpcore (below httpx): its network streams.

httpx is answered above, in its transports. Here is answered who uses httpcore itself, and what
another mock between the two (respx) lets pass. A backend's ``connect_tcp`` gives a stream, into
which httpcore writes the bytes of a request and from which it reads those of the answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from pytest_indexjob.exchange import Request, Response, TransportFault, netloc_of
from pytest_indexjob.http1 import MalformedRequestError, RequestReader, refusal, written
from pytest_indexjob.replacements import Patch, original

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from pytest_indexjob.interception.interception import Interception

_HTTPS_PORT = 443


def patches(interception: Interception, httpcore: ModuleType) -> Iterator[Patch]:
    """Those of httpcore's backends, of its connections that are kept alive, and of its proxies."""
    for name in ("SyncBackend", "AnyIOBackend", "TrioBackend"):
        backend = getattr(httpcore, name)
        if "connect_tcp" in vars(backend):  # else the library that it is for is not installed
            connect = _connect_sync if name == "SyncBackend" else _connect_async
            real = original(backend, "connect_tcp")
            yield Patch(backend, "connect_tcp", connect(interception, httpcore, real))
    # A class for which a library is missing has no such method of its own.
    for kind in ("", "Async"):
        for name in ("HTTP11Connection", "HTTP2Connection"):
            kept = getattr(httpcore, f"{kind}{name}")
            if "has_expired" in vars(kept):
                expired = _has_expired(interception, original(kept, "has_expired"))
                yield Patch(kept, "has_expired", expired)
        direct = getattr(httpcore, f"{kind}HTTPConnection")
        for name in ("ConnectionPool", "HTTPProxy", "SOCKSProxy"):
            pool = getattr(httpcore, f"{kind}{name}")
            if "create_connection" in vars(pool):
                real = original(pool, "create_connection")
                create = _create_connection(interception, real, direct)
                yield Patch(pool, "create_connection", create)


def _has_expired(interception: Interception, real: Callable[..., bool]) -> Callable[..., bool]:
    """A connection from before the test that must not be used counts as expired.

    The pool makes another, which is answered or stopped.
    """

    def has_expired(self: Any) -> bool:
        stream, origin = self._network_stream, self._origin
        if self.is_idle() and not isinstance(stream, _Stream):
            host = origin.host.decode("ascii")
            sock = stream.get_extra_info("socket")
            if interception.claims(
                host, origin.port, origin.scheme.decode("ascii")
            ) or interception.guard.leads_astray(sock, host):
                return True
        return real(self)

    return has_expired


def _create_connection(
    interception: Interception, real: Callable[..., Any], direct: Callable[..., Any]
) -> Callable[..., Any]:
    """A proxy on this machine would lead out of it: it is asked for nothing out of bounds."""

    def create_connection(self: Any, origin: Any) -> Any:
        has_proxy = hasattr(self, "_proxy_url") or getattr(self, "_proxy", None) is not None
        host = origin.host.decode("ascii")
        if not has_proxy:
            return real(self, origin)
        if interception.claims(host, origin.port, origin.scheme.decode("ascii")):
            return direct(origin, network_backend=self._network_backend)
        interception.guard.check(host, origin.port)
        return real(self, origin)

    return create_connection


def _connect_sync(
    interception: Interception, httpcore: ModuleType, real: Callable[..., Any]
) -> Callable[..., Any]:
    def connect_tcp(self: Any, host: str, port: int, *args: Any, **kwargs: Any) -> Any:
        if interception.claims(host, port, _scheme(port)):
            return SyncStream(interception, httpcore, host, port)
        return real(self, host, port, *args, **kwargs)

    return connect_tcp


def _connect_async(
    interception: Interception, httpcore: ModuleType, real: Callable[..., Any]
) -> Callable[..., Any]:
    async def connect_tcp(self: Any, host: str, port: int, *args: Any, **kwargs: Any) -> Any:
        if interception.claims(host, port, _scheme(port)):
            return AsyncStream(interception, httpcore, host, port)
        return await real(self, host, port, *args, **kwargs)

    return connect_tcp


def _scheme(port: int) -> str:
    return "https" if port == _HTTPS_PORT else "http"


class _Stream:
    """What the streams of both kinds share: the request so far, and the answer still to be read."""

    def __init__(
        self, interception: Interception, httpcore: ModuleType, host: str, port: int
    ) -> None:
        self._interception = interception
        self._httpcore = httpcore
        self._host, self._port = host, port
        self._scheme = _scheme(port)
        self._reader: RequestReader | None = None
        self._unread = b""
        self._is_cut = False

    def get_extra_info(self, info: str) -> Any:
        """What is known of a connection that is none."""
        known = {
            "client_addr": ("127.0.0.1", 0),
            "server_addr": (self._host, self._port),
            # To the pool a readable idle connection is one that the other side has closed.
            "is_readable": self._is_cut or not self._interception.active,
        }
        return known.get(info)

    def _feed(self, data: bytes) -> None:
        if self._reader is None:
            netloc = netloc_of(self._host, self._port, self._scheme)
            self._reader = RequestReader(f"{self._scheme}://{netloc}")
        self._reader.feed(data)

    def _next_request(self) -> Request | None:
        """The request that is to be answered; ``None`` where the stream has something to read."""
        if self._unread:
            return None
        if self._is_cut or not self._interception.active:
            raise self._httpcore.ReadError("Connection reset by peer")
        try:
            request = self._reader.next_request() if self._reader else None
        except MalformedRequestError as error:
            self._take(refusal(error), "GET")
            return None
        if request is None:
            raise self._httpcore.ReadTimeout("the request is not whole, so no answer comes")
        return request

    def _take(self, response: Response, method: str) -> None:
        self._unread = written(response, method)
        self._is_cut = response.cut_after is not None

    def _part(self, max_bytes: int) -> bytes:
        part, self._unread = self._unread[:max_bytes], self._unread[max_bytes:]
        return part

    def _error(self, fault: TransportFault) -> Exception:
        names = {"timeout": "ReadTimeout", "refused": "ConnectError", "reset": "ReadError"}
        error: Exception = getattr(self._httpcore, names[fault.kind])(str(fault))
        return error


class SyncStream(_Stream):
    """Stands where a network stream of httpcore would."""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """The next bytes of the answer."""
        request = self._next_request()
        if request is not None:
            try:
                self._take(self._interception.answer(request, timeout), request.method)
            except TransportFault as fault:
                raise self._error(fault) from None
        return self._part(max_bytes)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Take bytes of the request."""
        self._feed(buffer)

    def close(self) -> None:
        """Nothing: there is no other side."""

    def start_tls(self, *_: Any, **__: Any) -> Self:
        """Speak as over TLS; nobody listens."""
        self._scheme = "https"
        return self


class AsyncStream(_Stream):
    """Stands where an asynchronous network stream of httpcore would."""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """The next bytes of the answer."""
        request = self._next_request()
        if request is not None:
            try:
                answer = await self._interception.answer_async(request, timeout)
            except TransportFault as fault:
                raise self._error(fault) from None
            self._take(answer, request.method)
        return self._part(max_bytes)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Take bytes of the request."""
        self._feed(buffer)

    async def aclose(self) -> None:
        """Nothing: there is no other side."""

    async def start_tls(self, *_: Any, **__: Any) -> Self:
        """Speak as over TLS; nobody listens."""
        self._scheme = "https"
        return self
