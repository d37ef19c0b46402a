"""httpx (hence gradient): its two transports.

A transport takes a request and gives a response, both objects of httpx, so no bytes are made. An
asynchronous client's answer lets other tasks run while its delay passes. Where another mock stands
between a transport and the network (respx, or pytest-httpx where its fixture came first), it is
asked first and answers what it was told; what it lets pass comes back to ``httpcore_streams``, and
what it knows nothing of is answered here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_indexjob.exchange import Request, Response, TransportFault, netloc_of
from pytest_indexjob.http1 import framed, has_body
from pytest_indexjob.interception.httpcore_streams import AsyncStream, SyncStream
from pytest_indexjob.replacements import Patch, original

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from types import ModuleType

    from pytest_indexjob.interception.interception import Interception


def patches(interception: Interception, httpx: ModuleType) -> Iterator[Patch]:
    """Those of the transports of ``httpx``."""
    handle = original(httpx.HTTPTransport, "handle_request")
    yield Patch(httpx.HTTPTransport, "handle_request", _handle(interception, httpx, handle))
    handle_async = original(httpx.AsyncHTTPTransport, "handle_async_request")
    replacement = _handle_async(interception, httpx, handle_async)
    yield Patch(httpx.AsyncHTTPTransport, "handle_async_request", replacement)


def _handle(
    interception: Interception, httpx: ModuleType, real: Callable[..., Any]
) -> Callable[..., Any]:
    def answer(transport: Any, request: Any) -> Any:
        asked, retries = _asked(request, request.read()), _retries(transport)
        while True:
            try:
                answered = interception.answer(
                    asked, _read_timeout(request), lambda: _received(real(transport, request))
                )
            except TransportFault as fault:
                pause = next(retries, None) if fault.kind == "refused" else None
                if pause is None:
                    raise _error(httpx, fault, request) from None
                interception.clock.sleep(pause)
            else:
                stream = SyncStream(interception, httpx, request.url.host, _port(request))
                return _response(httpx, answered, asked.method, stream)

    def handle_request(self: Any, request: Any) -> Any:
        if not _claims(interception, request):
            return real(self, request)
        if _is_mocked(self, httpx, real, "handle_request"):
            try:
                return real(self, request)
            except AssertionError as error:
                _raise_unless_unknown(error)
        return answer(self, request)

    return handle_request


def _handle_async(
    interception: Interception, httpx: ModuleType, real: Callable[..., Any]
) -> Callable[..., Any]:
    async def answer(transport: Any, request: Any) -> Any:
        asked, retries = _asked(request, await request.aread()), _retries(transport)
        forward = _forward_async(real, transport, request)
        while True:
            try:
                answered = await interception.answer_async(asked, _read_timeout(request), forward)
            except TransportFault as fault:
                pause = next(retries, None) if fault.kind == "refused" else None
                if pause is None:
                    raise _error(httpx, fault, request) from None
                await interception.clock.sleep_async(pause)
            else:
                stream = AsyncStream(interception, httpx, request.url.host, _port(request))
                return _response(httpx, answered, asked.method, stream)

    async def handle_async_request(self: Any, request: Any) -> Any:
        if not _claims(interception, request):
            return await real(self, request)
        if _is_mocked(self, httpx, real, "handle_async_request"):
            try:
                return await real(self, request)
            except AssertionError as error:
                _raise_unless_unknown(error)
        return await answer(self, request)

    return handle_async_request


def _claims(interception: Interception, request: Any) -> bool:
    url = request.url
    return interception.claims(url.host, url.port, url.scheme)


def _is_mocked(transport: Any, httpx: ModuleType, handle: Callable[..., Any], method: str) -> bool:
    """Whether another library put a function between this transport and the network."""
    own = (httpx.__name__, "httpcore")
    pool = getattr(transport, "_pool", None)
    below = getattr(type(pool), method, handle)
    return not all(
        str(getattr(function, "__module__", "")).startswith(own) for function in (handle, below)
    )


def _raise_unless_unknown(error: AssertionError) -> None:
    # respx says so of a request that no route of it fits.
    if type(error).__name__ != "AllMockedAssertionError":
        raise error


def _retries(transport: Any) -> Iterator[float]:
    """The seconds before each of the retries that httpcore makes where no connection is made."""
    retries = getattr(getattr(transport, "_pool", None), "_retries", 0)
    return (0.0 if not attempt else 0.5 * 2 ** (attempt - 1) for attempt in range(retries))


def _received(response: Any) -> Response:
    """What the real transport received, as it came over the wire."""
    try:
        body = b"".join(response.stream)
    finally:
        response.close()
    return _as_response(response, body)


def _forward_async(
    real: Callable[..., Any], transport: Any, request: Any
) -> Callable[[], Awaitable[Response]]:
    async def forward() -> Response:
        response = await real(transport, request)
        try:
            body = b"".join([part async for part in response.stream])
        finally:
            await response.aclose()
        return _as_response(response, body)

    return forward


def _as_response(response: Any, body: bytes) -> Response:
    headers = tuple(
        (name.decode("latin-1"), value.decode("latin-1")) for name, value in response.headers.raw
    )
    return Response(response.status_code, headers, body, response.reason_phrase)


def _asked(request: Any, body: bytes) -> Request:
    # The raw pairs: httpx looks for the encoding of all of them anew for each that it decodes.
    headers = tuple(
        (name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw
    )
    url = request.url
    base = f"{url.scheme}://{netloc_of(url.host, url.port, url.scheme)}"
    # Neither the fragment of a URL nor its user is ever sent.
    return Request(request.method, base + url.raw_path.decode("ascii"), headers, body)


def _read_timeout(request: Any) -> float | None:
    timeout: float | None = request.extensions.get("timeout", {}).get("read")
    return timeout


def _error(httpx: ModuleType, fault: TransportFault, request: Any) -> Exception:
    names = {"timeout": "ReadTimeout", "refused": "ConnectError", "reset": "ReadError"}
    kind = getattr(httpx, names[fault.kind])
    error: Exception = kind(f"{fault.kind}: {_asked(request, b'')!r}", request=request)
    return error


def _port(request: Any) -> int:
    return request.url.port or (443 if request.url.scheme == "https" else 80)


def _response(httpx: ModuleType, answer: Response, method: str, network_stream: Any) -> Any:
    content = answer.body if has_body(answer, method) else b""
    stream = httpx.ByteStream(content)
    if answer.cut_after is not None:
        stream = _cut_stream(httpx, content[: answer.cut_after])
    headers = [
        (name.encode("latin-1", "replace"), value.encode("latin-1", "replace"))
        for name, value in framed(answer, method)
    ]
    extensions = {
        "http_version": b"HTTP/1.1",
        "network_stream": network_stream,
        "reason_phrase": answer.phrase.encode("ascii", "replace"),
    }
    return httpx.Response(answer.status, headers=headers, stream=stream, extensions=extensions)


def _cut_stream(httpx: ModuleType, content: bytes) -> Any:
    class CutStream(httpx.SyncByteStream, httpx.AsyncByteStream):  # type: ignore[name-defined, misc]
        def __iter__(self) -> Iterator[bytes]:
            yield content
            raise httpx.ReadError("Connection reset by peer")

        async def __aiter__(self) -> Any:
            for part in self:
                yield part

    return CutStream()
