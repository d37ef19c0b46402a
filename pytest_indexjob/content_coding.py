"""Bodies without the content codings (gzip, deflate, brotli, zstd) that they travel in."""

from __future__ import annotations

import importlib
import zlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

# A few bytes can stand for any number.
LARGEST = 16 * 1024 * 1024
_PIECE = 64  # of a body whose decoder takes no limit: what they decode to is bounded by that
_GZIP, _ZLIB, _RAW = 31, 15, -15  # windows: by their headers, and deflate without any
# In the order in which urllib3 and httpx look for them.
_BROTLI = ("brotli", "brotlicffi")
_ZSTD = ("compression.zstd", "backports.zstd", "zstandard")


class _NotInCodingError(Exception):
    """A body is not in the coding that its header names."""


class _NotUndoneError(Exception):
    """A coding is not known here, or the body would be too large."""


def decoded(body: bytes, content_encoding: str) -> bytes | None:
    """A body without its content codings, or ``None`` where they can't be undone here.

    ``content_encoding`` is the header's value. Gzip and deflate (with and without zlib's header)
    are undone, brotli and zstd where a package for them is installed, up to ``LARGEST`` bytes. A
    body that is UTF-8 and not in the coding that the header names comes back as it is: some
    recorders decode it and leave the header.
    """
    try:
        return _undone(body, content_encoding)
    except Exception:  # noqa: BLE001 - each package has an error of its own
        return body if _is_utf8(body) else None


def is_broken(body: bytes, content_encoding: str) -> bool:
    """Whether a body is not in the codings that its header names, all of which are known here."""
    try:
        _undone(body, content_encoding)
    except _NotUndoneError:
        return False
    except Exception:  # noqa: BLE001 - each package has an error of its own
        return True
    return False


def _undone(body: bytes, content_encoding: str) -> bytes:
    for name in reversed([name.strip().lower() for name in content_encoding.split(",")]):
        if name not in ("", "identity"):
            if name not in _CODINGS:
                raise _NotUndoneError
            body = _CODINGS[name](body)
    return body


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _inflated(body: bytes, window: int) -> bytes:
    plain = b""
    while body:
        stream = zlib.decompressobj(window)
        try:
            plain += stream.decompress(body, LARGEST - len(plain))
        except zlib.error:
            if plain:  # what follows a whole stream is padding
                return plain
            raise
        if stream.unconsumed_tail:
            raise _NotUndoneError
        if not stream.eof:
            raise _NotInCodingError
        body = stream.unused_data if window == _GZIP else b""
    return plain


def _deflated(body: bytes) -> bytes:
    try:
        return _inflated(body, _ZLIB)
    except zlib.error:
        return _inflated(body, _RAW)


def _brotli(body: bytes) -> bytes:
    stream: Any = _first_of(_BROTLI).Decompressor()
    plain = bytearray()
    for start in range(0, len(body), _PIECE):
        plain += stream.process(body[start : start + _PIECE])
        if len(plain) > LARGEST:
            raise _NotUndoneError
    if hasattr(stream, "is_finished") and not stream.is_finished():
        raise _NotInCodingError
    return bytes(plain)


def _zstd(body: bytes) -> bytes:
    package = _first_of(_ZSTD)
    plain = bytearray()
    while body:
        if package.__name__ == "zstandard":
            stream: Any = package.ZstdDecompressor().decompressobj()
        else:
            stream = package.ZstdDecompressor()
        at = 0
        while at < len(body) and not stream.eof:
            plain += stream.decompress(body[at : at + _PIECE])
            at += _PIECE
            if len(plain) > LARGEST:
                raise _NotUndoneError
        if not stream.eof:
            raise _NotInCodingError
        body = stream.unused_data + body[at:]
    return bytes(plain)


def _first_of(packages: tuple[str, ...]) -> Any:
    for name in packages:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise _NotUndoneError


_CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda body: _inflated(body, _GZIP),
    "x-gzip": lambda body: _inflated(body, _GZIP),
    "deflate": _deflated,
    "br": _brotli,
    "zstd": _zstd,
}
# What undoes a coding, for who is told that it could not be undone.
PACKAGES = {"br": "brotli", "zstd": "zstandard"}
