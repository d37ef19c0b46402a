"""``http.client`` and urllib3: connections whose socket answers.

urllib, requests, pydo and boto are answered here as well, since all of them send through these
connections. ``connect`` is replaced as a method of the real classes, so pools and connections made
before or after are answered alike. Where the host is the source's, the connection gets an object in
the place of its socket, which takes the bytes of the request as the client's own code makes them. A
plain answer fills the client's response; the bytes of any other are parsed by the client's own
code. No pool keeps such a socket: each answer ends its connection.
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import io
import re
import ssl
import sys
from typing import TYPE_CHECKING, Any

from pytest_indexjob.exchange import Response, TransportFault, netloc_of
from pytest_indexjob.http1 import (
    MalformedRequestError,
    RequestReader,
    is_chunked,
    refusal,
    written,
)
from pytest_indexjob.interception.forward_proxies import host_of_target
from pytest_indexjob.interception.guard import VCRPY
from pytest_indexjob.replacements import Patch, original

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from pytest_indexjob.interception.interception import Interception

ENDED = "the test that this connection belonged to has ended"
_NO_SOCKET = "a connection that pytest-indexjob answers"
_WAY_OUT = "Code that needs a real socket is answered by the fixture indexjob_server"
# A final answer of at most 100 headers, in which parsing would find what is there.
_PLAIN_HEAD = re.compile(
    rb"HTTP/1\.1 [2-9][0-9]{2} [!-~](?:[ -~]*[!-~])?\r\n"
    rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+: [!-~](?:[ -~]*[!-~])?\r\n){0,100}\r\n"
)


def patches(interception: Interception, module: ModuleType) -> Iterator[Patch]:
    """Those of the connection classes in ``http.client`` or ``urllib3.connection``."""
    for name in ("HTTPSConnection", "HTTPConnection"):
        connection_class = getattr(module, name)
        real = original(connection_class, "connect")
        # The package urllib3-future takes urllib3's name, and vcrpy's classes stand there while it
        # plays: these connections know no such socket.
        known = issubclass(connection_class, http.client.HTTPConnection)
        connect = _connect(interception, real) if known else _refuse(interception, real)
        yield Patch(connection_class, "connect", connect)


def _refuse(interception: Interception, real: Callable[..., None]) -> Callable[..., None]:
    def connect(self: Any) -> None:
        is_vcrpys = type(self).__module__.startswith("vcr.")
        client = VCRPY if is_vcrpys else "urllib3-future"
        interception.guard.check(self.host, self.port, client=client)
        real(self)

    return connect


def http_client_patches(interception: Interception) -> Iterator[Patch]:
    """Those of ``http.client``, from whose connections urllib3's descend."""
    yield from patches(interception, http.client)
    yield _put_request(interception)


def httplib2_patches(interception: Interception, httplib2: ModuleType) -> Iterator[Patch]:
    """Those of httplib2's connection classes, which connect in a way of their own."""
    for name in ("HTTPSConnectionWithTimeout", "HTTPConnectionWithTimeout"):
        connection_class = getattr(httplib2, name)
        real = original(connection_class, "connect")
        yield Patch(connection_class, "connect", _connect(interception, real))


def _put_request(interception: Interception) -> Patch:
    """Answers what a proxy is asked for, and ends connections from before the test.

    Such a connection would reach the service, or a host that is out of bounds. The client makes
    another, which is answered or stopped.
    """
    real = original(http.client.HTTPConnection, "putrequest")

    def putrequest(self: Any, method: str, url: str, *args: Any, **kwargs: Any) -> None:
        host, port, scheme = _destination(self)
        by_proxy = host_of_target(method, url)
        if by_proxy is not None:
            scheme = url.partition("://")[0].lower()
            if not interception.claims(*by_proxy, scheme):
                interception.guard.check(*by_proxy)
            else:
                http.client.HTTPConnection.close(self)
                connect = type(self).connect
                base = f"{scheme}://{netloc_of(*by_proxy, scheme)}"
                self.sock = AnsweringSocket(interception, self, base, connect)
        elif (
            self.sock is not None
            and not isinstance(self.sock, AnsweringSocket)
            and (
                interception.claims(host, port, scheme)
                or interception.guard.leads_astray(self.sock, host)
            )
        ):
            # urllib3's own `close` would forget the request that it is about to make.
            http.client.HTTPConnection.close(self)
        real(self, method, url, *args, **kwargs)

    return Patch(http.client.HTTPConnection, "putrequest", putrequest)


