"""A source in front of every HTTP client of this process, and the offline guard.

Three places are enough, since every client that the plugin answers goes through one of them: the
connections of ``http.client`` and urllib3 (hence urllib, requests, pydo, boto), the transports of
httpx (hence gradient), and the connectors of aiohttp. Where a client asks for a host that is ours,
a source answers; all else goes on as it would have. ``connect`` is replaced as a method of the real
connection classes: pools and connections made before or after are answered alike, and no thread
ever meets a moment in which nothing is patched.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import http.client
import io
import json
import re
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Self
from urllib.parse import urlsplit

import pytest

from pytest_indexjob.api.calls import API_URL
from pytest_indexjob.api.errors import IndexJobError, NetworkBlockedError
from pytest_indexjob.exchange import Exchange, Request, Response, Source, TransportFault
from pytest_indexjob.interception.guard import Guard
from pytest_indexjob.replacements import Replacements, original

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import requests

    from pytest_indexjob.exchange import Journal
    from pytest_indexjob.recording.cassette import Playback
    from pytest_indexjob.recording.recorder import Recorder
    from pytest_indexjob.simulation.simulator import Simulator
    from pytest_indexjob.virtual_time.clock import VirtualClock

_API_HOST = urlsplit(API_URL).hostname
Patch = tuple[Any, str, Any]  # an object, the name of one of its attributes, what stands there
_DEFAULT_PORTS = {"http": 80, "https": 443}
_ENDED = "the test that this connection belonged to has ended"


class Interception:
    """Stands between the clients of this process and one source, from ``start`` to ``stop``.

    ``source`` answers the requests to ``hosts``, to the API and to ``base_url``. Every exchange
    goes to ``journal``, and so does every miss: a request that the source could not answer, a
    connection that the guard stopped. More than ``max_polls`` requests, or sleeping on the clock
    past ``max_hours`` of it, fail the test; both count from the job that the test started last.
    ``secrets()`` gives the values that no text about the test may hold.
    """

    def __init__(
        self,
        journal: Journal,
        clock: VirtualClock,
        *,
        test: str = "",
        base_url: str = API_URL,
        allowed_hosts: Iterable[str] = (),
        max_polls: int = 10_000,
        max_hours: float = 48.0,
        secrets: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        self.journal = journal
        self.clock = clock
        self._max_polls = max_polls
        self._max_hours = max_hours
        self._runaway = ""
        self._begun = 0, 0.0
        self._secrets = secrets
        self.source: Source | None = None
        self.recorder: Recorder | None = None
        self._strict_playback: Playback | None = None
        self._playback: Playback | None = None
        self.told = False
        self.hosts = {urlsplit(base_url).netloc.rpartition("@")[2].lower()}
        self._test = test
        self.guard = Guard(journal, test, allowed_hosts)
        self._replacements = Replacements()
        self.active = False

    def start(self) -> Self:
        """Put it in place."""
        # vcrpy keeps whatever it finds at its first import as the originals, so it is to find the
        # real ones.
        import vcr.patch  # noqa: F401

        # All are made before the first is in place, so that none takes another for the original.
        patches = [
            *_connection_patches(self),
            *_httpx_patches(self),
            *_aiohttp_patches(self),
            *self.guard.patches(),
        ]
        try:
            for owner, name, replacement in patches:
                self._replacements.put(owner, name, replacement)
        except BaseException:  # a time-out's or the keyboard's interrupt, too
            self.stop()
            raise
        self.clock.on_sleep.append(self._check_hours)
        self.active = self.guard.active = True
        return self

    def stop(self) -> None:
        """Take it away: everything is as it was before ``start``."""
        self.active = self.guard.active = False
        if self._check_hours in self.clock.on_sleep:
            self.clock.on_sleep.remove(self._check_hours)
        self._replacements.put_back()

    def simulate(self, simulator: Simulator) -> None:
        """Let the simulator answer."""
        self.source = simulator
        self.hosts |= simulator.hosts
        simulator.on_start = self._begin

    def _begin(self) -> None:
        """The test started a job: what is asked from here on is another story, and may be as long as any."""
        self._begun = len(self.journal), self.clock.elapsed

    def play(self, playback: Playback, *, strict: bool, recorder: Recorder | None = None) -> None:
        """Let recordings answer; ``strict`` also complains of answers that were left unplayed.

        With a ``recorder`` the service answers what they do not, and it is recorded.
        """
        self.source = recorder or playback
        self.hosts |= playback.hosts
        self.recorder = recorder
        self._playback = playback
        self._strict_playback = playback if strict else None

    @functools.cached_property
    def redact(self) -> Callable[[str], str]:
        """Takes the secrets out of a text that is to be shown."""
        from pytest_indexjob.secrecy.redaction import shared_redaction

        return shared_redaction(tuple(self._secrets())).redact_text

    @property
    def cassettes(self) -> list[str]:
        """The files that were put in front of the test."""
        return (
            [str(recording.path) for recording in self._playback.recordings]
            if self._playback
            else []
        )

    @property
    def sleeps(self) -> list[tuple[float, float]]:
        """When the clock was slept on, and for how long, in seconds."""
        return list(zip(self.clock.slept_at, self.clock.sleeps, strict=True))

    def complaint(self, *, passed: bool = False) -> str:
        """What the test is to fail with, each thing once, or ``""``.

        Unplayed answers count if it ``passed`` so far.
        """
        # One mistake in a polling loop makes many misses that say the same.
        complaints = [*dict.fromkeys(str(error) for error in self.journal.misses)]
        if complaints:
            complaints.insert(0, "not every request of this test could be answered:")
        self.journal.misses.clear()
        if self._runaway:
            complaints.insert(0, self._runaway)
            self._runaway = ""
        unplayed = self._strict_playback.unplayed if passed and self._strict_playback else []
        if unplayed:
            requests = "".join(f"\n    {request!r}" for request in unplayed)
            complaints.append(
                f"recorded answers were left unplayed, and the mark says strict:{requests}"
            )
        return self.redact("\n\n".join(complaints)) if complaints else ""

    def claims(self, host: str | None, port: int | None, scheme: str) -> bool:
        """Whether requests to a host are the source's to answer."""
        if not self.active or host is None or scheme not in _DEFAULT_PORTS or self.guard.passing():
            return False
        host = host.lower()
        return host == _API_HOST or _netloc(host, port, scheme) in self.hosts

    def answer(self, request: Request, timeout: float | None = None) -> Response:
        """The source's answer, its delay spent.

        Raises ``TransportFault`` for none; keeps a miss as one.
        """
        asked = len(self.journal) - self._begun[0]
        if asked >= self._max_polls:
            self._stop_runaway(f"{asked} requests in one test", "indexjob_max_polls")
        at = self.clock.elapsed
        try:
            response = self._answer(request)
            self._wait(response.delay, timeout)
        except (IndexJobError, TransportFault) as error:
            self.journal.add(Exchange(request, None, error, at))
            if isinstance(error, IndexJobError):
                self.journal.add_miss(error)
            raise
        if self.recorder is not None:
            self.hosts |= self.recorder.hosts
        self.journal.add(Exchange(request, response, None, at))
        return response._replace(delay=0.0) if response.delay else response

    def forward(self, request: Request, timeout: float) -> Response:
        """What the real service answers, as it came over the wire.

        Raises ``TransportFault`` for no answer.
        """
        import requests
        import urllib3

        session = requests.Session()
        session.headers.clear()
        session.auth = _as_it_is  # a netrc entry is not to take the place of the client's own token
        headers = {
            name: value for name, value in request.headers if name.lower() not in _HOP_BY_HOP
        }
        with self.guard.let_pass(), session:
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
                late = isinstance(
                    error, requests.Timeout | TimeoutError | urllib3.exceptions.TimeoutError
                )
                kind: Any = "timeout" if late else "refused"
            else:
                return Response(
                    answer.status_code, tuple(answer.raw.headers.items()), body, answer.reason or ""
                )
        raise TransportFault(kind)

    def answer_elsewhere(self, request: Request) -> Response:
        """The source's answer for a server's client, which no exception reaches: what fails the test is told it."""
        try:
            return self.answer(request)
        except IndexJobError as error:
            body = json.dumps({"id": type(error).__name__, "message": str(error)}).encode()
            return Response(501, (("Content-Type", "application/json"),), body)
        except pytest.fail.Exception:
            raise TransportFault("reset") from None

    def _check_hours(self) -> None:
        hours = (self.clock.elapsed - self._begun[1]) / 3600
        if hours > self._max_hours:
            self._stop_runaway(
                f"{hours:.0f} hours of the test's clock have passed", "indexjob_max_hours"
            )

    def _stop_runaway(self, limit: str, setting: str) -> NoReturn:
        """Fail the test, by an exception that code which catches ``Exception`` does not catch."""
        from pytest_indexjob.interception.runaway import explain

        slept = bool(self.clock.sleeps)
        story = explain(self.journal.exchanges[self._begun[0] :], limit, setting, slept=slept)
        self._runaway = self._runaway or self.redact(story)
        pytest.fail(self._runaway, pytrace=False)

    def _answer(self, request: Request) -> Response:
        if self.source is None:
            raise NetworkBlockedError(
                f"{request!r} has nothing to answer it. Ask for the fixture indexjob_simulator, or"
                " mark the test with @pytest.mark.indexjob_cassette(NAME) to answer it from a"
                " recording",
                host=urlsplit(request.url).hostname or "",
                port=None,
                test=self._test,
            )
        return self.source.handle(request)

    def _wait(self, delay: float, timeout: float | None) -> None:
        if delay and timeout is not None and delay > timeout:
            self.clock.sleep(timeout)
            raise TransportFault("timeout")
        if delay:
            self.clock.sleep(delay)

    def session(self) -> requests.Session:
        """A requests session that is answered directly, with no connection below it."""
        import requests

        session = requests.Session()
        # Proxies and netrc of the machine have no say here, and looking them up is half of a call's
        # cost.
        session.trust_env = False
        adapter = _adapter_class()(self)
        session.mount("https://", adapter)
        session.mount("http://", adapter)
        return session

    def live_session(self) -> requests.Session:
        """A requests session that reaches the real service and keeps its exchanges in the journal."""
        import requests

        session = requests.Session()
        session.hooks["response"].append(self._keep)
        return session

    def _keep(self, response: requests.Response, **_: Any) -> None:
        request = _prepared(response.request)
        answer = Response(
            response.status_code, tuple(response.headers.items()), response.content, response.reason
        )
        self.journal.add(Exchange(request, answer, None, self.clock.elapsed))


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


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _prepared(request: requests.PreparedRequest) -> Request:
    body = request.body or b""
    content = body.encode() if isinstance(body, str) else bytes(body)
    return Request(
        request.method or "GET", request.url or "", tuple(request.headers.items()), content
    )


