"""Every error this package raises.

    IndexJobError
    ├── ApiError                     the service answered with an error
    │   ├── BadRequestError          400
    │   ├── AuthenticationError      401
    │   ├── PermissionDeniedError    403
    │   ├── NotFoundError            404
    │   ├── ConflictError            409
    │   ├── RateLimitError           429, with retry_after
    │   └── ServerError              5xx
    ├── TransportError               no answer came
    ├── DecodeError                  an answer came that is not by the contract, with the JSON path
    ├── WaitTimeoutError             the job did not end in time, with the last job and all polls
    ├── NetworkBlockedError          the offline guard stopped a connection
    ├── UnknownCallError             the simulator was asked for what is no call of the API
    ├── CoverageFileError            a file of outcome coverage can't be used (checking.coverage)
    └── CassetteError                a recording can't be used
        ├── CassetteNotFoundError
        ├── CassetteCorruptError
        ├── CassetteMissError        no recorded answer fits the request
        ├── CassetteExhaustedError   the recorded answers ran out
        └── CassetteLeakError        a secret was about to be written

Each carries its facts as fields; its text says what was wanted, what was there, and the way out.
None holds a secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_indexjob.api.models import IndexingJob


class IndexJobError(Exception):
    """The root of every error of this package."""


class ApiError(IndexJobError):
    """The service answered with an error status.

    ``status_code`` is the HTTP status; ``id``, ``message`` and ``request_id`` are the body's fields
    by the published OpenAPI (``request_id`` may come as the ``x-request-id`` header), empty where
    the body had none.
    """

    def __init__(
        self,
        status_code: int,
        id: str = "",
        message: str = "",
        request_id: str = "",
        call: str = "",
    ) -> None:
        self.status_code = status_code
        self.id = id
        self.message = message
        self.request_id = request_id
        self.call = call
        text = f"{call or 'the call'} was answered {status_code}"
        text += "".join(
            (
                f" {id}" if id else "",
                f": {message}" if message else "",
                f" (request {request_id})" if request_id else "",
            )
        )
        super().__init__(text)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(
    cls: type[IndexJobError], args: tuple[Any, ...], state: dict[str, Any]
) -> IndexJobError:
    """Make an error again in another process, without its constructor's checks.

    pytest-xdist sends errors from its workers.
    """
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class BadRequestError(ApiError):
    """400: the request was not understood."""


class AuthenticationError(ApiError):
    """401: the token is missing, wrong or expired."""


class PermissionDeniedError(ApiError):
    """403: the token may not do this."""


class NotFoundError(ApiError):
    """404: there is no such job or knowledge base."""


class ConflictError(ApiError):
    """409: the knowledge base has a job already.

    That the live service answers with this status is a guess.
    """


class RateLimitError(ApiError):
    """429: too many requests.

    ``retry_after`` is seconds, or ``None`` where the service did not say.
    """

    retry_after: float | None = None


class ServerError(ApiError):
    """5xx: the service failed."""


class _FieldError(IndexJobError):
    """An error made from a text and fields given by keyword."""

    def __init__(self, text: str, **fields: Any) -> None:
        super().__init__(text)
        self.__dict__.update(fields)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


class TransportError(_FieldError):
    """No answer came: refused, reset, timed out, or cut short.

    ``method``, ``path``, ``reason`` say where and why.
    """

    method: str
    path: str
    reason: str

    def __init__(self, text: str, *, method: str, path: str, reason: str) -> None:
        super().__init__(text, method=method, path=path, reason=reason)


class DecodeError(_FieldError):
    """The answer is not by the contract.

    ``path`` is the JSON path: ``$.job.data_source_jobs[0].status``.
    """

    path: str

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}", path=path, problem=problem)


class WaitTimeoutError(_FieldError):
    """The job did not end in time.

    ``job`` is the last one seen, ``polls`` every one, ``timeout`` in seconds.
    """

    job: IndexingJob
    polls: Sequence[IndexingJob]
    timeout: float

    def __init__(
        self, text: str, *, job: IndexingJob, polls: Sequence[IndexingJob], timeout: float
    ) -> None:
        super().__init__(text, job=job, polls=polls, timeout=timeout)


class NetworkBlockedError(_FieldError):
    """A connection was stopped since nothing may reach the network in this test.

    ``host``, ``port`` and ``test``.
    """

    host: str
    port: int | None
    test: str

    def __init__(self, text: str, *, host: str, port: int | None, test: str) -> None:
        super().__init__(text, host=host, port=port, test=test)


class UnknownCallError(_FieldError):
    """The simulator was asked for what is no call of the API. ``request`` is what was asked."""

    request: Any

    def __init__(self, text: str, *, request: Any) -> None:
        super().__init__(text, request=request)


class CassetteError(_FieldError):
    """A recording can't be used. ``path`` is its file, ``line`` the line in it or ``None``."""

    path: Path | None
    line: int | None

    def __init__(
        self, text: str, *, path: Path | None = None, line: int | None = None, **fields: Any
    ) -> None:
        super().__init__(text, path=path, line=line, **fields)


class CassetteNotFoundError(CassetteError):
    """No cassette has that name. ``name`` is the one asked for, ``near`` the names most like it."""

    name: str
    near: Sequence[str]

    def __init__(
        self, text: str, *, name: str, near: Sequence[str], path: Path | None = None
    ) -> None:
        super().__init__(text, path=path, name=name, near=near)


class CassetteCorruptError(CassetteError):
    """The cassette's file can't be read as one. The file is left as it is."""


class CassetteMissError(CassetteError):
    """No recorded answer fits the request.

    ``request`` is the one asked, ``nearest`` the recorded one most like it.
    """

    request: Any
    nearest: Any

    def __init__(self, text: str, *, request: Any, nearest: Any = None, **fields: Any) -> None:
        super().__init__(text, request=request, nearest=nearest, **fields)


class CassetteExhaustedError(CassetteMissError):
    """The recorded answers of this request ran out before the job ended. ``played`` counts them."""

    played: int

    def __init__(self, text: str, *, request: Any, played: int, nearest: Any = None) -> None:
        super().__init__(text, request=request, nearest=nearest, played=played)


class CassetteLeakError(CassetteError):
    """A secret was about to be written; nothing was.

    ``kind`` and ``where`` describe it, the value is never told.
    """

    kind: str
    where: str

    def __init__(
        self,
        text: str,
        *,
        kind: str,
        where: str,
        path: Path | None = None,
        line: int | None = None,
    ) -> None:
        super().__init__(text, path=path, line=line, kind=kind, where=where)
