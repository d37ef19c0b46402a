"""Bodies without the content coding (gzip, deflate) that they travel in."""

from __future__ import annotations

import zlib

# A few bytes can stand for any number.
LARGEST = 16 * 1024 * 1024
_ZLIB = frozenset(("gzip", "x-gzip", "deflate"))
_WINDOWS = (47, -15)  # gzip or zlib by their headers, then deflate without any


def decoded(body: bytes, content_encoding: str) -> bytes | None:
    """A body without its content coding, or ``None`` where it can't be undone here.

    ``content_encoding`` is the header's value. Gzip and deflate (with and without zlib's header)
    are undone, up to ``LARGEST`` bytes. A body that is not in the coding that the header names
    comes back as it is: some recorders decode it and leave the header.
    """
    coding = content_encoding.strip().lower()
    if coding in ("", "identity"):
        return body
    if coding not in _ZLIB:
        return None
    for window in _WINDOWS:
        stream = zlib.decompressobj(window)
        try:
            plain = stream.decompress(body, LARGEST)
        except zlib.error:
            continue
        if stream.unconsumed_tail:
            return None
        if stream.eof:
            return plain
    return body
