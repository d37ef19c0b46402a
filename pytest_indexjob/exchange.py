"""What passes between the rooms: request, response, exchange, and the journal of a test."""

from __future__ import annotations

import re
import threading
from contextlib import suppress
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol
from urllib.parse import parse_qsl, quote, urlsplit

from pytest_indexjob.api.answers import Answer, read
from pytest_indexjob.api.calls import CallMatch, api_path, match
from pytest_indexjob.content_coding import decoded

if TYPE_CHECKING:
    from collections.abc import Collection

# Those of terminals, and those that turn the direction of a text or hide in it.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")

Headers = tuple[tuple[str, str], ...]

# What stands in the place of a secret.
PLACEHOLDER = "REDACTED"
# The only query parameters of the API; any other may be a signature.
_PLAIN_PARAMETERS = frozenset(("page", "per_page"))


_DEFAULT_PORTS = {"http": 80, "https": 443}
_PERCENT = re.compile("%([0-9A-Fa-f]{2})")
_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]")


class Target(NamedTuple):
    """A URL as HTTP compares it: ``netloc`` is the host, with a port that is not the scheme's."""

    scheme: str
    netloc: str
    path: str
    query: str

    def below(self, base: Target) -> str | None:
        """The path from a base URL on, or ``None`` where the base is another's."""
        root = base.path.rstrip("/")
        if self[:2] != base[:2] or not self.path.startswith(root):
            return None
        rest = self.path[len(root) :]
        return rest if rest[:1] in ("", "/") else None

    def __str__(self) -> str:
        query = f"?{self.query}" if self.query else ""
        return f"{self.scheme}://{self.netloc}{self.path}{query}"


@lru_cache(maxsize=4096)
def target_of(url: str) -> Target:
    """What a URL asks for.

    Scheme and host have no case, a host is in ASCII, the scheme's own port, the user and the
    fragment are no part of it, and percent-encoding is normalised (RFC 3986, 6.2.2). What is no URL
    stands as a path.
    """
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        return Target("", "", url, "")
    if not host.isascii():
        with suppress(UnicodeError):
            host = host.encode("idna").decode("ascii")
    host = f"[{host}]" if ":" in host else host
    suffix = "" if port in (None, _DEFAULT_PORTS.get(parts.scheme)) else f":{port}"
    path = _normalized(parts.path) or ("/" if host else "")
    return Target(parts.scheme, f"{host}{suffix}", path, parts.query)


def netloc_of(host: str, port: int | None, scheme: str) -> str:
    """A host as HTTP compares it, with a port that is not the scheme's."""
    shown = f"[{host}]" if ":" in host else host
    return target_of(f"{scheme}://{shown}{'' if port is None else f':{port}'}").netloc


def _normalized(path: str) -> str:
    def letter(match: re.Match[str]) -> str:
        plain = chr(int(match[1], 16))
        return plain if _UNRESERVED.fullmatch(plain) else match[0].upper()

    return _PERCENT.sub(letter, quote(path, safe="%/:@!$&'()*+,;=~", errors="replace"))


def _header(headers: Headers, name: str) -> str:
    name = name.lower()
    for key, value in headers:
        if key.lower() == name:
            return value
    return ""


def shown_url(url: str) -> str:
    """A URL that can be shown.

    It has no user, password or fragment, and no values of unknown query parameters.
    """
    parts = urlsplit(url)
    query = "&".join(
        f"{name}={value if name in _PLAIN_PARAMETERS else PLACEHOLDER}"
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
    )
    authority = f"//{parts.netloc.rpartition('@')[2]}" if parts.netloc else ""
    scheme = f"{parts.scheme}:" if parts.scheme else ""
    shown = f"{scheme}{authority}{parts.path}{f'?{query}' if query else ''}"
    # A terminal obeys control characters, and a parameter may hold them.
    return _CONTROLS.sub(lambda found: quote(found[0]), shown)


class Request(NamedTuple):
    """A request as a client sent it. ``url`` is absolute; ``body`` is what went over the wire."""

    method: str
    url: str
    headers: Headers = ()
    body: bytes = b""

    def header(self, name: str) -> str:
        """The first value of a header, whatever its case, or ``""``."""
        return _header(self.headers, name)

    def __repr__(self) -> str:
        # Headers and body may hold a token, the query a signature.
        return f"<Request {self.method} {shown_url(self.url)}>"


