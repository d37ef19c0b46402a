"""The simulator: the service's seven calls, answered by computing them.

A job's state is a pure function of its scenario, the clock and the calls that acted on it. Sources
of facts: the published OpenAPI (paths, bodies, errors, limits), the live service (sparse answer to
POST, omission of zeros, whole seconds, version 1 uuids). Guesses, each marked where it stands: the
status and id of a refused second job, the order of lists, what cancelling does, the report's host
and columns, the answers to unknown paths and wrong methods.
"""

from __future__ import annotations

import bisect
import csv
import dataclasses
import hashlib
import io
import json
import math
import re
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import parse_qs, urlsplit

from pytest_indexjob.api.calls import API_URL, CALLS, JOBS_PATH, Call, CallMatch, match, named
from pytest_indexjob.api.errors import UnknownCallError
from pytest_indexjob.api.models import IndexedDataSource, IndexingJob, utc
from pytest_indexjob.api.outcomes import DataSourceStatus
from pytest_indexjob.exchange import Exchange, Journal, Request, Response, TransportFault, shown_url
from pytest_indexjob.simulation import faults, scenarios
from pytest_indexjob.simulation.faults import Fault
from pytest_indexjob.simulation.scenarios import Scenario, Step
from pytest_indexjob.virtual_time.clock import VirtualClock

if TYPE_CHECKING:
    from pytest_indexjob.api.client import Clock

# Version 1 uuids of one machine, as the live service's are. Counted up, so that a run repeats
# itself.
_NODE = "11f0-9c3a-0a58a9feac02"
_TOO_MANY = "API Rate limit exceeded."
_SIGN_IN = b"<html><head><title>Sign in</title></head><body><h1>Sign in</h1></body></html>"
_LARGEST_BODY = 1024 * 1024
_LATEST = 15  # spec: the jobs of a knowledge base are its latest 15
# Sources that do not count as completed; whether failed ones do is a guess.
_UNDONE = frozenset(
    (
        DataSourceStatus.UNKNOWN,
        DataSourceStatus.IN_PROGRESS,
        DataSourceStatus.FAILED,
        DataSourceStatus.CANCELLED,
    )
)
_PER_PAGE = 20  # a guess; the most is one too
_MOST_PER_PAGE = 200
REPORT_LIFETIME = 900


@dataclasses.dataclass(slots=True)
class _Job:
    uuid: str
    knowledge_base_uuid: str
    scenario: Scenario
    created: float
    data_source_uuids: tuple[str, ...]
    cancelled: float | None = None


class Invented(NamedTuple):
    """A request that is no call: ``methods`` are those that its path takes, if any."""

    methods: tuple[str, ...] = ()


# What answers besides the calls: the report's file, and the page that the fault `redirect` leads
# to.
Route = Call | Literal["report", "login"] | Invented


class _Injection(NamedTuple):
    fault: Fault
    times: list[float]  # how often it is still to strike
    on: Callable[[Request, Route], bool]


class _Refusal(Exception):
    """An error answer, on its way out of the call that found the reason."""

    def __init__(self, status: int, id: str, message: str, *headers: tuple[str, str]) -> None:
        super().__init__(message)
        self.status = status
        self.id = id
        self.message = message
        self.headers = headers