def _connect(interception: Interception, real: Callable[..., None]) -> Callable[..., None]:
    def connect(self: Any) -> None:
        host, port, scheme = _destination(self)
        if interception.claims(host, port, scheme):
            base = f"{scheme}://{netloc_of(host, port, scheme)}"
            self.sock = AnsweringSocket(interception, self, base, real)
            self.is_verified = True
        else:
            if self._tunnel_host:  # a proxy on this machine would lead out of it
                interception.guard.check(host, port)
            real(self)

    return connect


def _destination(connection: Any) -> tuple[str, int, str]:
    scheme = "https" if connection.default_port == http.client.HTTPS_PORT else "http"
    if connection._tunnel_host:  # what a proxy is asked to connect to
        return connection._tunnel_host, connection._tunnel_port or connection.default_port, scheme
    return connection.host, connection.port, scheme


class _LastResponse(http.client.HTTPResponse):
    """A response after which the connection closes, so that no pool keeps a socket that is none."""

    # A fault strikes before the response has its stream, and from Python 3.13 on its end is told if
    # it looks for it.
    fp: Any = None

    def begin(self, *args: Any, **kwargs: Any) -> None:
        if isinstance(self.fp, _PlainAnswer) and not self.debuglevel:
            self._fill(self.fp)
        else:
            super().begin(*args, **kwargs)
        self.will_close = True

    def _fill(self, plain: _PlainAnswer) -> None:
        """Set what ``begin`` would set, without its parsing, which takes most of its time."""
        plain.seek(len(plain.head))
        first, *lines = plain.head.decode("ascii").removesuffix("\r\n\r\n").split("\r\n")
        _, status, self.reason = first.split(" ", 2)
        self.version, self.chunked, self.chunk_left = 11, False, None
        self.code = self.status = int(status)
        self.headers = self.msg = http.client.HTTPMessage()
        for line in lines:
            name, _, self.headers[name] = line.partition(": ")
        self.length = len(plain.getbuffer()) - len(plain.head)


class _PlainAnswer(io.BytesIO):
    """The bytes of an answer whose head means just what it says."""

    def __init__(self, head: bytes, content: bytes) -> None:
        super().__init__(content)
        self.head = head


class _CutShort(Exception):
    """The service broke off within a body, which the client's own code is to find out.

    ``received`` are the bytes of the answer as far as they came.
    """

    def __init__(self, received: bytes) -> None:
        super().__init__("the body of the answer was cut short")
        self.received = received


