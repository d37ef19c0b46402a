"""What a client asks a forward proxy for, read from the bytes that it sends.

A proxy on this machine would lead out of it. It is asked in one of four ways: ``CONNECT`` and a
host, a request line with a whole URL, and the hellos of SOCKS 4 and 5. Other servers are asked in
none of these ways.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

_LARGEST_HEAD = 64 * 1024
_METHOD = re.compile(rb"[A-Za-z]{1,20}(?: |$)")
_REQUEST_LINE = re.compile(rb"([A-Za-z]+) +(\S+) +HTTP/1\.[0-9]\r?\n")
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_LENGTH = re.compile(rb"\ncontent-length:[ \t]*([0-9]{1,18})", re.IGNORECASE)
_CHUNKED = re.compile(rb"\ntransfer-encoding:[^\n]*chunked", re.IGNORECASE)
_AUTHORITY = re.compile(r"(?:[^/?#@]*@)?(?:\[([^\]]*)\]|([^:/?#]*))(?::([0-9]{0,5}))?")
_LAST_CHUNK = b"0\r\n\r\n"
_SOCKS4, _SOCKS5 = 4, 5
_PORTS = {"http": 80, "https": 443}
Host = tuple[str, int | None]


def host_of_target(method: str, target: str) -> Host | None:
    """The host and the port that a request line asks a proxy for, or ``None``."""
    scheme, separator, rest = target.partition("://")
    if method.upper() == "CONNECT":
        scheme, rest = "", target
    elif not separator or scheme.lower() not in _PORTS:
        return None
    found = _AUTHORITY.match(rest)
    if found is None:
        return None
    port = int(found[3]) if found[3] else _PORTS.get(scheme.lower())
    return found[1] or found[2], port


class ProxyRequests:
    """Finds the hosts that one connection asks a proxy for. It is fed with what is sent.

    ``hosts`` are those so far: a client that was refused one may send the same bytes again.
    """

    def __init__(self) -> None:
        self.hosts: dict[Host, None] = {}
        self._waiting = bytearray()
        self._body_left = 0
        self._in_chunks = False
        self._line_is_read = False
        self._says_socks = False
        self._is_over = False

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next bytes."""
        if self._is_over:
            return
        self._waiting += data
        while self._waiting and not self._is_over:
            before = len(self._waiting), self._line_is_read
            self.hosts.update(dict.fromkeys(self._step()))
            if before == (len(self._waiting), self._line_is_read):
                return  # the rest is still to come

    def _step(self) -> Iterator[Host]:
        if self._body_left or self._in_chunks:
            self._skip_body()
        elif self._says_socks or self._waiting[0] in (_SOCKS4, _SOCKS5):
            yield from self._read_socks()
        else:
            yield from self._read_head()

    def _stop(self) -> None:
        """Look no longer: what is sent is for no proxy."""
        self._is_over = True
        self._waiting.clear()

    def _skip_body(self) -> None:
        if self._in_chunks:
            self._in_chunks = not self._waiting.endswith(_LAST_CHUNK)
            del self._waiting[: -len(_LAST_CHUNK) if self._in_chunks else None]
            return
        skipped = min(self._body_left, len(self._waiting))
        del self._waiting[:skipped]
        self._body_left -= skipped

    def _read_head(self) -> Iterator[Host]:
        while self._waiting.startswith((b"\r\n", b"\n")):
            del self._waiting[:1]
        if not self._line_is_read:
            line = _REQUEST_LINE.match(self._waiting)
            if line is None:
                is_line = b"\n" in self._waiting or len(self._waiting) > _LARGEST_HEAD
                if self._waiting and (is_line or not _METHOD.match(self._waiting)):
                    self._stop()
                return
            self._line_is_read = True
            method, target = (part.decode("latin-1") for part in line.groups())
            host = host_of_target(method, target)
            if host is not None:
                yield host
        end = _HEAD_END.search(self._waiting)
        if end is None:
            if len(self._waiting) > _LARGEST_HEAD:
                self._stop()
            return
        head = bytes(self._waiting[: end.start()])
        del self._waiting[: end.end()]
        self._line_is_read = False
        length = _LENGTH.search(head)
        self._body_left = int(length[1]) if length else 0
        self._in_chunks = _CHUNKED.search(head) is not None

    def _read_socks(self) -> Iterator[Host]:
        sent = bytes(self._waiting)
        version, second = sent[0], sent[1] if len(sent) > 1 else None
        if second is None:
            return
        if version == _SOCKS4:
            yield from self._read_socks4(sent)
        elif not self._says_socks:
            # The hello: how many ways to log in, and which.
            if not second or any(way > 2 and way < 0x80 for way in sent[2 : 2 + second]):
                self._stop()
            elif len(sent) >= 2 + second:
                self._says_socks = True
                del self._waiting[: 2 + second]
        elif version == 1:  # the user's name and password
            name_end = 2 + second
            if len(sent) > name_end and len(sent) > name_end + sent[name_end]:
                del self._waiting[: name_end + 1 + sent[name_end]]
        elif version == _SOCKS5 and len(sent) > 4:
            yield from self._read_socks5(sent)
        elif version != _SOCKS5:
            self._stop()

    def _read_socks4(self, sent: bytes) -> Iterator[Host]:
        if sent[1] not in (1, 2):
            self._stop()
            return
        _user, separator, rest = sent[8:].partition(b"\0")
        if len(sent) < 9 or not separator:
            return
        address = str(ipaddress.IPv4Address(sent[4:8]))
        if sent[4:7] == b"\0\0\0" and sent[7]:  # SOCKS 4a: a name follows
            name, separator, _ = rest.partition(b"\0")
            if not separator:
                return
            address = name.decode("latin-1")
        self._stop()
        yield address, int.from_bytes(sent[2:4], "big")

    def _read_socks5(self, sent: bytes) -> Iterator[Host]:
        kinds = {1: 4, 3: sent[4], 4: 16}
        length, begin = kinds.get(sent[3]), 5 if sent[3] == 3 else 4
        if length is None:
            self._stop()
            return
        end = begin + length
        if len(sent) < end + 2:
            return
        raw = sent[begin:end]
        host = raw.decode("latin-1") if sent[3] == 3 else str(ipaddress.ip_address(raw))
        self._stop()
        yield host, int.from_bytes(sent[end : end + 2], "big")
