"""Who may give orders to a served simulator: no page of a browser, and nobody without the token.

The server listens on this machine alone, but any page that a browser here shows may send requests
to it. A page can neither choose the Host header that leads to this server by a name of its own, nor
hide its Origin, nor send JSON to another origin without being asked first.
"""

from __future__ import annotations

import hmac
import json
from urllib.parse import urlsplit

from pytest_indexjob.exchange import Request, Response

PREFIX = "/_indexjob"


def is_order(request: Request) -> bool:
    """Whether a request is to the control API."""
    path = urlsplit(request.url).path
    return path == PREFIX or path.startswith(f"{PREFIX}/")


def refusal(request: Request, host: str, port: int, token: str | None) -> Response | None:
    """The answer that refuses an order, or ``None`` for an order that may be obeyed.

    ``host`` and ``port`` are where the server listens; ``token`` is the one that was set, if any.
    """
    own = {f"{name}:{port}" for name in (host, "127.0.0.1", "localhost", "[::1]")}
    # A whole URL in the request line goes before the Host header.
    if not {request.header("host").lower(), urlsplit(request.url).netloc.lower()} <= own:
        return _refused(403, "forbidden", "the Host header names another host than this server")
    origins = {value.lower() for name, value in request.headers if name.lower() == "origin"}
    if not origins <= {f"http://{each}" for each in own}:
        return _refused(403, "forbidden", "a page of another origin can't give orders")
    media_type = request.header("content-type").partition(";")[0].strip().lower()
    if request.method != "GET" and media_type != "application/json":
        return _refused(
            415, "unsupported_media_type", "an order needs Content-Type application/json"
        )
    given = request.header("authorization").encode("latin-1", "replace")
    if token is not None and not hmac.compare_digest(given, f"Bearer {token}".encode()):
        return _refused(401, "unauthorized", "orders need the token that the server was given")
    return None


def _refused(status: int, id: str, message: str) -> Response:
    body = json.dumps({"id": id, "message": message}).encode()
    return Response(status, (("Content-Type", "application/json"),), body)
