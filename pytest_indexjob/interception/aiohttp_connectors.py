"""aiohttp: its connectors, whose connections get a transport that answers.

aiohttp writes its request into the transport of a connection and its protocol parses what the
transport receives. Where the host is the source's, the transport is ours; sessions, middlewares,
traces and redirects above it are aiohttp's own. The answer is a task, so that others run while its
delay passes. No pool keeps such a connection. While the test records, the connector itself connects
to the service, as the client told it to (TLS, proxy, limits), and aiohttp reads the answer.
"""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from pytest_indexjob.exchange import Request, Response, TransportFault
from pytest_indexjob.http1 import MalformedRequestError, RequestReader, refusal, written
from pytest_indexjob.replacements import Patch, original

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from types import ModuleType

    from pytest_indexjob.interception.interception import Interception


def patches(interception: Interception, aiohttp: ModuleType) -> Iterator[Patch]:
    """That of aiohttp's connectors."""
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.connector import Connection

    connector_class = aiohttp.BaseConnector
    real = original(connector_class, "connect")

    async def connect(self: Any, req: Any, traces: Any, timeout: Any) -> Any:
        url = req.url
        if not interception.claims(url.host, url.port, url.scheme):
            if req.proxy is not None:  # a proxy on this machine would lead out of it
                interception.guard.check(url.host, url.port)
            connection = await real(self, req, traces, timeout)
            if _leads_astray(interception, connection, url.host):
                connection.close()
                if isinstance(self, aiohttp.TCPConnector):
                    self.clear_dns_cache()
                interception.guard.check(url.host, url.port)
            return connection
        loop = asyncio.get_running_loop()
        protocol = ResponseHandler(loop)
        service = _Service(lambda: real(self, req, traces, timeout), req, timeout)
        transport = _AnsweringTransport(interception, protocol, loop, service)
        protocol.connection_made(transport)
        return Connection(self, req.connection_key, protocol, loop)

    yield Patch(connector_class, "connect", connect)


def _leads_astray(interception: Interception, connection: Any, host: Any) -> bool:
    """Whether a pool kept the connection since before the test, and its host is out of bounds."""
    transport = connection.transport
    sock = transport.get_extra_info("socket") if transport is not None else None
    return sock is not None and interception.guard.leads_astray(sock, host)


class _Service(NamedTuple):
    """The real service as the client's own connector reaches it.

    ``connect`` gives a connection for the request ``req``, whose limits are in ``timeout``.
    """

    connect: Callable[[], Awaitable[Any]]
    req: Any
    timeout: Any

    async def answer(self, method: str, sent: bytes) -> Response:
        """What the service answers to these bytes, as it came over the wire."""
        import aiohttp

        try:
            connection = await self.connect()
        except TimeoutError as error:
            text = f"Connection timeout to host {self.req.url}"
            raise aiohttp.ConnectionTimeoutError(text) from error
        try:
            protocol = connection.protocol
            protocol.set_response_params(
                skip_payload=method == "HEAD",
                read_until_eof=True,
                auto_decompress=False,
                read_timeout=self.timeout.sock_read,
            )
            protocol.transport.write(self._as_the_proxy_wants(sent))
            message, content = await protocol.read()
            while message.code < 200:  # 100 Continue: more is to come
                message, content = await protocol.read()
            body = await content.read()
        except BaseException:
            connection.close()
            raise
        connection.release()
        headers = [(name.decode(), value.decode("latin-1")) for name, value in message.raw_headers]
        return Response(message.code, tuple(headers), body, message.reason)

    def _as_the_proxy_wants(self, sent: bytes) -> bytes:
        """With the proxy's credentials, which aiohttp adds only as it connects."""
        credentials: str = self.req.headers.get("Proxy-Authorization", "")
        head, _, rest = sent.partition(b"\r\n")
        if not credentials or self.req.is_ssl() or b"\r\nproxy-authorization:" in sent.lower():
            return sent
        return head + b"\r\nProxy-Authorization: " + credentials.encode() + b"\r\n" + rest


class _AnsweringTransport(asyncio.Transport):
    """Stands where a connection's transport would."""

    def __init__(
        self, interception: Interception, protocol: Any, loop: Any, service: _Service
    ) -> None:
        # There is no address: the host that the client asked for stands in its place.
        url = service.req.url
        super().__init__({"peername": (url.host, url.port), "sockname": ("127.0.0.1", 0)})
        self._interception = interception
        self._protocol = protocol
        self._loop = loop
        self._service = service
        self._sent = bytearray()  # what is forwarded while the test records
        self._key = service.req.connection_key
        self._reader = RequestReader(str(url.origin()))
        timeout = service.timeout
        self._read_timeout = timeout.sock_read
        limits = [limit for limit in (timeout.sock_read, timeout.total) if limit]
        self._timeout = min(limits, default=None)
        self._answering: asyncio.Task[None] | None = None
        self._closed = False

    def write(self, data: Any) -> None:
        self._reader.feed(data)
        if self._interception.recorder is not None:
            self._sent += data
        if self._answering is not None:
            return
        try:
            request = self._reader.next_request()
        except MalformedRequestError as error:
            self._loop.call_soon(self._send, refusal(error), "GET")
            return
        if request is not None:
            # Nothing is said at once: aiohttp has not yet done what it does after it wrote.
            self._answering = self._loop.create_task(self._answer(request))
        elif self._reader.wants_continue:
            self._loop.call_soon(self._protocol.data_received, b"HTTP/1.1 100 Continue\r\n\r\n")

    def is_closing(self) -> bool:
        return self._closed

    def close(self) -> None:
        if not self._closed:
            self._lose(None)

    abort = close

    def _lose(self, error: Exception | None) -> None:
        self._closed = True
        if self._answering is not None:
            self._answering.cancel()
        self._loop.call_soon(self._protocol.connection_lost, error)

    async def _answer(self, request: Request) -> None:
        try:
            if not self._interception.active:
                raise ConnectionResetError("the test that this connection belonged to has ended")
            response = await self._interception.answer_async(
                request,
                self._timeout,
                lambda: self._service.answer(request.method, bytes(self._sent)),
            )
        except TransportFault as fault:
            self._fail(fault)
        except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001
            # Whoever awaits the answer raises it.
            self._protocol.set_exception(error)
        else:
            self._send(response, request.method)

    def _send(self, response: Response, method: str) -> None:
        self._protocol.force_close()  # no pool keeps a transport that is none
        self._protocol.data_received(written(response, method))
        if response.cut_after is not None:
            self._answering = None
            self._lose(ConnectionResetError("Connection reset by peer"))

    def _fail(self, fault: TransportFault) -> None:
        import aiohttp

        self._answering = None
        if fault.kind == "reset":
            self._lose(None)
        elif fault.kind == "refused":
            refused = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
            self._protocol.set_exception(aiohttp.ClientConnectorError(self._key, refused))
        elif self._timeout == self._read_timeout:
            late = aiohttp.SocketTimeoutError("Timeout on reading data from socket")
            self._protocol.set_exception(late)
        else:
            self._protocol.set_exception(TimeoutError())
