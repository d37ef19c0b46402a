"""The JSON of a body."""

from __future__ import annotations

import json

from pytest_indexjob.api.errors import DecodeError


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def parse_json(body: bytes, content_type: str = "") -> object:
    """The JSON of a body.

    Raises ``DecodeError`` (which quotes nothing of the body, as it may hold a secret).
    """
    try:
        return json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        kind = "an empty body" if not body.strip() else f"{len(body)} bytes"
        at = (
            f", broken at byte {error.pos}"
            if isinstance(error, json.JSONDecodeError) and body.strip()
            else ""
        )
        sort = f" of {content_type.split(';')[0][:40]}" if content_type else ""
    raise DecodeError("$", f"JSON was expected, not {kind}{sort}{at}")
