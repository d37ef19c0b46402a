"""HTTP/1.1 as bytes: requests are read, responses are written.

Three ways in need it: the connections of ``http.client`` and urllib3, those of aiohttp, and the
loopback server. ``RequestReader`` is fed with bytes as they come and gives each request once it is
whole. It is as strict as RFC 9112 wants a server to be, since a lenient reader and a strict one
may disagree about where a request ends. Writing starts from a ``Response`` as a source gives it,
whose body is whole: where it came in chunks it is written as one, else its length is told.
"""

from __future__ import annotations

import json
import re

from pytest_indexjob.exchange import Request, Response

_LARGEST_HEAD = 64 * 1024
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([^\x00-\x20\x7f]+) HTTP/1\.([01])")
# What no more bytes make a request line of: TLS, say, or a line that ends without CR.
_NO_REQUEST_LINE = re.compile(rb"[^!#$%&'*+\-.^_`|~0-9A-Za-z\r]|[^\r\n]*\n")
_HOST = re.compile(r"[^\x00-\x20/?#@\\,]*")
_HEADER = re.compile(rb"(" + _TOKEN + rb"):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
_LENGTH = re.compile(r"[0-9]{1,18}")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?")
_LINE_BREAKS = re.compile(r"[\r\n\0]")
_FRAMING = frozenset(("transfer-encoding", "content-length", "connection"))


class MalformedRequestError(ValueError):
    """Bytes that are no request of HTTP/1.1. The text says why."""


class RequestReader:
    """Gives the requests of one connection, in order, from its bytes.

    ``base`` is the scheme and host that a target without them belongs to. A body of more than
    ``largest_body`` bytes is malformed, unless it is ``None``.
    """

    def __init__(self, base: str, *, largest_body: int | None = None) -> None:
        self._base = base
        self._largest_body = largest_body
        self._waiting = bytearray()
        # Of the request that has begun: its head, the length still to come (None: in chunks), and
        # the chunks so far.
        self._head: Request | None = None
        self._length: int | None = 0
        self._chunks = bytearray()
        self._in_trailers = False
        # HTTP/1.0 closes after each answer, and so does who says so.
        self.closes = False
        # HTTP/1.0 knows no chunks.
        self.takes_chunks = True

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next bytes."""
        self._waiting += data

    def next_request(self) -> Request | None:
        """The next request, or ``None`` until it is whole. Raises ``MalformedRequestError``."""
        if self._head is None and not self._read_head():
            return None
        head = self._head
        body = self._read_chunks() if self._length is None else self._read_plain(self._length)
        if head is None or body is None:
            return None
        self._head = None
        return head._replace(body=body)

    @property
    def wants_continue(self) -> bool:
        """Whether the client waits for ``100 Continue`` before it sends the body."""
        return (
            self._head is not None
            and not self._waiting
            and not self._chunks
            and self._head.header("expect").lower() == "100-continue"
        )

    def _read_head(self) -> bool:
        while self._waiting.startswith(b"\r\n"):  # RFC 9112, 2.2: left by some clients
            del self._waiting[:2]
        end = self._waiting.find(b"\r\n\r\n")
        if end > _LARGEST_HEAD or (end < 0 and len(self._waiting) > _LARGEST_HEAD):
            raise MalformedRequestError(f"the head is larger than {_LARGEST_HEAD} bytes")
        if end < 0:
            if _NO_REQUEST_LINE.match(self._waiting):
                raise MalformedRequestError("the first line is no request of HTTP/1.1")
            return False
        first, *lines = bytes(self._waiting[:end]).split(b"\r\n")
        del self._waiting[: end + 4]
        line = _REQUEST_LINE.fullmatch(first)
        if line is None:
            raise MalformedRequestError("the first line is no request of HTTP/1.1")
        method, target, minor = (part.decode("latin-1") for part in line.groups())
        headers = tuple(map(_header, lines))
        values: dict[str, list[str]] = {}
        for name, value in headers:
            values.setdefault(name.lower(), []).append(value)
        self._head = Request(method, self._url(method, target), headers)
        self._length = self._body_length(
            values.get("content-length", []), values.get("transfer-encoding", [])
        )
        self.takes_chunks = minor == "1"
        hosts = values.get("host", [])
        if minor == "1" and len(hosts) != 1:
            raise MalformedRequestError("a request of HTTP/1.1 has one Host header")
        if not all(map(_HOST.fullmatch, hosts)):
            raise MalformedRequestError("the Host header names no host")
        kept = ", ".join(values.get("connection", [])).lower()
        self.closes = "close" in kept or (minor == "0" and "keep-alive" not in kept)
        self._chunks, self._in_trailers = bytearray(), False
        return True

    def _url(self, method: str, target: str) -> str:
        if target.lower().startswith(("http://", "https://")):
            return target
        if (method, target) == ("OPTIONS", "*"):
            return self._base
        # Another text would go on with the host or the port of the base.
        if not target.startswith("/") and method != "CONNECT":
            raise MalformedRequestError("the target is neither a path nor a URL")
        return self._base + target

    def _body_length(self, lengths: list[str], encodings: list[str]) -> int | None:
        if encodings:
            if [encoding.lower() for encoding in encodings] != ["chunked"]:
                raise MalformedRequestError("transfer-encoding is not chunked")
            if lengths:
                raise MalformedRequestError("content-length stands beside transfer-encoding")
            return None
        if not lengths:
            return 0
        if len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0]):
            raise MalformedRequestError("content-length is not one number of at most 18 digits")
        self._check_size(int(lengths[0]))
        return int(lengths[0])

    def _check_size(self, size: int) -> None:
        if self._largest_body is not None and size > self._largest_body:
            raise MalformedRequestError(f"the body is larger than {self._largest_body} bytes")

    def _read_plain(self, length: int) -> bytes | None:
        if len(self._waiting) < length:
            return None
        body = bytes(self._waiting[:length])
        del self._waiting[:length]
        return body

    def _read_chunks(self) -> bytes | None:
        while not self._in_trailers:
            line = self._peek_line()
            if line is None:
                return None
            size = _CHUNK_SIZE.fullmatch(line)
            if size is None:
                raise MalformedRequestError("a chunk has no size")
            length = int(size[1], 16)
            self._check_size(len(self._chunks) + length)
            begin = len(line) + 2
            end = begin + length
            if not length:
                del self._waiting[:begin]
                self._in_trailers = True
                break
            if len(self._waiting) < end + 2:
                return None
            if self._waiting[end : end + 2] != b"\r\n":
                raise MalformedRequestError("a chunk is longer than its size")
            self._chunks += self._waiting[begin:end]
            del self._waiting[: end + 2]
        return bytes(self._chunks) if self._read_trailers() else None

    def _read_trailers(self) -> bool:
        while (line := self._peek_line()) is not None:
            del self._waiting[: len(line) + 2]
            if not line:
                return True
            _header(line)  # no call has a use for trailers; malformed ones are refused all the same
        return False

    def _peek_line(self) -> bytes | None:
        end = self._waiting.find(b"\r\n")
        if end > _LARGEST_HEAD or (end < 0 and len(self._waiting) > _LARGEST_HEAD):
            raise MalformedRequestError(f"a line is longer than {_LARGEST_HEAD} bytes")
        if end < 0 and b"\n" in self._waiting:
            raise MalformedRequestError("a line ends without CR")
        return None if end < 0 else bytes(self._waiting[:end])


def _header(line: bytes) -> tuple[str, str]:
    parts = _HEADER.fullmatch(line)
    if parts is None:
        raise MalformedRequestError("a header line has no name, or holds a control character")
    name, value = parts.groups()
    return name.decode("ascii"), value.decode("latin-1").strip(" \t")


def has_body(response: Response, method: str) -> bool:
    """Whether an answer to this method bears its body."""
    return method != "HEAD" and _may_have_body(response)


def _may_have_body(response: Response) -> bool:
    return response.status >= 200 and response.status not in (204, 304)


def is_chunked(response: Response) -> bool:
    """Whether the body came in chunks, of a length that nobody told."""
    return response.header("transfer-encoding").lower() == "chunked"


def unchunked(response: Response) -> Response:
    """The response for who knows no chunks."""
    headers = (each for each in response.headers if each[0].lower() != "transfer-encoding")
    return response._replace(headers=tuple(headers))


def framed(response: Response, method: str) -> list[tuple[str, str]]:
    """The headers, with what says where the body ends.

    An answer to HEAD keeps the length that it tells of; where it tells of none, and nothing is
    known of the body, it bears none. Nor does a 204 (RFC 9110).
    """
    headers = [(name, value) for name, value in response.headers if name.lower() not in _FRAMING]
    if not _may_have_body(response):
        return headers
    told = response.header("content-length") if method == "HEAD" else ""
    if is_chunked(response):
        headers.append(("Transfer-Encoding", "chunked"))
    elif told or response.body or method != "HEAD":
        headers.append(("Content-Length", told or str(len(response.body))))
    return headers


def head(response: Response, method: str) -> bytes:
    """The status line and the headers, as bytes."""
    lines = [f"HTTP/1.1 {response.status} {response.phrase}"]
    lines += [f"{name}: {value}" for name, value in framed(response, method)]
    # A line break in a recorded value would make another header of its rest.
    safe = [_LINE_BREAKS.sub(" ", line) for line in lines]
    return ("\r\n".join(safe) + "\r\n\r\n").encode("latin-1", "replace")


def written(response: Response, method: str) -> bytes:
    """The bytes of a response; up to the cut, where it is one that is cut short."""
    body = response.body[: response.cut_after] if has_body(response, method) else b""
    if is_chunked(response) and has_body(response, method):
        size = b"%x\r\n" % len(response.body) if response.body else b""
        end = b"\r\n" * bool(body) + b"0\r\n\r\n" if response.cut_after is None else b""
        body = size + body + end
    return head(response, method) + body


def refusal(error: MalformedRequestError) -> Response:
    """What a service answers to a malformed request."""
    body = json.dumps({"id": "invalid_argument", "message": str(error)}).encode()
    return Response(400, (("Content-Type", "application/json"), ("Connection", "close")), body)
