"""httpx (hence gradient): its two transports.

A transport takes a request and gives a response, both objects of httpx, so no bytes are made. An
asynchronous client's answer lets other tasks run while its delay passes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_indexjob.exchange import Request, Response, TransportFault
from pytest_indexjob.http1 import framed, has_body
from pytest_indexjob.interception.clients import Patch
from pytest_indexjob.interception.interception import netloc_of
from pytest_indexjob.replacements import original

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from pytest_indexjob.interception.interception import Interception


def patches(interception: Interception, httpx: ModuleType) -> Iterator[Patch]:
    """Those of the transports of ``httpx``."""
    handle = original(httpx.HTTPTransport, "handle_request")
    handle_async = original(httpx.AsyncHTTPTransport, "handle_async_request")

    def claims(request: Any) -> bool:
        return interception.claims(request.url.host, request.url.port, request.url.scheme)

    def handle_request(self: Any, request: Any) -> Any:
        if not claims(request):
            return handle(self, request)
        asked = _asked(request, request.read())
        try:
            answer = interception.answer(
                asked, _read_timeout(request), lambda: _received(handle(self, request))
            )
        except TransportFault as fault:
            raise _error(httpx, fault, request) from None
        return _response(httpx, answer, asked.method)

    async def handle_async_request(self: Any, request: Any) -> Any:
        if not claims(request):
            return await handle_async(self, request)
        asked = _asked(request, await request.aread())

        async def forward() -> Response:
            response = await handle_async(self, request)
            try:
                body = b"".join([part async for part in response.stream])
            finally:
                await response.aclose()
            return _as_response(response, body)

        try:
            answer = await interception.answer_async(asked, _read_timeout(request), forward)
        except TransportFault as fault:
            raise _error(httpx, fault, request) from None
        return _response(httpx, answer, asked.method)

    yield Patch(httpx.HTTPTransport, "handle_request", handle_request)
    yield Patch(httpx.AsyncHTTPTransport, "handle_async_request", handle_async_request)


def _received(response: Any) -> Response:
    """What the real transport received, as it came over the wire."""
    try:
        body = b"".join(response.stream)
    finally:
        response.close()
    return _as_response(response, body)


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


def _response(httpx: ModuleType, answer: Response, method: str) -> Any:
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
