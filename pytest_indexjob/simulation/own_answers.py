"""Answers of a test's own, for calls that the simulator does not know."""

from __future__ import annotations

import json as json_module
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from pytest_indexjob.api.calls import path_pattern
from pytest_indexjob.exchange import Headers, Request, Response


def check_times(times: float) -> None:
    """Raise ``ValueError`` for what is no number of times."""
    is_number = isinstance(times, int | float) and not isinstance(times, bool)
    if not is_number or not (times == float("inf") or (times >= 1 and times % 1 == 0)):
        raise ValueError(
            f'times must be a whole number of 1 or more, or float("inf") for always, not {times!r}'
        )


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
        self, method: str, path: str, json: Any, status: int, headers: Headers, times: float
    ) -> None:
        """Keep an answer.

        Raises ``ValueError`` for a wrong method, path, status or number of times, ``TypeError`` for
        a body that JSON can't hold.
        """
        if not isinstance(method, str):
            raise ValueError(f"method must be a text such as 'GET', not {method!r}")
        if not isinstance(path, str) or not path.startswith("/"):
            raise ValueError(
                f"path must begin with a slash and name no host (/v2/databases/{{uuid}}), not"
                f" {path!r}"
            )
        if status not in {each.value for each in HTTPStatus}:
            raise ValueError(f"status must be an HTTP status such as 404, not {status!r}")
        check_times(times)
        if not callable(json):
            _encoded(json)
        answer = _OwnAnswer(
            method.upper(), path_pattern(path), json, status, tuple(headers), [times]
        )
        self._answers.insert(0, answer)

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
    return Response(answer.status, headers, _encoded(value))


def _encoded(value: Any) -> bytes:
    try:
        return json_module.dumps(value).encode()
    except (TypeError, ValueError) as error:
        problem = str(error)
    raise TypeError(f"json must be a value that JSON can hold: {problem}")