class Simulator:
    """Answers the indexing-job API's calls. Safe from any thread.

    ``clock`` is virtual time unless given. ``token``: the one that is accepted, or ``None`` for
    any. ``requests_per_hour`` and ``requests_per_minute`` are the service's limits (``None`` for
    none). ``conflict_status`` and ``conflict_id`` are what a second job of a busy knowledge base is
    refused with, ``cancel_delay`` the seconds from a cancelling call to the end: guesses, so
    settings.
    """

    def __init__(
        self,
        clock: Clock | None = None,
        *,
        journal: Journal | None = None,
        base_url: str = API_URL,
        report_url: str = "https://indexing-job-reports.example.com",
        token: str | None = None,
        requests_per_hour: int | None = 5000,
        requests_per_minute: int | None = 250,
        conflict_status: int = 409,
        conflict_id: str = "conflict",
        cancel_delay: float = 5.0,
    ) -> None:
        self.clock = clock if clock is not None else VirtualClock()
        self._keeps_journal = journal is None
        self.journal = journal if journal is not None else Journal()
        self.base_url = base_url.rstrip("/")
        self.report_url = report_url.rstrip("/")
        self.token = token
        self.requests_per_hour = requests_per_hour
        self.requests_per_minute = requests_per_minute
        self.conflict_status = conflict_status
        self.conflict_id = conflict_id
        self.cancel_delay = cancel_delay
        self.served_at = ""
        self.on_start: Callable[[], None] | None = None
        self._epoch = self.clock.time() - self.clock.monotonic()
        self._plan: tuple[str | Scenario, dict[str, Any]] = ("completed", {})
        self._jobs: dict[str, _Job] = {}
        self._order: list[_Job] = []
        self._by_knowledge_base: dict[str, list[_Job]] = {}
        self._injections: list[_Injection] = []
        self._asked: deque[float] = deque()  # in the last hour
        self._lately: deque[float] = deque()  # in the last minute
        self._requests = 0
        self._bodies: OrderedDict[tuple[str, int, float | None], bytes] = OrderedDict()
        self._lock = threading.RLock()
        self._handlers: dict[str, Callable[..., bytes]] = {
            "jobs.get": lambda _request, uuid: self._get(self._found(uuid)),
            "jobs.list": self._list,
            "jobs.create": self._create,
            "jobs.cancel": self._cancel,
            "jobs.data_sources": lambda _request, uuid: self._data_sources(self._found(uuid)),
            "jobs.details_signed_url": lambda _request, uuid: self._signed_url_body(
                self._found(uuid)
            ),
            "jobs.list_for_knowledge_base": lambda _request, uuid: self._latest(uuid),
        }

    def __repr__(self) -> str:
        return f"<Simulator of {len(self._jobs)} jobs>"

    # What a test says.

    def start(
        self,
        scenario: str | Scenario = "completed",
        *,
        knowledge_base_uuid: str | None = None,
        uuid: str | None = None,
        **overrides: Any,
    ) -> IndexingJob:
        """Start a job that goes by a scenario; gives it as the service's answer to POST shows it.

        ``overrides`` as ``scenarios.get`` takes them. Each job has a knowledge base of its own
        unless one is named. Raises ``ValueError`` for an unknown scenario, contradicting overrides,
        or a uuid that is taken.
        """
        with self._lock:
            job = self._add(scenarios.resolve(scenario, overrides), knowledge_base_uuid, uuid, ())
            if self.on_start is not None:
                self.on_start()
            return IndexingJob.from_wire(self._sparse(job))

    def plan(self, scenario: str | Scenario, **overrides: Any) -> None:
        """Say how the jobs go that the code under test starts from now on (``completed`` unless said)."""
        scenarios.resolve(scenario, overrides)
        self._plan = (scenario, overrides)

    def inject(
        self,
        fault: str | Fault,
        *,
        times: float = 1,
        on: str | Callable[[Request], bool] | None = None,
    ) -> None:
        """Let a fault strike the next ``times`` calls (``float("inf")``: all), in the order of injection.

        ``on`` limits it to one call, by its name (``"jobs.get"``; for jobs ``"get"`` will do), or
        to the requests for which a function gives true. Raises ``ValueError`` for an unknown fault
        or call.
        """
        known = fault if isinstance(fault, Fault) else faults.get(fault)
        if not times > 0 or (times != float("inf") and times != int(times)):
            raise ValueError(
                f"times must be a whole number of 1 or more, or infinite, not {times!r}"
            )
        chooser = _chooser(on)
        with self._lock:
            self._injections.append(_Injection(known, [times], chooser))

    def job(self, uuid: str) -> IndexingJob:
        """The job as a call would show it now, without making one.

        Raises ``KeyError`` for an unknown uuid.
        """
        with self._lock:
            return IndexingJob.from_wire(json.loads(self._job_text(self._jobs[uuid])))

    @property
    def jobs(self) -> tuple[IndexingJob, ...]:
        """All jobs as they stand now, in the order in which they were started."""
        return tuple(self.job(uuid) for uuid in tuple(self._jobs))

    @property
    def hosts(self) -> frozenset[str]:
        """The hosts that it answers for. A server's own is none: that one is really there."""
        urls = (self.base_url,) if self.served_at else (self.base_url, self.report_url)
        return frozenset(urlsplit(url).netloc for url in urls)

    def serve_at(self, url: str) -> None:
        """Let every URL in an answer lead to the server at ``url``, so that no client leaves this machine by a link."""
        self.served_at = url.rstrip("/")
        self.report_url = f"{self.served_at}/reports"

    # What a client asks.

    def handle(self, request: Request) -> Response:
        """The service's answer. Raises ``TransportFault`` where a fault lets none come."""
        if not self._keeps_journal:
            return self._handle(request)
        at = self.clock.monotonic()
        try:
            response = self._handle(request)
        except TransportFault as fault:
            self.journal.add(Exchange(request, None, fault, at))
            raise
        self.journal.add(Exchange(request, response, None, at))
        return response

    def _handle(self, request: Request) -> Response:
        with self._lock:
            self._requests += 1
            call, arguments = self._route(request)
            fault = self._strike(request, call)
            if fault and not fault.acts:
                return fault.apply(Response(200, self._headers()))
            answer = self._answer(request, call, arguments)
            return fault.apply(answer) if fault else answer

    def _strike(self, request: Request, call: Route) -> Fault | None:
        for at, injection in enumerate(self._injections):
            if injection.on(request, call):
                injection.times[0] -= 1
                if injection.times[0] <= 0:
                    del self._injections[at]
                return injection.fault
        return None

    def _answer(self, request: Request, call: Route, arguments: tuple[str, ...]) -> Response:
        try:
            if call == "report":
                return self._report(request, *arguments)
            if call == "login":
                return Response(200, (("Content-Type", "text/html; charset=utf-8"),), _SIGN_IN)
            self._count_request()
            self._authenticate(request)
            body = self._call(request, call, arguments)
        except _Refusal as refusal:
            error = {"id": refusal.id, "message": refusal.message, "request_id": self._request_id()}
            return Response(
                refusal.status, (*self._headers(), *refusal.headers), json.dumps(error).encode()
            )
        return Response(200, self._headers(), body)

    def _call(self, request: Request, call: Route, arguments: tuple[str, ...]) -> bytes:
        if not isinstance(call, Call):
            raise self._unknown(request, call)
        return self._handlers[call.name](request, *arguments)

    def _route(self, request: Request) -> tuple[Route, tuple[str, ...]]:
        url = request.url
        if url.startswith(f"{self.report_url}/indexing_jobs/"):
            return "report", (
                url[len(self.report_url) + len("/indexing_jobs/") :].partition("?")[0],
            )
        return _route(request.method, url.removeprefix(self.base_url))

    def _unknown(self, request: Request, route: Route) -> _Refusal:
        """What is no call of the API: invented ones are a mistake that the test's end tells of."""
        shown = f"{request.method} {shown_url(request.url)}"
        methods = ", ".join(route.methods) if isinstance(route, Invented) else ""
        if methods:
            problem = f"{shown}: this path takes {methods}"
            refusal = _Refusal(
                405, "method_not_allowed", "the method is not allowed", ("Allow", methods)
            )
        else:
            problem = f"{shown} is no call of the indexing-job API"
            refusal = _Refusal(404, "not_found", "The resource you requested could not be found.")
        known = "".join(f"\n    {call}" for call in CALLS)
        text = f"{problem}. It was answered {refusal.status}. Its calls are{known}"
        self.journal.add_miss(UnknownCallError(text, request=request))
        return refusal

    # The limits and the token.

    def _headers(self) -> tuple[tuple[str, str], ...]:
        limit = self.requests_per_hour
        if limit is None:
            return (("Content-Type", "application/json"),)
        reset = self._epoch + (self._asked[0] if self._asked else self.clock.monotonic()) + 3600
        return (
            ("Content-Type", "application/json"),
            ("ratelimit-limit", str(limit)),
            ("ratelimit-remaining", str(max(limit - len(self._asked), 0))),
            ("ratelimit-reset", str(int(reset))),
        )

    def _request_id(self) -> str:
        return f"{self._requests:08x}-c0de-4000-8000-000000000000"

    def _count_request(self) -> None:
        now = self.clock.monotonic()
        for asked, window in ((self._asked, 3600), (self._lately, 60)):
            while asked and asked[0] <= now - window:
                asked.popleft()
        if self.requests_per_hour is not None and len(self._asked) >= self.requests_per_hour:
            raise _Refusal(429, "too_many_requests", _TOO_MANY)
        if self.requests_per_minute is not None and len(self._lately) >= self.requests_per_minute:
            # Only the burst limit's answer bears retry-after.
            wait = (self._lately[0] if self._lately else now) + 60 - now
            raise _Refusal(
                429, "too_many_requests", _TOO_MANY, ("retry-after", str(max(math.ceil(wait), 1)))
            )
        self._asked.append(now)
        self._lately.append(now)

    def _authenticate(self, request: Request) -> None:
        scheme, _, token = request.header("authorization").partition(" ")
        if (
            scheme.lower() != "bearer"
            or not token.strip()
            or (self.token is not None and token != self.token)
        ):
            raise _Refusal(401, "unauthorized", "Unable to authenticate you")

    # The calls.

    def _found(self, uuid: str) -> _Job:
        job = self._jobs.get(uuid)
        if job is None:
            raise _Refusal(404, "not_found", "The resource you requested could not be found.")
        return job

    def _get(self, job: _Job) -> bytes:
        at, _ = self._moment(job)
        key = (job.uuid, at, job.cancelled)
        body = self._bodies.get(key)
        if body is None:
            inner = self._job_text(job)
            body = b"{}" if "job" in job.scenario.omit else f'{{"job":{inner}}}'.encode()
            self._bodies[key] = body
            if len(self._bodies) > 64:
                self._bodies.popitem(last=False)
        return body

    def _list(self, request: Request) -> bytes:
        query = parse_qs(urlsplit(request.url).query)
        page, per_page = (
            _number(query, "page", 1),
            min(_number(query, "per_page", _PER_PAGE), _MOST_PER_PAGE),
        )
        total = len(self._order)
        pages = max(-(-total // per_page), 1)
        # The newest first: a guess.
        last = total - (page - 1) * per_page
        shown = self._order[max(last - per_page, 0) : max(last, 0)][::-1]
        near = {"first": 1, "previous": page - 1, "next": page + 1, "last": pages}
        if page == 1:
            del near["first"], near["previous"]
        if page >= pages:
            del near["next"], near["last"]
        base = self.served_at or self.base_url
        links = {
            name: f"{base}{JOBS_PATH}?page={number}&per_page={per_page}"
            for name, number in near.items()
        }
        return self._jobs_body(shown, links, {"page": page, "pages": pages, "total": total})

    def _latest(self, knowledge_base_uuid: str) -> bytes:
        jobs = self._by_knowledge_base.get(knowledge_base_uuid, [])
        shown = jobs[: -_LATEST - 1 : -1]
        return self._jobs_body(shown, {}, {"page": 1, "pages": 1, "total": len(shown)})

    def _jobs_body(
        self, jobs: Sequence[_Job], links: dict[str, str], meta: dict[str, int]
    ) -> bytes:
        texts = ",".join(self._job_text(job) for job in jobs)
        rest = json.dumps({"links": {"pages": links}, "meta": meta})
        return f'{{"jobs":[{texts}],{rest[1:]}'.encode()

    def _create(self, request: Request) -> bytes:
        body = _json_object(request)
        uuid = body.get("knowledge_base_uuid")
        if not isinstance(uuid, str) or not uuid:
            raise _Refusal(
                400, "invalid_argument", "knowledge_base_uuid is required and must be a string"
            )
        sources = body.get("data_source_uuids") or []
        if not isinstance(sources, list) or not all(
            isinstance(each, str) and each for each in sources
        ):
            raise _Refusal(400, "invalid_argument", "data_source_uuids must be a list of strings")
        latest = self._by_knowledge_base.get(uuid, [])[-1:]
        if latest and not self._moment(latest[0])[1].is_terminal:
            # Live: the message. Its status and id are guesses.
            message = f"knowledge base {uuid} already has an indexing job running"
            raise _Refusal(self.conflict_status, self.conflict_id, message)
        scenario, overrides = self._plan
        if sources and isinstance(scenario, str):
            overrides = {**overrides, "data_sources": len(sources)}
        job = self._add(scenarios.resolve(scenario, overrides), uuid, None, tuple(sources))
        return json.dumps({"job": self._sparse(job)}).encode()

    def _cancel(self, request: Request, uuid: str) -> bytes:
        body = _json_object(request)
        if body.get("uuid") not in (None, "", uuid):
            raise _Refusal(400, "invalid_argument", "the uuid of the body is not that of the path")
        job = self._found(uuid)
        # A job that has ended stays as it is: a guess.
        if job.cancelled is None and not self._moment(job)[1].is_terminal:
            job.cancelled = self.clock.monotonic()
        return self._get(job)

    def _data_sources(self, job: _Job) -> bytes:
        _, step = self._moment(job)
        return f'{{"indexed_data_sources":[{self._sources_text(job, step)}]}}'.encode()

    # The report. Where it lies and what is in it are guesses.

    def _signed_url_body(self, job: _Job) -> bytes:
        return json.dumps({"signed_url": self._signed_url(job)}).encode()

    def _signed_url(self, job: _Job) -> str:
        _, step = self._moment(job)
        if not step.is_terminal:
            raise _Refusal(404, "not_found", "the report is not available yet")
        expires = int(self._epoch + self.clock.monotonic()) + REPORT_LIFETIME
        return (
            f"{self.report_url}/indexing_jobs/{job.uuid}.csv"
            f"?X-Amz-Expires={expires}&X-Amz-Signature={_signature(job.uuid, expires)}"
        )

    def _report(self, request: Request, name: str) -> Response:
        query = parse_qs(urlsplit(request.url).query)
        expires = next(iter(query.get("X-Amz-Expires", [])), "")
        signature = next(iter(query.get("X-Amz-Signature", [])), "")
        job = self._jobs.get(name.removesuffix(".csv"))
        good = (
            job
            and re.fullmatch(r"\d{1,12}", expires)
            and signature == _signature(job.uuid, int(expires))
        )
        plain = (("Content-Type", "text/plain"),)
        if job is None or not good or int(expires) < self._epoch + self.clock.monotonic():
            return Response(403, plain, b"the signature does not match, or it has expired")
        if request.method not in ("GET", "HEAD"):
            return Response(405, plain, b"")
        return Response(200, (("Content-Type", "text/csv"),), self._csv(job).encode())

    def _csv(self, job: _Job) -> str:
        _, step = self._moment(job)
        fields = IndexedDataSource.counts()
        text = io.StringIO(newline="")
        rows = csv.writer(text)
        rows.writerow(["data_source_uuid", "status", *fields])
        for at, source in enumerate(step.data_sources):
            counts = [getattr(source, field) for field in fields]
            rows.writerow([self._source_uuid(job, at, source), source.status.value, *counts])
        return text.getvalue()

    # A job as it stands.

    def _add(
        self,
        scenario: Scenario,
        knowledge_base_uuid: str | None,
        uuid: str | None,
        sources: tuple[str, ...],
    ) -> _Job:
        number = len(self._jobs)
        uuid = uuid or f"{(0x5C0E1D52 + number) & 0xFFFFFFFF:08x}-b5f6-{_NODE}"
        if uuid in self._jobs:
            raise ValueError(f"there is a job {uuid} already")
        knowledge_base_uuid = (
            knowledge_base_uuid or f"{(0x61F7A3DE + number) & 0xFFFFFFFF:08x}-b5f1-{_NODE}"
        )
        job = _Job(uuid, knowledge_base_uuid, scenario, self.clock.monotonic(), sources)
        self._jobs[uuid] = job
        self._order.append(job)
        self._by_knowledge_base.setdefault(knowledge_base_uuid, []).append(job)
        return job

    def _moment(self, job: _Job) -> tuple[int, Step]:
        """The step at which a job is, with a number that tells its different answers apart."""
        now = self.clock.monotonic()
        until = now if job.cancelled is None else min(now, job.cancelled)
        steps = job.scenario.steps
        # Sums of floats fall short of the step's moment by less than a clock could tell.
        at = bisect.bisect_right(steps, until - job.created + 1e-6, key=_at) - 1
        at = max(at, 0)
        if job.cancelled is None or now < job.cancelled + self.cancel_delay:
            return at, steps[at]
        return -1, _cancelled_step(steps[at], job.cancelled + self.cancel_delay - job.created)

    def _sparse(self, job: _Job) -> dict[str, Any]:
        created = self._shown_time(job, 0.0)
        return {
            "uuid": job.uuid,
            "knowledge_base_uuid": job.knowledge_base_uuid,
            "created_at": created,
            "updated_at": created,
            "phase": "BATCH_JOB_PHASE_PENDING",
            "status": "INDEX_JOB_STATUS_PENDING",
        }

    def _shown_time(self, job: _Job, seconds: float, offset: bool = False) -> str:
        moment = self._epoch + job.created + seconds + 1e-6
        if not job.scenario.fractions:
            return utc(int(moment)).strftime("%Y-%m-%dT%H:%M:%SZ")
        if offset:
            return utc(int(moment) + 7200).strftime("%Y-%m-%dT%H:%M:%S.123456789+02:00")
        return utc(int(moment)).strftime("%Y-%m-%dT%H:%M:%S.123456789Z")

    def _job_text(self, job: _Job) -> str:
        _, step = self._moment(job)
        scenario = job.scenario
        started = next((each.at for each in scenario.steps if each.status.name != "PENDING"), None)
        ended = step.at if job.cancelled is not None and step.is_terminal else scenario.duration
        done = sum(_is_done(source) for source in step.data_sources)
        fields: dict[str, Any] = {
            "uuid": job.uuid,
            "knowledge_base_uuid": job.knowledge_base_uuid,
            "created_at": self._shown_time(job, 0.0),
            "updated_at": self._shown_time(job, step.at),
            "started_at": (
                self._shown_time(job, started, offset=True)
                if started is not None and started <= step.at
                else None
            ),
            "finished_at": (
                self._shown_time(job, ended) if ended is not None and step.is_terminal else None
            ),
            "phase": (
                str(step.phase) if step.phase.value != step.phase.prefix() + "UNKNOWN" else None
            ),
            "total_datasources": scenario.data_source_count or None,
            "completed_datasources": done or None,
            "status": (
                str(step.status) if step.status.value != step.status.prefix() + "UNKNOWN" else None
            ),
            "is_report_available": step.is_terminal or None,
            "data_source_uuids": [*job.data_source_uuids] or None,
            **step.extra,
        }
        if job.scenario.nulls:
            fields |= dict.fromkeys(("tokens", "total_tokens"))
        shown = {
            name: value
            for name, value in fields.items()
            if name not in scenario.omit and (value is not None or scenario.nulls)
        }
        text = json.dumps(shown, separators=(",", ":"))
        if not step.data_sources or "data_source_jobs" in scenario.omit:
            return text
        return f'{text[:-1]},"data_source_jobs":[{self._sources_text(job, step)}]}}'

    def _sources_text(self, job: _Job, step: Step) -> str:
        """The data sources, each text made once for all that differ by their uuid alone."""
        texts: dict[tuple[int, float, float | None], str] = {}
        spans = _spans(job.scenario, step)
        parts = []
        for at, source in enumerate(step.data_sources):
            began, done = spans[at]
            key = (id(source), began, done)
            if key not in texts:
                texts[key] = self._source_text(job, source, began, done)
            parts.append(
                f'{{"data_source_uuid":"{self._source_uuid(job, at, source)}",{texts[key]}'
            )
        return ",".join(parts)

    def _source_text(
        self, job: _Job, source: IndexedDataSource, began: float, done: float | None
    ) -> str:
        wire = dataclasses.replace(source, data_source_uuid="").to_wire()
        wire["started_at"] = self._shown_time(job, began, offset=True)
        if done is not None:
            wire["completed_at"] = self._shown_time(job, done)
        if job.scenario.nulls:
            names = (name for name in source.kinds() if name != "data_source_uuid")
            wire = {name: wire.get(name) for name in names}
        return json.dumps(wire, separators=(",", ":"))[1:]

    def _source_uuid(self, job: _Job, at: int, source: IndexedDataSource) -> str:
        if at < len(job.data_source_uuids):
            return json.dumps(job.data_source_uuids[at])[1:-1]
        if source.data_source_uuid:
            return json.dumps(source.data_source_uuid)[1:-1]
        return f"{(0x70AA91F4 + at) & 0xFFFFFFFF:08x}-b5f1-{_NODE}"


def _route(method: str, url: str) -> tuple[Route, tuple[str, ...]]:
    path = urlsplit(url).path
    found = match(method, path)
    if isinstance(found, CallMatch):
        return found
    if found is None and path == faults.LOGIN_PATH:
        return "login", ()
    return Invented(found.methods if found else ()), ()


def _at(step: Step) -> float:
    return step.at


def _chooser(on: str | Callable[[Request], bool] | None) -> Callable[[Request, Route], bool]:
    if on is None:
        return lambda _request, _route: True
    if isinstance(on, str):
        wanted = named(on)
        return lambda _request, route: route == wanted
    return lambda request, _route: on(request)


def _is_done(source: IndexedDataSource) -> bool:
    return source.status not in _UNDONE


def _spans(scenario: Scenario, step: Step) -> list[tuple[float, float | None]]:
    """When each data source of a step was first seen, and when it was first seen as it ended (or ``None``)."""
    spans: list[tuple[float, float | None]] = []
    for at, source in enumerate(step.data_sources):
        seen = [each for each in scenario.steps if len(each.data_sources) > at]
        began = seen[0].at if seen else step.at
        ended = source.status not in (DataSourceStatus.IN_PROGRESS, DataSourceStatus.UNKNOWN)
        done = next(
            (each.at for each in seen if each.data_sources[at].status == source.status), step.at
        )
        spans.append((began, done if ended else None))
    return spans


def _cancelled_step(step: Step, at: float) -> Step:
    sources = tuple(
        (
            dataclasses.replace(source, status=DataSourceStatus.CANCELLED)
            if source.status is DataSourceStatus.IN_PROGRESS
            else source
        )
        for source in step.data_sources
    )
    ended: Any = {"status": "CANCELLED", "phase": "CANCELLED"}  # parsed by Step
    return Step(at=at, data_sources=sources, extra=step.extra, **ended)


def _number(query: dict[str, list[str]], name: str, default: int) -> int:
    text = query.get(name, [str(default)])[0]
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < 1:
        raise _Refusal(400, "invalid_argument", f"{name} must be a whole number of 1 or more")
    return int(text)


def _json_object(request: Request) -> dict[str, Any]:
    if len(request.body) > _LARGEST_BODY:
        raise _Refusal(400, "invalid_argument", f"the body is larger than {_LARGEST_BODY} bytes")
    try:
        body = json.loads(request.body or b"{}")
    except (ValueError, RecursionError):
        raise _Refusal(400, "invalid_argument", "the body is not JSON") from None
    if not isinstance(body, dict):
        raise _Refusal(400, "invalid_argument", "the body must be a JSON object")
    return body


def _signature(uuid: str, expires: int) -> str:
    return hashlib.sha256(f"{uuid} {expires}".encode()).hexdigest()
