"""A client of the seven calls of the indexing-job API, on requests.

Source of paths, methods and bodies: the published OpenAPI; of ``job already running`` and the
sparse answer to POST: the live service.
"""

from __future__ import annotations

import math
import os
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Protocol

import requests
from requests.auth import AuthBase

from pytest_indexjob.api.answers import Answer, ErrorBody, read
from pytest_indexjob.api.calls import API_URL, TOKEN_VARIABLE, Call, named, segment
from pytest_indexjob.api.errors import (
    ApiError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    DecodeError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    TransportError,
    WaitTimeoutError,
)
from pytest_indexjob.api.models import IndexedDataSource, IndexingJob, IndexingJobPage
from pytest_indexjob.api.settings import problem_of_base_url
from pytest_indexjob.durations import duration_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

# A retry-after beyond this is not waited for: the error is raised, with retry_after, so that the
# caller can decide.
LONGEST_RETRY_AFTER = 60.0
_LONGEST_BACKOFF = 8.0

_ERRORS: dict[int, type[ApiError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    429: RateLimitError,
}


class Clock(Protocol):
    """What the client asks of time. The ``time`` module is one."""

    def time(self) -> float:
        """Seconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds from any fixed point, never going back."""
        ...

    def sleep(self, seconds: float, /) -> None:
        """Wait."""
        ...


class _BearerAuth(AuthBase):
    """Puts the token on a request.

    Given as ``auth``, it also keeps a netrc entry from taking its place.
    """

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    def without_token(self, text: str) -> str:
        """The text without the token, which an error message may quote."""
        # A test's own `any` is no secret, and would be found in words.
        return text.replace(self._token, "REDACTED") if len(self._token) >= 8 else text


class IndexingJobClient:
    """Calls the indexing-job API.

    ``timeout`` is in seconds, for connecting and for each read. ``retries`` is how often a call is
    tried again after 429, 5xx, and for GETs after a connection failure; a ``retry-after`` of at
    most 60 s is obeyed. ``clock`` (the ``time`` module unless given) does all waiting. Every call
    raises an ``ApiError`` for an error answer, ``TransportError`` for none, ``DecodeError`` for one
    that is not by the contract.
    """

    def __init__(
        self,
        token: str | None = None,
        *,
        base_url: str = API_URL,
        timeout: float = 30.0,
        retries: int = 3,
        session: requests.Session | None = None,
        clock: Clock | None = None,
    ) -> None:
        token = token if token is not None else os.environ.get(TOKEN_VARIABLE, "")
        if not token or not token.isascii() or not token.isprintable():
            raise ValueError(
                f"a token in printable ASCII is needed: set {TOKEN_VARIABLE}"
                " (in Python: IndexingJobClient(token), IndexJobSettings(token=...))"
            )
        if problem := problem_of_base_url(base_url):
            raise ValueError(problem)
        self.base_url = base_url.rstrip("/")
        self.timeout = _positive("timeout", timeout)
        if not isinstance(retries, int) or retries < 0:
            raise ValueError(f"retries must be a whole number of 0 or more, not {retries!r}")
        self.retries = retries
        self._auth = _BearerAuth(token)
        self._session = session if session is not None else requests.Session()
        self._owns_session = session is None
        self._clock: Clock = clock if clock is not None else time

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_url={self.base_url.split('@')[-1]!r})"

    def close(self) -> None:
        """Close the connections, unless the session was given."""
        if self._owns_session:
            self._session.close()

    def __enter__(self) -> IndexingJobClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, uuid: str) -> IndexingJob:
        """The job as it stands."""
        job: IndexingJob = self._call("jobs.get", uuid)
        return job

    def list(self, page: int | None = None, per_page: int | None = None) -> IndexingJobPage:
        """One page of all jobs of the account, the newest first."""
        given = {"page": page, "per_page": per_page}
        parameters = {name: str(value) for name, value in given.items() if value is not None}
        read: IndexingJobPage = self._call("jobs.list", parameters=parameters)
        return read

    def iterate(self, per_page: int | None = None) -> Iterator[IndexingJob]:
        """All jobs of the account, following the links from page to page.

        Raises ``DecodeError`` where a link leads back to a page that was read already.
        """
        page = self.list(per_page=per_page)
        read = {1}
        yield from page.jobs
        while page.next is not None:
            if page.next in read:
                raise DecodeError(
                    "$.links.pages.next",
                    f"page {page.next} was read already: the links lead in a circle",
                )
            read.add(page.next)
            page = self.list(page.next, per_page)
            yield from page.jobs

    def list_for_knowledge_base(self, uuid: str) -> IndexingJobPage:
        """The latest 15 jobs of a knowledge base."""
        page: IndexingJobPage = self._call("jobs.list_for_knowledge_base", uuid)
        return page

    def create(
        self, knowledge_base_uuid: str, data_source_uuids: Sequence[str] = ()
    ) -> IndexingJob:
        """Start a job; no data sources named means all of them.

        The live service's answer is sparse (PENDING, without data sources). It refuses a second job
        of the same knowledge base; that this is a ``ConflictError`` is a guess.
        """
        segment(knowledge_base_uuid)
        body: dict[str, Any] = {"knowledge_base_uuid": knowledge_base_uuid}
        if data_source_uuids:
            body["data_source_uuids"] = [*data_source_uuids]
        job: IndexingJob = self._call("jobs.create", body=body)
        return job

    def cancel(self, uuid: str) -> IndexingJob:
        """Ask for the job's end; the answer is the job as it then stands."""
        job: IndexingJob = self._call("jobs.cancel", uuid, body={"uuid": uuid})
        return job

    def data_sources(self, uuid: str) -> tuple[IndexedDataSource, ...]:
        """The job's data sources."""
        sources: tuple[IndexedDataSource, ...] = self._call("jobs.data_sources", uuid)
        return sources

    def details_signed_url(self, uuid: str) -> str:
        """Where the job's report can be fetched.

        The URL is a secret: whoever has it can read the report.
        """
        url: str = self._call("jobs.details_signed_url", uuid)
        return url

    def wait(
        self,
        uuid: str,
        *,
        timeout: float = 3600.0,
        poll_interval: float = 5.0,
        on_poll: Callable[[IndexingJob], object] | None = None,
    ) -> IndexingJob:
        """Poll until the job has ended, and return the job, whatever its outcome.

        ``timeout`` and ``poll_interval`` are in seconds.

        A job whose phase and status are missing or unknown is polled until ``timeout``. Raises
        ``WaitTimeoutError`` (with the last job and all polls) then, and ``DecodeError`` at once
        where the answer holds no job.
        """
        deadline = self._clock.monotonic() + _positive("timeout", timeout, or_zero=True)
        _positive("poll_interval", poll_interval)
        polls: list[IndexingJob] = []
        while True:
            job = self.get(uuid)
            polls.append(job)
            if on_poll is not None:
                on_poll(job)
            if job.is_terminal:
                return job
            remaining = deadline - self._clock.monotonic()
            if remaining <= 0:
                raise WaitTimeoutError(
                    f"the job {uuid} did not end in {duration_text(timeout)}: after"
                    f" {len(polls)} polls its status is {job.status.name}, its"
                    f" phase {job.phase.name}",
                    job=job,
                    polls=tuple(polls),
                    timeout=timeout,
                )
            self._clock.sleep(min(poll_interval, remaining))

    def _call(
        self,
        name: str,
        *arguments: str,
        body: object = None,
        parameters: Mapping[str, str] | None = None,
    ) -> Any:
        """One call, tried again where that may help. Returns what the call answers with."""
        call = named(name)
        method, path = call.method, call.path_with(*arguments)
        for attempt in range(self.retries + 1):
            last = attempt == self.retries
            try:
                response = self._send(method, path, body, parameters)
            except TransportError:
                # Only a GET is known to have done nothing when its answer is lost.
                if last or method != "GET":
                    raise
                delay: float | None = None
            else:
                answer = _answer(call, response)
                if 200 <= answer.status < 300:
                    return answer.value
                error = _api_error(
                    answer,
                    response.headers,
                    f"{method} {path}",
                    self._clock.time(),
                    self._auth.without_token,
                )
                delay = getattr(error, "retry_after", None)
                hopeless = response.status_code != 429 and response.status_code < 500
                if last or hopeless or (delay or 0.0) > LONGEST_RETRY_AFTER:
                    raise error
            self._clock.sleep(
                delay if delay is not None else min(0.5 * 2**attempt, _LONGEST_BACKOFF)
            )
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _send(
        self, method: str, path: str, body: object, parameters: Mapping[str, str] | None
    ) -> requests.Response:
        try:
            return self._session.request(
                method,
                self.base_url + path,
                params=parameters,
                json=body,
                auth=self._auth,
                headers={"Accept": "application/json"},
                timeout=self.timeout,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            reason = f"{type(error).__name__}"
        # Raised outside the handler: the chained tracebacks' frames hold the headers, token and
        # all.
        raise TransportError(
            f"{method} {path} got no answer: {reason}", method=method, path=path, reason=reason
        )


def _positive(name: str, value: float, *, or_zero: bool = False) -> float:
    is_number = isinstance(value, int | float) and math.isfinite(value)
    if not is_number or value < 0 or (value == 0 and not or_zero):
        least = "of 0 or more" if or_zero else "above 0"
        raise ValueError(f"{name} must be a number of seconds {least}, not {value!r}")
    return value


def retry_after_seconds(value: str | None, now: float) -> float | None:
    """The seconds that a ``retry-after`` header asks for.

    The header holds seconds or a date; ``None`` for anything else.
    """
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _answer(call: Call, response: requests.Response) -> Answer:
    content_type = response.headers.get("content-type", "")
    return read(call, response.status_code, response.content, content_type)


def _api_error(
    answer: Answer,
    headers: Mapping[str, str],
    call: str,
    now: float,
    redact: Callable[[str], str],
) -> ApiError:
    said = answer.error or ErrorBody()
    said = said._replace(request_id=said.request_id or headers.get("x-request-id", ""))
    # Before it is cut, as half a token is one too many.
    id, message, request_id = (redact(text)[:500] for text in said)
    kind = _ERRORS.get(answer.status, ServerError if answer.status >= 500 else ApiError)
    error = kind(answer.status, id, message, request_id, call)
    if isinstance(error, RateLimitError) or answer.status == 503:
        error.__dict__["retry_after"] = retry_after_seconds(headers.get("retry-after"), now)
    return error
