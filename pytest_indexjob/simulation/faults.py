"""Faults: what a service, or the way to it, can do to an answer.

Ids and statuses of the service's own errors: the published OpenAPI. Bodies of a proxy in between
are made up.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
from typing import Any, Literal

from pytest_indexjob.exchange import Headers, Response, TransportFault

_JSON = "application/json"
_HTML = "text/html; charset=utf-8"
# A guess: how a job's POST is refused before the database is online.
NO_DATABASE_STATUS = 400
NO_DATABASE_ID = "failed_precondition"
LOGIN_PATH = "/login"  # where the redirect leads
_PAGE = b"<html><head><title>%s</title></head><body><h1>%s</h1></body></html>"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fault:
    """One way in which a call goes wrong.

    With ``error`` no answer comes at all; with ``status`` an answer of that status and ``body``
    comes instead of the real one; ``content_type`` and ``headers`` are set on the answer; ``delay``
    is the seconds (of the test's clock) that it takes; ``keep`` is the share of the real body that
    comes, ``cut`` whether the connection breaks after it. ``acts`` says whether the call takes
    effect all the same: a job may be started though its answer is lost. With ``age`` the fault
    strikes GET alone: the answer says how jobs and databases stood so many seconds ago, but not
    before they were made.
    """

    name: str
    summary: str = ""
    error: Literal["refused", "reset", "timeout"] | None = None
    status: int | None = None
    body: bytes | None = None
    content_type: str = ""
    headers: Headers = ()
    delay: float = 0.0
    keep: float = 1.0
    cut: bool = False
    acts: bool = False
    age: float = 0.0

    def __post_init__(self) -> None:
        if not self.delay >= 0 or self.delay == float("inf"):
            raise ValueError(f"{self.name}: delay must be 0 or more seconds, not {self.delay!r}")
        if not self.age >= 0 or self.age == float("inf"):
            raise ValueError(f"{self.name}: age must be 0 or more seconds, not {self.age!r}")
        if not 0 <= self.keep <= 1:
            raise ValueError(f"{self.name}: keep must be a share from 0 to 1, not {self.keep!r}")

    def __str__(self) -> str:
        return self.name

    @property
    def __name__(self) -> str:
        """The name again, which makes pytest's ids of parametrised tests readable."""
        return self.name

    def apply(self, answer: Response) -> Response:
        """What comes instead of an answer. Raises ``TransportFault`` where none comes."""
        if self.error is not None:
            raise TransportFault(self.error)
        body = answer.body if self.body is None else self.body
        kept = int(len(body) * self.keep)
        own = {name.lower() for name, _ in self.headers} | (
            {"content-type"} if self.content_type else set()
        )
        headers = (
            tuple(pair for pair in answer.headers if pair[0].lower() not in own) + self.headers
        )
        if self.content_type:
            headers = (("Content-Type", self.content_type), *headers)
        return Response(
            self.status or answer.status,
            headers,
            body if self.cut else body[:kept],
            delay=self.delay,
            cut_after=kept if self.cut else None,
        )


def _error(name: str, summary: str, status: int, id: str, message: str, **more: Any) -> Fault:
    body = json.dumps({"id": id, "message": message}).encode()
    return Fault(name=name, summary=summary, status=status, body=body, content_type=_JSON, **more)


def _page(title: bytes) -> bytes:
    return _PAGE % (title, title)


_FAULTS = (
    _error(
        "rate-limit",
        "429, as at the limit per minute, with retry-after",
        429,
        "too_many_requests",
        "API Rate limit exceeded.",
        headers=(("retry-after", "2"),),
    ),
    _error("server-error", "500", 500, "server_error", "Unexpected server-side error"),
    Fault(
        name="bad-gateway",
        summary="502 of a proxy, with a page of HTML",
        status=502,
        body=_page(b"502 Bad Gateway"),
        content_type=_HTML,
    ),
    _error(
        "service-unavailable", "503", 503, "service_unavailable", "the service is being maintained"
    ),
    _error(
        "expired-token",
        "401, as for a token that has expired",
        401,
        "unauthorized",
        "Unable to authenticate you",
    ),
    _error(
        "not-found",
        "404, as for a job that was deleted meanwhile",
        404,
        "not_found",
        "The resource you requested could not be found.",
    ),
    _error(
        "conflict",
        "409, as while another job runs (status and id are guesses)",
        409,
        "conflict",
        "knowledge base already has an indexing job running",
    ),
    _error(
        "forbidden",
        "403: the token lacks a scope",
        403,
        "forbidden",
        "You are not authorized to perform this operation",
    ),
    _error(
        "provisioning",
        "what a POST is answered while the knowledge base's database is being made (status and id"
        " are guesses)",
        NO_DATABASE_STATUS,
        NO_DATABASE_ID,
        "failed to get db creds",
    ),
    Fault(name="connection-refused", summary="the server refuses the connection", error="refused"),
    Fault(
        name="connection-reset",
        summary="the connection breaks before the answer",
        error="reset",
        acts=True,
    ),
    Fault(
        name="reset-midway",
        summary="the connection breaks in the middle of the answer",
        keep=0.5,
        cut=True,
        acts=True,
    ),
    Fault(
        name="read-timeout",
        summary="no answer within the client's time-out",
        error="timeout",
        acts=True,
    ),
    Fault(name="slow-answer", summary="the answer takes 20 s", delay=20.0, acts=True),
    Fault(
        name="truncated-json",
        summary="half of the JSON, sent as if it were the whole",
        keep=0.5,
        acts=True,
    ),
    Fault(
        name="invalid-json",
        summary="a body that is no JSON",
        body=b'{"job": {"uuid": NaN,}',
        acts=True,
    ),
    Fault(name="empty-body", summary="200 with an empty body", body=b"", acts=True),
    Fault(
        name="wrong-content-type",
        summary="200 with a page of HTML",
        body=_page(b"Sign in"),
        content_type=_HTML,
        acts=True,
    ),
    Fault(
        name="stale-read",
        summary="a GET says what was true 30 s ago, so a status may go backwards",
        age=30.0,
        acts=True,
    ),
    Fault(
        name="redirect",
        summary="302 to a sign-in page",
        status=302,
        body=b"",
        headers=(("Location", LOGIN_PATH),),
    ),
)
_CATALOGUE = {fault.name: fault for fault in _FAULTS}


def names() -> tuple[str, ...]:
    """The names of all faults of the catalogue."""
    return tuple(_CATALOGUE)


def all() -> tuple[Fault, ...]:
    """Every fault of the catalogue; made for ``pytest.mark.parametrize``."""
    return tuple(_CATALOGUE.values())


def get(name: str, **overrides: Any) -> Fault:
    """The fault of that name.

    ``overrides`` are fields of ``Fault``, and ``retry_after`` in seconds or as a date.

    Raises ``ValueError``, with the names most like it, for an unknown name; ``TypeError`` for an
    unknown field.
    """
    if name not in _CATALOGUE:
        near = difflib.get_close_matches(str(name), _CATALOGUE, n=3, cutoff=0.4)
        did = f" Did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(f"there is no fault {name!r}.{did} There are: {', '.join(_CATALOGUE)}")
    if "retry_after" in overrides:
        overrides["headers"] = (("retry-after", str(overrides.pop("retry_after"))),)
    known = {field.name for field in dataclasses.fields(Fault)}
    wrong = next((field for field in overrides if field not in known), None)
    if wrong:
        raise TypeError(
            f"{wrong!r} can't be overridden. What can: {', '.join(sorted(known))}, retry_after"
        )
    return dataclasses.replace(_CATALOGUE[name], **overrides)
