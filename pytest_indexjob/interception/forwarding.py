"""Asking the real service on behalf of a client, while a test records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import requests
import urllib3

from pytest_indexjob.exchange import Request, Response, TransportFault

if TYPE_CHECKING:
    from pytest_indexjob.interception.guard import Guard

# Headers of one connection, which the next one makes anew.
_HOP_BY_HOP = (
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-authorization",
    "te",
    "transfer-encoding",
)


def forward(request: Request, timeout: float, guard: Guard) -> Response:
    """What the real service answers, as it came over the wire.

    ``timeout`` is in seconds. Raises ``TransportFault`` for no answer.
    """
    session = requests.Session()
    session.headers.clear()
    session.auth = _as_it_is  # a netrc entry is not to take the place of the client's own token
    headers = {name: value for name, value in request.headers if name.lower() not in _HOP_BY_HOP}
    with guard.let_pass(), session:
        try:
            answer = session.request(
                request.method,
                request.url,
                headers=headers,
                data=request.body or None,
                timeout=timeout,
                allow_redirects=False,
                stream=True,
            )
            body = answer.raw.read(decode_content=False)
        except (requests.RequestException, OSError, urllib3.exceptions.HTTPError) as error:
            kind = _kind_of(error)
        else:
            received = tuple(answer.raw.headers.items())
            return Response(answer.status_code, received, body, answer.reason or "")
    raise TransportFault(kind)


def _kind_of(error: Exception) -> Literal["refused", "timeout"]:
    late = (requests.Timeout, TimeoutError, urllib3.exceptions.TimeoutError)
    return "timeout" if isinstance(error, late) else "refused"


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request
