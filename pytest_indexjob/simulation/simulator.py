"""The simulator's front desk: it finds out what a request asks for, and who answers.

The resources have a file each: ``jobs``, ``reports``, ``knowledge_bases``, ``data_sources``,
``uploads``, ``schedules``, ``agents``. Here are the token, the limits, the faults, the answers that
a test told, and the journal. Sources of facts: the published OpenAPI (paths, bodies, errors,
limits), the live service (sparse answer to POST, omission of zeros, whole seconds, version 1
uuids). The answers to unknown paths and wrong methods are guesses.
"""

from __future__ import annotations

import json
import math
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import urlsplit

from pytest_indexjob.api.calls import API_URL, CALLS, Call, CallMatch, match, named, nearest
from pytest_indexjob.api.errors import UnknownCallError
from pytest_indexjob.api.knowledge_bases import (
    IndexingSchedule,
    KnowledgeBase,
    KnowledgeBaseDataSource,
)
from pytest_indexjob.api.models import IndexingJob
from pytest_indexjob.exchange import Exchange, Journal, Request, Response, TransportFault, shown_url
from pytest_indexjob.simulation import faults
from pytest_indexjob.simulation.agents import Agents
from pytest_indexjob.simulation.data_sources import DataSources
from pytest_indexjob.simulation.faults import Fault
from pytest_indexjob.simulation.jobs import Jobs
from pytest_indexjob.simulation.knowledge_bases import KnowledgeBases
from pytest_indexjob.simulation.reports import Reports
from pytest_indexjob.simulation.resource import Desk, Handler, Refusal, compact, not_found
from pytest_indexjob.simulation.scenarios import Scenario
from pytest_indexjob.simulation.schedules import Schedules
from pytest_indexjob.simulation.told import ToldAnswer
from pytest_indexjob.simulation.uploads import Upload, Uploads
from pytest_indexjob.virtual_time.clock import VirtualClock

if TYPE_CHECKING:
    from pytest_indexjob.api.client import Clock

_TOO_MANY = "API Rate limit exceeded."
_SIGN_IN = b"<html><head><title>Sign in</title></head><body><h1>Sign in</h1></body></html>"


class Invented(NamedTuple):
    """A request that is no call: ``methods`` are those that its path takes, if any."""

    methods: tuple[str, ...] = ()


# What answers besides the calls: the report's file, an upload's place, the page that the fault
# `redirect` leads to, and what the test told.
Route = Call | Literal["report", "upload", "login"] | ToldAnswer | Invented


class _Injection(NamedTuple):
    fault: Fault
    times: list[float]  # how often it is still to strike
    on: Callable[[Request, Route], bool]


