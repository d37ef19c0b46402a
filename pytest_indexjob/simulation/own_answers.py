"""Answers of a test's own, for calls that the simulator does not know."""

from __future__ import annotations

import json as json_module
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from pytest_indexjob.api.calls import path_pattern
from pytest_indexjob.api.wire import shown
from pytest_indexjob.exchange import Headers, Request, Response
from pytest_indexjob.simulation.resource import checked_times

_METHOD = re.compile(r"[A-Za-z]{1,20}", re.ASCII)
# Each segment of a path is plain, or a name in braces that stands for any segment.
_PATH = re.compile(r"(?:/(?:[^/{}?#]*|\{[^/{}]*\}))+")
_LONGEST_PATH = 1000
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}", re.ASCII)
_HEADER_VALUE = re.compile(r"[^\x00-\x1f\x7f]{0,8000}")


class _OwnAnswer(NamedTuple):
    method: str
    path: re.Pattern[str]
    json: Any
    status: int
    headers: Headers
    times: list[float]  # how often it is still to be given


class OwnAnswers:
    """What a test said that a method and a path answer. The one that was said last goes first."""

    def __init__(self) -> None:
        self._answers: list[_OwnAnswer] = []

    def add(
        self,
        method: str,
        path: str,
        json: Any,
        status: int,
        headers: Headers | Mapping[str, str],
        times: float,
    ) -> None:
        """Keep an answer. Raises ``ValueError`` for what can't be asked, sent or counted."""
        if not isinstance(method, str) or not _METHOD.fullmatch(method):
            raise ValueError(f"method must be a text such as 'GET', not {shown(method)}")
        if not isinstance(path, str) or len(path) > _LONGEST_PATH or not _PATH.fullmatch(path):
            raise ValueError(
                f"path must begin with a slash, have no host and no query, at most {_LONGEST_PATH}"
                " characters, and braces only around a whole segment: /v2/databases/{uuid}, not"
                f" {shown(path)}"
            )
        if type(status) is not int or not 200 <= status <= 599:
            raise ValueError(f"status must be an HTTP status of 200 or more, not {status!r}")
        if not callable(json):
            _written(json)
        self._answers.insert(
            0,
            _OwnAnswer(
                method.upper(),
                path_pattern(path),
                json,
                status,
                _checked_headers(headers),
                [checked_times(times)],
            ),
        )

    def take(self, request: Request, url: str) -> Response | None:
        """The answer to a request, or ``None`` where the test said nothing of it.

        ``url`` is the request's without the base URL.
        """
        path = urlsplit(url).path
        for at, answer in enumerate(self._answers):
            if answer.method != request.method or not answer.path.fullmatch(path):
                continue
            answer.times[0] -= 1
            if answer.times[0] <= 0:
                del self._answers[at]
            return _response(answer, request)
        return None


def _response(answer: _OwnAnswer, request: Request) -> Response:
    json: Callable[[Request], Any] | Any = answer.json
    value = json(request) if callable(json) else json
    if value is None:
        return Response(answer.status, answer.headers, b"")
    headers = (("Content-Type", "application/json"), *answer.headers)
    return Response(answer.status, headers, _written(value))


def _written(value: Any) -> bytes:
    try:
        return json_module.dumps(value, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise ValueError(f"json can't be written as JSON: {error}") from None


def _checked_headers(headers: Headers | Mapping[str, str]) -> Headers:
    """The headers as pairs. Raises ``ValueError`` for a header that can't be sent."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    if not isinstance(pairs, Collection) or isinstance(pairs, str | bytes):
        raise ValueError("headers must be a mapping or pairs of a name and a value")
    for pair in pairs:
        match pair:
            case (str(name), str(value)) if _HEADER_NAME.fullmatch(name):
                can_be_sent = bool(_HEADER_VALUE.fullmatch(value))
            case (name, _):
                can_be_sent = False
            case _:
                raise ValueError("headers must be a mapping or pairs of a name and a value")
        if not can_be_sent:
            # Without the value, which may be secret.
            raise ValueError(f"the header {shown(name)} can't be sent")
    return tuple(pairs)
