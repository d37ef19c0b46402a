"""What a test is told of requests that could not be answered."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pytest_indexjob.api.errors import IndexJobError, NetworkBlockedError
from pytest_indexjob.exchange import Request, Response, shown_url

if TYPE_CHECKING:
    from collections.abc import Sequence


def nothing_answers(request: Request, test: str) -> NetworkBlockedError:
    """The error of a request in a test that has neither a recording nor a simulator."""
    return NetworkBlockedError(
        f"{_shown(request)} has nothing to answer it. Ask for the fixture indexjob_simulator, or"
        " mark the test with @pytest.mark.indexjob_cassette(NAME) to answer it from a recording",
        host=urlsplit(request.url).hostname or "",
        port=None,
        test=test,
    )


def wider_fixture_asks(request: Request, test: str) -> NetworkBlockedError:
    """The error of a call by a fixture of a wider scope, while a marked test is set up."""
    return NetworkBlockedError(
        f"{_shown(request)} was made by a fixture of a wider scope than function, while {test} was"
        " set up. A recording answers only its test and the fixtures of function scope; the call of"
        " this fixture would go to the real service. Give the fixture the function scope, or run"
        " with --indexjob-live",
        host=urlsplit(request.url).hostname or "",
        port=None,
        test=test,
    )


def _shown(request: Request) -> str:
    return f"{request.method} {shown_url(request.url)}"


def complaint(exceeded: str, misses: Sequence[Exception], unplayed: Sequence[Request]) -> str:
    """All that the test is to fail with, each thing once, or ``""``."""
    parts = [exceeded] if exceeded else []
    if misses:
        parts.append("not every request of this test could be answered:")
        # One mistake in a polling loop makes many misses that say the same.
        parts += dict.fromkeys(str(error) for error in misses)
    if unplayed:
        counted = Counter(map(_shown, unplayed))
        requests = "".join(f"\n    {times} x {request}" for request, times in counted.items())
        parts.append(
            f"the mark says strict=True, and these recorded requests were not made:{requests}\n"
            "Let the code under test make them, or remove strict=True from the mark"
        )
    return "\n\n".join(parts)


def as_response(error: IndexJobError) -> Response:
    """An error for a client that no exception reaches, since it asks by a server."""
    body = json.dumps({"id": type(error).__name__, "message": str(error)}).encode()
    return Response(501, (("Content-Type", "application/json"),), body)