class Response(NamedTuple):
    """An answer as a service would send it.

    ``delay`` is the seconds (of the test's clock) that it takes; ``cut_after`` the bytes of the
    body after which the connection is reset, or ``None`` for a whole answer.
    """

    status: int
    headers: Headers = ()
    body: bytes = b""
    reason: str = ""
    delay: float = 0.0
    cut_after: int | None = None

    def header(self, name: str) -> str:
        """The first value of a header, whatever its case, or ``""``."""
        return _header(self.headers, name)

    @property
    def content_encoding(self) -> str:
        """The body's content codings in the order of their use, or ``""``.

        Several headers of that name are one list.
        """
        values = (value for name, value in self.headers if name.lower() == "content-encoding")
        return ", ".join(values)

    @property
    def plain_body(self) -> bytes | None:
        """The body without its content encoding, or ``None`` where that can't be undone here."""
        encoding = self.content_encoding
        return decoded(self.body, encoding) if encoding else self.body

    @property
    def phrase(self) -> str:
        """The reason phrase, the standard one where none was given."""
        try:
            return self.reason or HTTPStatus(self.status).phrase
        except ValueError:
            return ""

    def __repr__(self) -> str:
        return f"<Response {self.status} {len(self.body)} bytes>"


class Interaction(NamedTuple):
    """One recorded request with its response."""

    request: Request
    response: Response


class TransportFault(Exception):
    """A source's way to say that no answer comes.

    Each way in turns it into its own client's exception.
    """

    def __init__(self, kind: Literal["refused", "reset", "timeout"]) -> None:
        super().__init__(kind)
        self.kind = kind


class Source(Protocol):
    """Whatever answers requests: a recording or the simulator."""

    @property
    def hosts(self) -> Collection[str]:
        """The hosts that it answers for besides the API's, with a port that is not the scheme's."""
        ...

    def handle(self, request: Request) -> Response:
        """The answer.

        Raises ``TransportFault`` for none, and an ``IndexJobError`` where it can't answer.
        """
        ...


class Exchange(NamedTuple):
    """A request with what came of it: a response, or the error that took its place.

    ``at`` is in seconds.
    """

    request: Request
    response: Response | None
    error: Exception | None = None
    at: float = 0.0

    @property
    def answer(self) -> Answer | None:
        """What the response says, or ``None`` where none came."""
        return answer_of(self.request, self.response) if self.response else None


def answer_of(request: Request, response: Response) -> Answer:
    """What a response says. It is read anew each time."""
    found = match(request.method, api_path(request.url))
    call = found.call if isinstance(found, CallMatch) else None
    body = response.plain_body
    return read(call, response.status, body or b"", response.header("content-type"))


class Journal:
    """Every exchange of one test, in order, and the misses: requests that nothing could answer.

    A miss left in ``misses`` fails the test at its end. A test that provokes one on purpose clears
    the list. ``most_exchanges`` and ``most_bytes`` (bodies, URLs and headers) bound what is kept:
    the oldest exchanges go first.
    """

    def __init__(self, *, most_exchanges: int | None = None, most_bytes: int | None = None) -> None:
        self._most_exchanges = most_exchanges
        self._most_bytes = most_bytes
        self._bytes = 0
        self.exchanges: list[Exchange] = []
        self.misses: list[Exception] = []
        self._lock = threading.Lock()

    def add(self, exchange: Exchange) -> None:
        """Keep an exchange. Safe from any thread."""
        with self._lock:
            self.exchanges.append(exchange)
            self._bytes += _size(exchange) if self._most_bytes is not None else 0
            while self._is_too_large():
                self._bytes -= _size(self.exchanges.pop(0))

    def _is_too_large(self) -> bool:
        too_many = self._most_exchanges is not None and len(self.exchanges) > self._most_exchanges
        return too_many or (self._most_bytes is not None and self._bytes > self._most_bytes)

    def add_miss(self, error: Exception) -> None:
        """Keep a miss. Safe from any thread."""
        with self._lock:
            self.misses.append(error)

    def __len__(self) -> int:
        return len(self.exchanges)


def _size(exchange: Exchange) -> int:
    parts = [exchange.request.url, exchange.request.body]
    headers = [*exchange.request.headers]
    if exchange.response is not None:
        parts.append(exchange.response.body)
        headers += exchange.response.headers
    return sum(map(len, parts)) + sum(len(name) + len(value) for name, value in headers)
