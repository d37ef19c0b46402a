"""The sessions of the plugin's own client: one that a source answers, one that keeps what it did.

The answered session has an adapter of its own, with no connection below: it takes about half of
the time that one by patched connections takes, and looks for no proxy of the machine.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPHeaderDict, HTTPResponse

from pytest_indexjob.exchange import Exchange, Journal, Request, Response, TransportFault
from pytest_indexjob.http1 import framed, has_body
from pytest_indexjob.interception.connections import stream

if TYPE_CHECKING:
    from pytest_indexjob.interception.interception import Interception
    from pytest_indexjob.virtual_time.clock import VirtualClock


def answered_session(interception: Interception) -> requests.Session:
    """A session that is answered directly, with no connection below it."""
    session = requests.Session()
    # Proxies and netrc of the machine have no say here, and looking them up is half of a call's
    # cost.
    session.trust_env = False
    adapter = _SourceAdapter(interception)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def live_session(journal: Journal, clock: VirtualClock) -> requests.Session:
    """A session that reaches the real service and keeps its exchanges in the journal."""

    def keep(response: requests.Response, **_: Any) -> None:
        headers = tuple(response.headers.items())
        answer = Response(response.status_code, headers, response.content, response.reason)
        journal.add(Exchange(_asked(response.request), answer, None, clock.elapsed))

    session = requests.Session()
    session.hooks["response"].append(keep)
    return session


def _asked(request: requests.PreparedRequest) -> Request:
    body = request.body or b""
    content = body.encode() if isinstance(body, str) else bytes(body)
    headers = tuple(request.headers.items())
    return Request(request.method or "GET", request.url or "", headers, content)


class _SourceAdapter(HTTPAdapter):
    def __init__(self, interception: Interception) -> None:
        super().__init__()
        self._interception = interception

    # The other arguments concern connections.
    def send(  # type: ignore[override]
        self, request: requests.PreparedRequest, timeout: Any = None, **_: Any
    ) -> requests.Response:
        asked = _asked(request)
        _connect_timeout, read_timeout = (
            timeout if isinstance(timeout, tuple) else (timeout, timeout)
        )
        try:
            answer = self._interception.answer(asked, read_timeout)
        except TransportFault as fault:
            kind = requests.ReadTimeout if fault.kind == "timeout" else requests.ConnectionError
            raise kind(f"{fault.kind}: {asked!r}", request=request) from None
        if answer.cut_after is None and not answer.content_encoding:
            return self._plain(request, asked, answer)
        raw = HTTPResponse(
            body=stream(answer.body[: answer.cut_after], answer),
            headers=HTTPHeaderDict(framed(answer, asked.method)),
            status=answer.status,
            reason=answer.phrase,
            version=11,
            preload_content=False,
            enforce_content_length=True,
            request_method=asked.method,
        )
        return self.build_response(request, raw)

    def _plain(
        self, request: requests.PreparedRequest, asked: Request, answer: Response
    ) -> requests.Response:
        # Without urllib3's response in between, whose making takes as long as all the rest.
        response = requests.Response()
        headers: dict[str, str] = {}
        for name, value in framed(answer, asked.method):
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        response.headers.update(headers)
        response.status_code = answer.status
        response.reason = answer.phrase
        response.url = asked.url
        response.encoding = requests.utils.get_encoding_from_headers(response.headers)
        response.request = request
        response.raw = io.BytesIO(answer.body if has_body(answer, asked.method) else b"")
        return response