class AnsweringSocket:
    """Stands where a connection's socket would."""

    def __init__(
        self,
        interception: Interception,
        connection: Any,
        base: str,
        connect: Callable[[Any], None],
    ) -> None:
        self._interception = interception
        self._connect = connect
        self._sent = bytearray()  # what is forwarded while the test records
        self._connection = connection
        self._reader = RequestReader(base)
        timeout = connection.timeout
        self._timeout: float | None = timeout if isinstance(timeout, int | float) else None
        connection.response_class = _LastResponse

    def sendall(self, data: Any, _flags: int = 0) -> None:
        """Take bytes of the request."""
        self._reader.feed(data)
        if self._interception.recorder is not None:
            self._sent += data

    def makefile(self, *_: Any, **__: Any) -> Any:
        """The stream of the answer."""
        if not self._interception.active:
            raise ConnectionResetError(ENDED)
        try:
            request = self._reader.next_request()
            if request is None:  # the service would wait for the rest of the body
                raise TransportFault("timeout")
            sent, self._sent = bytes(self._sent), bytearray()
            response = self._interception.answer(
                request, self._timeout, lambda: self._forward(request.method, sent)
            )
        except MalformedRequestError as error:
            return stream(written(refusal(error), "GET"), refusal(error))
        except TransportFault as fault:
            raise _os_error(fault) from None
        except _CutShort as cut:
            return io.BytesIO(cut.received)
        content = written(response, request.method)
        is_whole = response.cut_after is None and not is_chunked(response)
        plain = _PLAIN_HEAD.match(content) if is_whole else None
        return _PlainAnswer(plain[0], content) if plain else stream(content, response)

    def _forward(self, method: str, sent: bytes) -> Response:
        """What the real service answers, over a connection that the client's own code opens."""
        connection = self._connection
        try:
            self._connect(connection)
            sock = connection.sock
        except ssl.SSLError as error:
            urllib3 = sys.modules.get("urllib3")
            if urllib3 and isinstance(connection, urllib3.connection.HTTPConnection):
                raise urllib3.exceptions.SSLError(error) from error  # as urllib3 itself tells it
            raise
        finally:
            connection.sock = self
        with contextlib.closing(sock):
            sock.settimeout(self._timeout)
            sock.sendall(sent)
            with contextlib.closing(http.client.HTTPResponse(sock, method=method)) as answer:
                answer.begin()
                head = Response(answer.status, tuple(answer.getheaders()), b"", answer.reason)
                try:
                    return head._replace(body=answer.read())
                except http.client.IncompleteRead as error:
                    # Framed as one byte more, which does not come.
                    partial = error.partial
                    cut = head._replace(body=partial + b"\0", cut_after=len(partial))
                    raise _CutShort(written(cut, method)) from error

    def settimeout(self, timeout: float | None) -> None:
        """Wait so many seconds for the answer."""
        self._timeout = timeout

    def gettimeout(self) -> float | None:
        """How many seconds it waits."""
        return self._timeout

    def getpeername(self) -> tuple[str, int]:
        """The host that the client asked for, as there is no address, and the port."""
        return self._connection.host, self._connection.port

    def getsockname(self) -> tuple[str, int]:
        """An address of this machine."""
        return "127.0.0.1", 0

    def getpeercert(self, binary_form: bool = False) -> Any:
        """No certificate: nobody has to be trusted."""
        return b"" if binary_form else {}

    def fileno(self) -> int:
        """Raise ``OSError``: there is no file."""
        raise OSError(errno.EBADF, f"{_NO_SOCKET} has no file number. {_WAY_OUT}")

    def __getattr__(self, name: str) -> Any:
        """Say what is missing, for whatever else a socket has."""
        raise AttributeError(f"{_NO_SOCKET} has no {name!r}. {_WAY_OUT}", name=name, obj=self)

    def setsockopt(self, *_: Any) -> None:
        """Nothing: there is no network to have options."""

    def getsockopt(self, _level: int, _option: int, length: int = 0) -> int | bytes:
        """Zero, since no option is set and no error is waiting."""
        return bytes(length) if length else 0

    def shutdown(self, *_: Any) -> None:
        """Nothing: there is no other side."""

    def close(self) -> None:
        """Let the connection have its own class of responses again."""
        self._connection.__dict__.pop("response_class", None)


def _os_error(fault: TransportFault) -> OSError:
    if fault.kind == "timeout":
        return TimeoutError("timed out")
    if fault.kind == "refused":
        return ConnectionRefusedError("connection refused")
    # What http.client itself says where the other side hangs up.
    return http.client.RemoteDisconnected("Remote end closed connection without response")


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


def stream(content: bytes, response: Response) -> Any:
    """A file of these bytes, which for a response that is cut short ends in a reset connection."""
    if response.cut_after is None:
        return io.BytesIO(content)
    return io.BufferedReader(_CutStream(content))
