"""Answers to other calls on the API's host, which a test tells the simulator."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, Self

from pytest_indexjob.exchange import Headers, Request, Response
from pytest_indexjob.simulation.resource import compact


@dataclasses.dataclass(eq=False)
class ToldAnswer:
    """One answer, for the requests of one method and one path."""

    method: str
    path: re.Pattern[str]
    json: Any
    body: Any
    status: int
    headers: Headers
    times: float

    @classmethod
    def made(
        cls,
        method: str,
        path: str,
        json: Any,
        body: bytes | str | None,
        status: int,
        headers: Mapping[str, str] | None,
        times: float,
    ) -> Self:
        """The answer that a test tells. Raises ``ValueError`` for what can't be one."""
        if not path.startswith("/"):
            raise ValueError(f"path must begin with '/', as /v2/gen-ai/models does, not {path!r}")
        if not 100 <= status <= 599:
            raise ValueError(f"status must be an HTTP status, not {status!r}")
        if json is not None and body is not None:
            raise ValueError("give json or body, not both")
        if not times > 0:
            raise ValueError(f"times must be 1 or more, not {times!r}")
        parts = re.split(r"\{[^{}/]*\}", path)
        pattern = re.compile("[^/]+".join(map(re.escape, parts)))
        pairs = tuple((headers or {}).items())
        return cls(method.upper(), pattern, json, body, status, pairs, times)

    def fits(self, method: str, path: str) -> bool:
        """Whether it answers such a request."""
        return method == self.method and self.path.fullmatch(path) is not None

    def respond(self, request: Request, headers: Headers) -> Response:
        """The response; ``headers`` are those that every answer of the API has."""
        json, body = (
            value(request) if callable(value) else value for value in (self.json, self.body)
        )
        for made in (json, body):
            if isinstance(made, Response):
                return made
        content = body.encode() if isinstance(body, str) else body
        if content is None:
            content = b"" if json is None else compact(json)
        own = {name.lower() for name, _ in self.headers}
        kept = tuple(pair for pair in headers if pair[0].lower() not in own)
        return Response(self.status, (*self.headers, *kept), content)