class Simulator:
    """Answers the calls of the indexing-job API and of the knowledge base around it.

    Safe from any thread. ``clock`` is virtual time unless given. ``token`` is the one that is
    accepted, or ``None`` for any. ``requests_per_hour`` and ``requests_per_minute`` are the
    service's limits (``None`` for none). ``strict`` refuses knowledge bases that nobody made.

    Guesses, so settings: ``conflict_status`` and ``conflict_id`` are what is refused with where
    something is in use, ``cancel_delay`` the seconds from a cancelling call to the job's end,
    ``database_delay`` the seconds until a new knowledge base's database is ONLINE (up to 7 minutes
    were seen), ``report_url`` and ``upload_url`` where files are.
    """

    def __init__(
        self,
        clock: Clock | None = None,
        *,
        journal: Journal | None = None,
        base_url: str = API_URL,
        report_url: str = "https://indexing-job-reports.example.com",
        upload_url: str = "https://knowledge-base-uploads.example.com",
        token: str | None = None,
        requests_per_hour: int | None = 5000,
        requests_per_minute: int | None = 250,
        conflict_status: int = 409,
        conflict_id: str = "conflict",
        cancel_delay: float = 5.0,
        database_delay: float = 300.0,
        strict: bool = False,
    ) -> None:
        self.clock = clock if clock is not None else VirtualClock()
        self._keeps_journal = True
        self.journal = journal if journal is not None else Journal()
        self.base_url = base_url.rstrip("/")
        self.token = token
        self.requests_per_hour = requests_per_hour
        self.requests_per_minute = requests_per_minute
        self._on_start: Callable[[], object] | None = None
        self._desk = Desk(
            self.clock,
            self.base_url,
            conflict_status,
            conflict_id,
            cancel_delay,
            database_delay,
            strict,
        )
        self._jobs = Jobs(
            self._desk,
            ready=self._check_ready,
            sources_of=self._sources_of,
        )
        self._reports = Reports(self._desk, self._jobs, report_url)
        self._knowledge_bases = KnowledgeBases(
            self._desk,
            latest_job=self._jobs.latest_of,
            add_source=self._add_source,
            check_source=self._check_source,
            in_use=self._in_use,
            forget=self._forget,
        )
        require = self._knowledge_bases.require
        self._data_sources = DataSources(
            self._desk,
            require=require,
            jobs_of=self._jobs.all_of,
            is_busy=self._jobs.is_busy,
        )
        self._uploads = Uploads(self._desk, upload_url)
        self._schedules = Schedules(self._desk, require=require)
        self._agents = Agents(self._desk, require=require, wire=self._knowledge_bases.wire)
        self._handlers: dict[str, Handler] = {
            name: handler
            for resource in (
                self._jobs,
                self._reports,
                self._knowledge_bases,
                self._data_sources,
                self._uploads,
                self._schedules,
                self._agents,
            )
            for name, handler in resource.handlers.items()
        }
        self._told: list[ToldAnswer] = []
        self._injections: list[_Injection] = []
        self._asked: deque[float] = deque()  # in the last hour
        self._lately: deque[float] = deque()  # in the last minute
        self._requests = 0
        self._lock = threading.RLock()

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
        a uuid that is taken, or with ``strict`` an unknown knowledge base.
        """
        with self._lock:
            self._settle()
            if knowledge_base_uuid and knowledge_base_uuid not in self._knowledge_bases:
                if self._desk.strict:
                    raise ValueError(f"there is no knowledge base {knowledge_base_uuid!r}")
                self._knowledge_bases.spring(knowledge_base_uuid)
            job = self._jobs.start(scenario, overrides, knowledge_base_uuid, uuid)
            if not self._desk.strict:
                self._knowledge_bases.spring(job.knowledge_base_uuid)
            if self._on_start is not None:
                self._on_start()
            return job

    def plan(self, scenario: str | Scenario, **overrides: Any) -> None:
        """Say by which scenario the jobs go that the code under test starts from now on.

        It is ``completed`` unless another was planned.
        """
        self._jobs.plan(scenario, overrides)

    def plan_database(self, life: str = "online", *, after: float | None = None) -> None:
        """Say how the databases live of the knowledge bases that the code under test makes.

        ``life``: ``online``, ``unhealthy``, ``decommissioned`` or ``never``; the database is
        CREATING for ``after`` seconds before (``database_delay`` unless given). Raises
        ``ValueError`` for another life.
        """
        self._knowledge_bases.plan(life, after)

    def add_knowledge_base(
        self,
        knowledge_base: KnowledgeBase | str = "knowledge-base",
        *,
        database: str = "online",
        after: float = 0.0,
        **fields: Any,
    ) -> KnowledgeBase:
        """Let a knowledge base be there; a text is its name, ``fields`` are those of the model.

        Its database comes to ``database`` ``after`` seconds. Raises ``ValueError`` for a uuid that
        is taken.
        """
        if isinstance(knowledge_base, str):
            knowledge_base = KnowledgeBase(name=knowledge_base, **fields)
        with self._lock:
            return self._knowledge_bases.add(knowledge_base, database=database, after=after)

    def add_data_source(
        self,
        knowledge_base_uuid: str,
        source: KnowledgeBaseDataSource | None = None,
        **fields: Any,
    ) -> KnowledgeBaseDataSource:
        """Let a knowledge base have a data source; ``fields`` are those of the model.

        Without any it is a bucket of Spaces. Raises ``ValueError`` for an unknown knowledge base.
        """
        with self._lock:
            if knowledge_base_uuid not in self._knowledge_bases:
                raise ValueError(f"there is no knowledge base {knowledge_base_uuid!r}")
            if source is None:
                bucket = {"bucket_name": "documents", "region": "tor1"}
                source = KnowledgeBaseDataSource(**(fields or {"spaces_data_source": bucket}))
            return self._data_sources.add(knowledge_base_uuid, source)

    def answer(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        body: bytes | str | None = None,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        times: float = math.inf,
    ) -> None:
        """Answer other calls on the host yourself, ``times`` times; the last told comes first.

        ``path`` may have ``{}`` for any segment. ``json`` (or ``body``) is what is answered, or a
        function of the ``Request`` that gives it, or gives a ``Response``.
        """
        told = ToldAnswer.made(method, path, json, body, status, headers, times)
        with self._lock:
            self._told.insert(0, told)

    def inject(
        self,
        fault: str | Fault,
        *,
        times: float = 1,
        on: str | Callable[[Request], bool] | None = None,
    ) -> None:
        """Let a fault strike the next ``times`` calls, in the order of injection.

        ``times=float("inf")`` means all calls. ``on`` limits the fault to one call, by its name
        (``"jobs.get"``; for jobs ``"get"`` will do), or to the requests for which a function gives
        true. Raises ``ValueError`` for an unknown fault or call.
        """
        known = fault if isinstance(fault, Fault) else faults.get(fault)
        if not times > 0 or (times != math.inf and times != int(times)):
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
            self._settle()
            return self._jobs.shown(uuid)

    @property
    def jobs(self) -> tuple[IndexingJob, ...]:
        """All jobs as they stand now, in the order in which they were started."""
        with self._lock:
            self._settle()
            return tuple(self._jobs.shown(uuid) for uuid in self._jobs.uuids)

    @property
    def knowledge_bases(self) -> tuple[KnowledgeBase, ...]:
        """All knowledge bases as they stand now."""
        with self._lock:
            self._settle()
            return self._knowledge_bases.all

    @property
    def data_sources(self) -> tuple[KnowledgeBaseDataSource, ...]:
        """All data sources as they stand now."""
        with self._lock:
            self._settle()
            return self._data_sources.all

    @property
    def uploads(self) -> tuple[Upload, ...]:
        """All files for which a URL to upload them was asked."""
        return self._uploads.all

    @property
    def schedules(self) -> tuple[IndexingSchedule, ...]:
        """All schedules as they stand now."""
        with self._lock:
            self._settle()
            return self._schedules.all

    @property
    def agents(self) -> tuple[dict[str, Any], ...]:
        """All agents as GET shows them."""
        with self._lock:
            self._settle()
            return self._agents.all

    @property
    def report_url(self) -> str:
        """Where the reports are."""
        return self._reports.url

    @property
    def served_at(self) -> str:
        """The URL of the server that hands its answers out, or ``""``."""
        return self._desk.served_at

    @property
    def hosts(self) -> frozenset[str]:
        """The hosts that it answers for. A server's own is none: that one is really there."""
        urls = [self.base_url]
        if not self.served_at:
            urls += [self._reports.url, self._uploads.url]
        return frozenset(urlsplit(url).netloc for url in urls)

    def serve_at(self, url: str) -> None:
        """Let every URL in an answer lead to the server at ``url``.

        No client then leaves this machine by a link.
        """
        self._desk.served_at = url.rstrip("/")
        self._reports.url = f"{self._desk.served_at}/reports"
        self._uploads.url = f"{self._desk.served_at}/uploads"

    def stand_behind(self, on_start: Callable[[], object]) -> None:
        """Let somebody in front of it keep the journal, and be told of every job that is started."""
        self._keeps_journal = False
        self._on_start = on_start

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
            self._settle()
            self._requests += 1
            route, arguments = self._route(request)
            fault = self._strike(request, route)
            if fault and not fault.acts:
                return fault.apply(Response(200, self._headers()))
            answer = self._answer(request, route, arguments)
            return fault.apply(answer) if fault else answer

    def _settle(self) -> None:
        """Let happen what time has brought since: jobs that start by themselves, in order."""
        now = self.clock.monotonic()
        due = [*self._knowledge_bases.due(now), *self._schedules.due(now)]
        for moment, uuid in sorted(due):
            self._jobs.start_by_itself(uuid, moment)

    def _strike(self, request: Request, route: Route) -> Fault | None:
        for at, injection in enumerate(self._injections):
            if injection.on(request, route):
                injection.times[0] -= 1
                if injection.times[0] <= 0:
                    del self._injections[at]
                return injection.fault
        return None

    def _answer(self, request: Request, route: Route, arguments: tuple[str, ...]) -> Response:
        if route == "report":
            return self._reports.answer(request)
        if route == "upload":
            return self._uploads.answer(request)
        if route == "login":
            return Response(200, (("Content-Type", "text/html; charset=utf-8"),), _SIGN_IN)
        try:
            self._count_request()
            self._authenticate(request)
            if isinstance(route, ToldAnswer):
                return self._tell(route, request)
            if isinstance(route, Invented):
                raise self._unknown(request, route)
            body = self._handlers[route.name](request, *arguments)
        except Refusal as refusal:
            error = {"id": refusal.id, "message": refusal.message, "request_id": self._request_id()}
            return Response(
                refusal.status, (*self._headers(), *refusal.headers), json.dumps(error).encode()
            )
        return Response(200, self._headers(), body if isinstance(body, bytes) else compact(body))

    def _tell(self, told: ToldAnswer, request: Request) -> Response:
        told.times -= 1
        if told.times <= 0:
            self._told.remove(told)
        return told.respond(request, self._headers())

    def _route(self, request: Request) -> tuple[Route, tuple[str, ...]]:
        if self._reports.owns(request.url):
            return "report", ()
        if self._uploads.owns(request.url):
            return "upload", ()
        path = urlsplit(request.url.removeprefix(self.base_url)).path
        told = next((each for each in self._told if each.fits(request.method, path)), None)
        if told is not None:
            return told, ()
        found = match(request.method, path)
        if isinstance(found, CallMatch):
            return found
        if found is None and path == faults.LOGIN_PATH:
            return "login", ()
        return Invented(found.methods if found else ()), ()

    def _unknown(self, request: Request, route: Invented) -> Refusal:
        """What is no call of the API: invented ones are a mistake that the test's end tells of."""
        shown = f"{request.method} {shown_url(request.url)}"
        methods = ", ".join(route.methods)
        if methods:
            problem = f"{shown}: this path takes {methods}"
            allow = ("Allow", methods)
            refusal = Refusal(405, "method_not_allowed", "the method is not allowed", allow)
        else:
            problem = f"{shown} is no call of the indexing-job API"
            refusal = not_found()
        near = nearest(request.method, urlsplit(request.url).path)
        meant = f" Did you mean {near}{_WITH.get(near.name, '')}?" if near else ""
        known = "".join(f"\n    {call}" for call in CALLS)
        text = (
            f"{problem}. The simulator answered {refusal.status}.{meant} To answer it yourself:"
            f" indexjob_simulator.answer({request.method!r}, ...). The API has these calls:{known}"
        )
        self.journal.add_miss(UnknownCallError(text, request=request))
        return refusal

    # What a resource asks of one that is made after it.

    def _check_ready(self, uuid: str) -> None:
        self._knowledge_bases.check_ready(uuid)

    def _sources_of(self, uuid: str) -> tuple[str, ...]:
        return self._data_sources.uuids_of(uuid)

    def _add_source(self, uuid: str, source: Mapping[str, Any]) -> object:
        return self._data_sources.add(uuid, source)

    def _check_source(self, source: Mapping[str, Any]) -> object:
        return self._data_sources.check(source)

    def _in_use(self, uuid: str) -> str:
        if self._jobs.is_busy(uuid):
            return f"knowledge base {uuid} is being indexed"
        agent = self._agents.user_of(uuid)
        return f"knowledge base {uuid} is attached to agent {agent}" if agent else ""

    def _forget(self, uuid: str) -> None:
        self._data_sources.forget(uuid)
        self._schedules.forget(uuid)

    # The limits and the token.

    def _headers(self) -> tuple[tuple[str, str], ...]:
        limit = self.requests_per_hour
        if limit is None:
            return (("Content-Type", "application/json"),)
        first = self._asked[0] if self._asked else self.clock.monotonic()
        return (
            ("Content-Type", "application/json"),
            ("ratelimit-limit", str(limit)),
            ("ratelimit-remaining", str(max(limit - len(self._asked), 0))),
            ("ratelimit-reset", str(int(self._desk.epoch + first + 3600))),
        )

    def _request_id(self) -> str:
        return f"{self._requests:08x}-c0de-4000-8000-000000000000"

    def _count_request(self) -> None:
        now = self.clock.monotonic()
        for asked, window in ((self._asked, 3600), (self._lately, 60)):
            while asked and asked[0] <= now - window:
                asked.popleft()
        if self.requests_per_hour is not None and len(self._asked) >= self.requests_per_hour:
            raise Refusal(429, "too_many_requests", _TOO_MANY)
        if self.requests_per_minute is not None and len(self._lately) >= self.requests_per_minute:
            # Only the burst limit's answer bears retry-after.
            wait = (self._lately[0] if self._lately else now) + 60 - now
            after = ("retry-after", str(max(math.ceil(wait), 1)))
            raise Refusal(429, "too_many_requests", _TOO_MANY, after)
        self._asked.append(now)
        self._lately.append(now)

    def _authenticate(self, request: Request) -> None:
        scheme, _, token = request.header("authorization").partition(" ")
        wrong = self.token is not None and token != self.token
        if scheme.lower() != "bearer" or not token.strip() or wrong:
            raise Refusal(401, "unauthorized", "Unable to authenticate you")


# What a call needs besides its path, for a message.
_WITH = {"jobs.create": ' with {"knowledge_base_uuid": ...}'}


def _chooser(on: str | Callable[[Request], bool] | None) -> Callable[[Request, Route], bool]:
    if on is None:
        return lambda _request, _route: True
    if isinstance(on, str):
        wanted = named(on)
        return lambda _request, route: route == wanted
    return lambda request, _route: on(request)