def _netloc(host: str, port: int | None, scheme: str) -> str:
    shown = f"[{host}]" if ":" in host else host
    return shown if port in (None, _DEFAULT_PORTS[scheme]) else f"{shown}:{port}"


# The plugin's own client: an adapter of requests.


def _adapter_class() -> type[Any]:
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3 import HTTPHeaderDict, HTTPResponse

    class SourceAdapter(HTTPAdapter):
        def __init__(self, interception: Interception) -> None:
            super().__init__()
            self._interception = interception

        # The other arguments concern connections.
        def send(  # type: ignore[override]
            self, request: requests.PreparedRequest, timeout: Any = None, **_: Any
        ) -> requests.Response:
            asked = _prepared(request)
            try:
                answer = self._interception.answer(asked, timeout)
            except TransportFault as fault:
                kind = requests.ReadTimeout if fault.kind == "timeout" else requests.ConnectionError
                raise kind(f"{fault.kind}: {asked!r}", request=request) from None
            if answer.cut_after is None and not answer.header("content-encoding"):
                return self._plain(request, asked, answer)
            raw = HTTPResponse(
                body=_stream(answer.body, answer.cut_after),
                headers=HTTPHeaderDict(_framed(answer, asked.method)),
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
            for name, value in _framed(answer, asked.method):
                headers[name] = f"{headers[name]}, {value}" if name in headers else value
            response.headers.update(headers)
            response.status_code, response.reason, response.url = (
                answer.status,
                answer.phrase,
                asked.url,
            )
            response.encoding = requests.utils.get_encoding_from_headers(response.headers)
            response.request = request
            response.raw = io.BytesIO(answer.body if _has_body(answer, asked.method) else b"")
            return response

    return SourceAdapter


# http.client and urllib3: connections with a socket that answers.


def _connection_patches(interception: Interception) -> Iterator[Patch]:
    import urllib3.connection

    for module in (http.client, urllib3.connection):
        for name in ("HTTPSConnection", "HTTPConnection"):
            connection_class = getattr(module, name)
            connect = _connect(interception, original(connection_class, "connect"))
            yield connection_class, "connect", connect
    start = _put_request(interception, original(http.client.HTTPConnection, "putrequest"))
    yield http.client.HTTPConnection, "putrequest", start


def _destination(connection: Any) -> tuple[str, int, str]:
    scheme = "https" if connection.default_port == _DEFAULT_PORTS["https"] else "http"
    if connection._tunnel_host:  # what a proxy is asked to connect to
        return connection._tunnel_host, connection._tunnel_port or connection.default_port, scheme
    return connection.host, connection.port, scheme


def _connect(interception: Interception, real: Callable[..., None]) -> Callable[..., None]:
    def connect(self: Any) -> None:
        host, port, scheme = _destination(self)
        if interception.claims(host, port, scheme):
            self.sock = _AnsweringSocket(
                interception, self, f"{scheme}://{_netloc(host, port, scheme)}"
            )
            self.is_verified = True
        else:
            if self._tunnel_host:  # a proxy on this machine would lead out of it
                interception.guard.check(host, port)
            real(self)

    return connect


def _put_request(interception: Interception, real: Callable[..., None]) -> Callable[..., None]:
    def putrequest(self: Any, method: str, url: str, *args: Any, **kwargs: Any) -> None:
        # A connection kept alive since before the test leads to the real service.
        kept = self.sock is not None and not isinstance(self.sock, _AnsweringSocket)
        if kept and interception.claims(*_destination(self)):
            http.client.HTTPConnection.close(
                self
            )  # urllib3's own would forget the request that it is about to make
        real(self, method, url, *args, **kwargs)

    return putrequest


class _LastResponse(http.client.HTTPResponse):
    """A response after which the connection closes, so that no pool keeps a socket that is none."""

    # A fault strikes before the response has its stream, and from Python 3.13 on its end is told if
    # it looks for it.
    fp: Any = None

    def begin(self) -> None:
        super().begin()
        self.will_close = True


class _AnsweringSocket:
    """Stands where a connection's socket would: takes the bytes of a request, gives the bytes of its answer."""

    def __init__(self, interception: Interception, connection: Any, base: str) -> None:
        self._interception = interception
        self._connection = connection
        self._base = base
        self._sent = bytearray()
        self._timeout: float | None = (
            connection.timeout if isinstance(connection.timeout, int | float) else None
        )
        connection.response_class = _LastResponse

    def sendall(self, data: Any, _flags: int = 0) -> None:
        self._sent += data

    def makefile(self, *_: Any, **__: Any) -> Any:
        if not self._interception.active:
            raise ConnectionResetError(_ENDED)
        request = _parsed(bytes(self._sent), self._base)
        try:
            response = self._interception.answer(request, self._timeout)
        except TransportFault as fault:
            raise _os_error(fault) from None
        return _stream(_wire(response, request.method), _cut(response, request.method))

    def settimeout(self, timeout: float | None) -> None:
        self._timeout = timeout

    def setsockopt(self, *_: Any) -> None:
        pass

    def shutdown(self, *_: Any) -> None:
        pass

    def close(self) -> None:
        self._connection.__dict__.pop("response_class", None)


def _os_error(fault: TransportFault) -> OSError:
    if fault.kind == "timeout":
        return TimeoutError("timed out")
    if fault.kind == "refused":
        return ConnectionRefusedError("connection refused")
    # What http.client itself says where the other side hangs up.
    return http.client.RemoteDisconnected("Remote end closed connection without response")


def _parsed(sent: bytes, base: str) -> Request:
    head, _, body = sent.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, _, rest = first.partition(" ")
    target = rest.rpartition(" ")[0]
    headers = tuple(
        (name, value.strip()) for name, _, value in (line.partition(":") for line in lines)
    )
    request = Request(method, target if target.startswith("http") else base + target, headers, body)
    if request.header("transfer-encoding").lower() == "chunked":
        request = request._replace(body=_dechunked(body)[0])
    return request


def _dechunked(body: bytes) -> tuple[bytes, bool]:
    """What stands in the chunks, and whether the last of them is there."""
    whole = bytearray()
    while True:
        size, ended, body = body.partition(b"\r\n")
        length = int(size.split(b";")[0], 16) if ended else 0
        if not length:
            return bytes(whole), bool(ended)
        whole += body[:length]
        body = body[length + 2 :]


def _has_body(response: Response, method: str) -> bool:
    return method != "HEAD" and response.status not in (204, 304) and response.status >= 200


def _framed(response: Response, method: str) -> list[tuple[str, str]]:
    """The headers, with the length of the body that is there: a recording is no longer chunked."""
    framing = (
        ("transfer-encoding", "content-length", "connection")
        if _has_body(response, method)
        else ("connection",)
    )
    headers = [(name, value) for name, value in response.headers if name.lower() not in framing]
    if _has_body(response, method):
        headers.append(("Content-Length", str(len(response.body))))
    return headers


def _head(response: Response, method: str) -> bytes:
    lines = [f"HTTP/1.1 {response.status} {response.phrase}"]
    lines += [f"{name}: {value}" for name, value in _framed(response, method)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def _wire(response: Response, method: str) -> bytes:
    return _head(response, method) + (response.body if _has_body(response, method) else b"")


def _cut(response: Response, method: str) -> int | None:
    return None if response.cut_after is None else len(_head(response, method)) + response.cut_after


class _CutStream(io.RawIOBase):
    """Bytes that end in a reset connection."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._content.readinto(buffer)
        if not count:
            raise ConnectionResetError("Connection reset by peer")
        return count


def _stream(content: bytes, cut_after: int | None) -> Any:
    return (
        io.BytesIO(content)
        if cut_after is None
        else io.BufferedReader(_CutStream(content[:cut_after]))
    )


# httpx: its two transports.


def _httpx_patches(interception: Interception) -> Iterator[Patch]:
    try:
        import httpx
    except ImportError:
        return
    handle = original(httpx.HTTPTransport, "handle_request")
    handle_async = original(httpx.AsyncHTTPTransport, "handle_async_request")

    def claims(request: Any) -> bool:
        return interception.claims(request.url.host, request.url.port, request.url.scheme)

    def handle_request(self: Any, request: Any) -> Any:
        return (
            _httpx_answer(interception, request, request.read())
            if claims(request)
            else handle(self, request)
        )

    async def handle_async_request(self: Any, request: Any) -> Any:
        if not claims(request):
            return await handle_async(self, request)
        return _httpx_answer(interception, request, await request.aread())

    yield httpx.HTTPTransport, "handle_request", handle_request
    yield httpx.AsyncHTTPTransport, "handle_async_request", handle_async_request


def _httpx_answer(interception: Interception, request: Any, body: bytes) -> Any:
    import httpx

    # The raw pairs: httpx looks for the encoding of all of them anew for each that it decodes.
    headers = tuple(
        (name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw
    )
    asked = Request(request.method, str(request.url), headers, body)
    try:
        answer = interception.answer(asked, request.extensions.get("timeout", {}).get("read"))
    except TransportFault as fault:
        kind = {
            "timeout": httpx.ReadTimeout,
            "refused": httpx.ConnectError,
            "reset": httpx.ReadError,
        }[fault.kind]
        raise kind(f"{fault.kind}: {asked!r}", request=request) from None
    content = answer.body if _has_body(answer, asked.method) else b""
    stream = httpx.ByteStream(content) if answer.cut_after is None else _httpx_cut_stream(answer)
    extensions = {
        "http_version": b"HTTP/1.1",
        "reason_phrase": answer.phrase.encode("ascii", "replace"),
    }
    framed = [
        (name.encode("latin-1", "replace"), value.encode("latin-1", "replace"))
        for name, value in _framed(answer, asked.method)
    ]
    return httpx.Response(answer.status, headers=framed, stream=stream, extensions=extensions)


def _httpx_cut_stream(answer: Response) -> Any:
    import httpx

    class CutStream(httpx.SyncByteStream, httpx.AsyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield answer.body[: answer.cut_after]
            raise httpx.ReadError("Connection reset by peer")

        async def __aiter__(self) -> Any:
            for part in self:
                yield part

    return CutStream()


# aiohttp: its connectors, whose connections get a transport that answers.


def _aiohttp_patches(interception: Interception) -> Iterator[Patch]:
    try:
        from aiohttp import BaseConnector
        from aiohttp.client_proto import ResponseHandler
        from aiohttp.connector import Connection
    except ImportError:
        return
    real = original(BaseConnector, "connect")

    async def connect(self: Any, req: Any, traces: Any, timeout: Any) -> Any:
        url = req.url
        if not interception.claims(url.host, url.port, url.scheme):
            return await real(self, req, traces, timeout)
        loop = asyncio.get_running_loop()
        protocol = ResponseHandler(loop)
        protocol.connection_made(_AnsweringTransport(interception, protocol, loop, req, timeout))
        return Connection(self, req.connection_key, protocol, loop)

    yield BaseConnector, "connect", connect


class _AnsweringTransport(asyncio.Transport):
    """Stands where a connection's transport would: takes the bytes of a request, gives the bytes of its answer."""

    def __init__(
        self, interception: Interception, protocol: Any, loop: Any, req: Any, timeout: Any
    ) -> None:
        super().__init__()
        self._interception = interception
        self._protocol = protocol
        self._loop = loop
        self._key = req.connection_key
        self._base = str(req.url.origin())
        self._read_timeout = timeout.sock_read
        self._timeout = min(
            (value for value in (timeout.sock_read, timeout.total) if value), default=None
        )
        self._sent = bytearray()
        self._state: Literal["open", "answering", "closed"] = "open"

    def write(self, data: Any) -> None:
        self._sent += data
        # Nothing is said at once: aiohttp has not yet done what it does after it wrote.
        if self._state == "open" and _is_whole(bytes(self._sent)):
            self._state = "answering"
            self._loop.call_soon(self._answer)
        elif self._sent.endswith(b"\r\n\r\n") and re.search(
            rb"(?i)\nexpect: *100-continue", self._sent
        ):
            self._loop.call_soon(self._protocol.data_received, b"HTTP/1.1 100 Continue\r\n\r\n")

    def is_closing(self) -> bool:
        return self._state == "closed"

    def close(self) -> None:
        if self._state != "closed":
            self._lose(None)

    abort = close

    def _lose(self, error: Exception | None) -> None:
        self._state = "closed"
        self._loop.call_soon(self._protocol.connection_lost, error)

    def _answer(self) -> None:
        if self._state == "closed":  # whoever asked has given up
            return
        request = _parsed(bytes(self._sent), self._base)
        try:
            if not self._interception.active:
                raise ConnectionResetError(_ENDED)
            response = self._interception.answer(request, self._timeout)
        except TransportFault as fault:
            self._fail(fault)
        except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001
            # Whoever awaits the answer raises it.
            self._protocol.set_exception(error)
        else:
            self._protocol.force_close()  # no pool keeps a transport that is none
            cut = _cut(response, request.method)
            self._protocol.data_received(_wire(response, request.method)[:cut])
            if cut is not None:
                self._lose(ConnectionResetError("Connection reset by peer"))

    def _fail(self, fault: TransportFault) -> None:
        import aiohttp

        if fault.kind == "reset":
            self._lose(None)
        elif fault.kind == "refused":
            refused = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
            self._protocol.set_exception(aiohttp.ClientConnectorError(self._key, refused))
        elif self._timeout == self._read_timeout:
            self._protocol.set_exception(
                aiohttp.SocketTimeoutError("Timeout on reading data from socket")
            )
        else:
            self._protocol.set_exception(TimeoutError())


def _is_whole(sent: bytes) -> bool:
    """Whether a request has come with all of its body; without a length and chunks it has none."""
    head, blank, body = sent.partition(b"\r\n\r\n")
    if re.search(rb"(?i)\ntransfer-encoding: *chunked", head):
        return _dechunked(body)[1]
    length = re.search(rb"(?i)\ncontent-length: *(\d+)", head)
    return bool(blank) and len(body) >= int(length[1] if length else 0)
