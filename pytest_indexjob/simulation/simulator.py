"""The simulator: the service's calls, answered by computing them.

The simulator itself is the front desk: it finds the call, checks method, token and limits, lets
faults strike and keeps the journal. What the calls do is in a file for each resource. Sources of
facts: the published OpenAPI (paths, errors, limits), the live service (the limits' headers).
Guesses: the answers to unknown paths and wrong methods.
"""

from __future__ import annotations

import difflib
import json
import math
import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar
from urllib.parse import urlsplit

from pytest_indexjob.api.calls import API_URL, Call, CallMatch, match, named, nearest_call
from pytest_indexjob.api.errors import DecodeError, UnknownCallError
from pytest_indexjob.api.knowledge_bases import (
    KnowledgeBase,
    KnowledgeBaseDataSource,
    ScheduledIndexing,
)
from pytest_indexjob.api.models import IndexingJob
from pytest_indexjob.api.wire import WireEnum, WireModel, shown
from pytest_indexjob.exchange import (
    Exchange,
    Headers,
    Journal,
    Request,
    Response,
    TransportFault,
    shown_url,
)
from pytest_indexjob.simulation import faults
from pytest_indexjob.simulation.agents import Agents
from pytest_indexjob.simulation.bases import READY, Base, Bases, DatabaseLife, check_kind
from pytest_indexjob.simulation.faults import Fault
from pytest_indexjob.simulation.jobs import Jobs
from pytest_indexjob.simulation.knowledge_bases import DataSources, KnowledgeBases, check_name
from pytest_indexjob.simulation.own_answers import OwnAnswers
from pytest_indexjob.simulation.reports import Reports
from pytest_indexjob.simulation.resource import Handler, Refusal, Resource, checked_times
from pytest_indexjob.simulation.scenarios import Scenario
from pytest_indexjob.simulation.schedules import Schedules
from pytest_indexjob.simulation.uploads import Upload, Uploads
from pytest_indexjob.virtual_time.clock import VirtualClock

if TYPE_CHECKING:
    from pytest_indexjob.api.client import Clock

M = TypeVar("M", bound=WireModel)
_TOO_MANY = "API Rate limit exceeded."
_SIGN_IN = b"<html><head><title>Sign in</title></head><body><h1>Sign in</h1></body></html>"


class Invented(NamedTuple):
    """A request that is no call: ``methods`` are those that its path takes, if any."""

    methods: tuple[str, ...] = ()


# What is answered besides the calls: a report's file, an upload's URL, and the page to which the
# fault `redirect` leads.
Route = Call | Literal["report", "upload", "login"] | Invented


class _Injection(NamedTuple):
    fault: Fault
    times: list[float]  # how often it is still to strike
    on: Callable[[Request, Route], bool]


class Simulator:
    """Answers the indexing-job API's calls. Safe from any thread.

    ``clock`` is virtual time unless given. ``token``: the one that is accepted, or ``None`` for
    any. ``requests_per_hour`` and ``requests_per_minute`` are the service's limits (``None`` for
    none). ``conflict_status`` and ``conflict_id`` are what a second job of a busy knowledge base is
    refused with, ``cancel_delay`` the seconds from a cancelling call to the end: guesses, so
    settings. Where a ``journal`` is given, whoever gave it writes the exchanges into it.
    ``on_start`` is called when a test starts a job.

    ``strict``: a job of a knowledge base that nobody made is refused; else it is made then. The
    rest are guesses about the knowledge base around the job. ``database_delay`` is the seconds that
    a new database takes, ``own_database_delay`` those of a knowledge base that names its
    ``database_id``; a job before that is refused with ``no_database_status`` and
    ``no_database_id``. ``first_job_waits``: the job of a knowledge base that is made with data
    sources starts when the database is online, else at once. ``delete_starts_job``: deleting a data
    source indexes the rest. ``deletes_in_use``: what an agent or a running job uses can be deleted.
    ``empty_jobs``: a job of a knowledge base without data sources is started, else it is refused.
    ``last_job_lag`` is the seconds until a knowledge base shows a job that was started. An upload
    URL is good for ``upload_lifetime`` seconds. ``sundays`` are the numbers of Sunday in a
    schedule; ``replaces_schedule``: a second schedule takes the place of the first, else it is
    refused. Lists have ``per_page`` items a page, at most ``most_per_page``, and begin with the
    newest unless ``newest_first`` is false.
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
        strict: bool = False,
        upload_url: str = "https://knowledge-base-uploads.example.com",
        upload_lifetime: float = 900.0,
        database_delay: float = 240.0,
        own_database_delay: float = 0.0,
        no_database_status: int = faults.NO_DATABASE_STATUS,
        no_database_id: str = faults.NO_DATABASE_ID,
        first_job_waits: bool = True,
        delete_starts_job: bool = False,
        deletes_in_use: bool = False,
        empty_jobs: bool = False,
        last_job_lag: float = 0.0,
        sundays: Collection[int] = (0, 7),
        replaces_schedule: bool = False,
        newest_first: bool = True,
        per_page: int = 20,
        most_per_page: int = 200,
        on_start: Callable[[], None] = lambda: None,
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
        self.strict = strict
        self.upload_url = upload_url.rstrip("/")
        self.upload_lifetime = upload_lifetime
        self.database_delay = database_delay
        self.own_database_delay = own_database_delay
        self.no_database_status = no_database_status
        self.no_database_id = no_database_id
        self.first_job_waits = first_job_waits
        self.delete_starts_job = delete_starts_job
        self.deletes_in_use = deletes_in_use
        self.empty_jobs = empty_jobs
        self.last_job_lag = last_job_lag
        self.sundays = sundays
        self.replaces_schedule = replaces_schedule
        self.newest_first = newest_first
        self.per_page = per_page
        self.most_per_page = most_per_page
        self.served_at = ""
        self.read_age = 0.0  # how old, in seconds, the state is that an answer tells
        self._on_start = on_start
        self.epoch = self.clock.time() - self.clock.monotonic()
        self._bases = Bases()
        self._jobs = Jobs(self, self._bases)
        self._reports = Reports(self, self._jobs)
        self._uploads = Uploads(self)
        self._knowledge_bases = KnowledgeBases(self, self._bases, self._jobs)
        self._data_sources = DataSources(self, self._bases, self._jobs, self._knowledge_bases)
        self._agents = Agents(self, self._bases, self._knowledge_bases.wire)
        self._schedules = Schedules(self, self._bases, self._jobs)
        self._own_answers = OwnAnswers()
        self._injections: list[_Injection] = []
        self._asked: deque[float] = deque()  # in the last hour
        self._lately: deque[float] = deque()  # in the last minute
        self._requests = 0
        self._lock = threading.RLock()
        resources: tuple[Resource, ...] = (
            self._jobs,
            self._reports,
            self._uploads,
            self._knowledge_bases,
            self._data_sources,
            self._agents,
            self._schedules,
        )
        self._handlers: dict[str, Handler] = {
            call: handler for resource in resources for call, handler in resource.handlers().items()
        }

    def __repr__(self) -> str:
        return f"<Simulator of {len(self._jobs.by_uuid)} jobs>"

    # What a test says.

    def start(
        self,
        scenario: str | Scenario = "completed",
        *,
        knowledge_base_uuid: str | None = None,
        uuid: str | None = None,
        **overrides: Any,
    ) -> IndexingJob:
        """Start a job with a scenario. Gives the job as the service's answer to POST shows it.

        ``overrides`` as ``scenarios.get`` takes them. Each job has a knowledge base of its own
        unless one is named. Raises ``ValueError`` for an unknown scenario, contradicting overrides,
        or a uuid that is taken.
        """
        for given in (knowledge_base_uuid, uuid):
            _check_uuid(given or "")
        with self._lock:
            base = self._base_of_test(knowledge_base_uuid) if knowledge_base_uuid else None
            job = self._jobs.start(scenario, overrides, base, uuid=uuid)
            self._on_start()
            return self._jobs.sparse(job)

    def _base_of_test(self, uuid: str) -> Base:
        if self.strict and uuid not in self._bases.by_uuid:
            raise ValueError(
                f"there is no knowledge base {uuid}: make it with add_knowledge_base(uuid=...), or"
                " set strict to False"
            )
        return self._bases.by_uuid.get(uuid) or self._knowledge_bases.add(
            KnowledgeBase(uuid=uuid, name="knowledge-base"), READY, is_implied=True
        )

    def add_knowledge_base(
        self,
        name: str = "knowledge-base",
        *,
        database: str = "ready",
        after: float | None = None,
        **fields: Any,
    ) -> KnowledgeBase:
        """Make a knowledge base, which is ready at once unless ``database`` says otherwise.

        ``database`` and ``after`` as ``plan_database`` takes them. ``fields`` are those of
        ``KnowledgeBase``, as on the wire; ``uuid`` is made up unless given. Raises ``ValueError``
        for an unknown life, an unknown field or a uuid that is taken.
        """
        model = _model_of_test(KnowledgeBase, {"name": name, **fields})
        check_name(model.name)
        life = self._database_life(database, after)
        with self._lock:
            base = self._knowledge_bases.add(model, life)
            return KnowledgeBase.from_wire(self._knowledge_bases.wire(base))

    def add_data_source(
        self, knowledge_base_uuid: str, *, uuid: str = "", **fields: Any
    ) -> KnowledgeBaseDataSource:
        """Give a knowledge base a data source: of a bucket of Spaces unless ``fields`` say which.

        ``fields`` are those of ``KnowledgeBaseDataSource``, as on the wire:
        ``web_crawler_data_source={"base_url": ...}``. Raises ``KeyError`` for an unknown knowledge
        base, ``ValueError`` for an unknown field or a uuid that is taken.
        """
        given = fields or {"spaces_data_source": {"bucket_name": "documents", "region": "nyc3"}}
        model = _model_of_test(KnowledgeBaseDataSource, {"uuid": uuid, **given})
        check_kind(model)
        _check_uuid(knowledge_base_uuid)
        with self._lock:
            base = self._bases.by_uuid.get(knowledge_base_uuid)
            if base is None:
                raise KeyError(
                    f"there is no knowledge base {knowledge_base_uuid!r}: make it with"
                    " add_knowledge_base(name)"
                )
            source = self._bases.add_source(base, self._knowledge_bases.timed(model))
            return KnowledgeBaseDataSource.from_wire(self._data_sources.wire(base, source))

    def plan_database(self, life: str = "online", *, after: float | None = None) -> None:
        """Choose the life of the databases that the code under test makes from now on.

        ``online``, ``unhealthy``, ``powering-on`` or another status: CREATING for ``after``
        seconds, then that status. ``never``: CREATING for ever. ``ready``: ONLINE at once. Raises
        ``ValueError`` for an unknown life.
        """
        self._knowledge_bases.plan_database(self._database_life(life, after))

    def _database_life(self, name: str, after: float | None) -> DatabaseLife:
        if name != "ready":
            return DatabaseLife.of(name, self.database_delay if after is None else after)
        if after:
            raise ValueError(
                'a database that is "ready" takes no time: leave after out, or say "online"'
            )
        return READY

    def answer(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        status: int = 200,
        headers: Headers | Mapping[str, str] = (),
        times: float = math.inf,
    ) -> None:
        """Say what a method and a path answer, before all that the simulator knows itself.

        In ``path`` each ``{name}`` stands for one segment. ``json`` is the body, a function of the
        request that gives it, or ``None`` for none. It is given ``times`` times. Of several answers
        to a request the one that was said last goes first. Raises ``ValueError`` for an argument
        that can't be asked for, sent or counted.
        """
        with self._lock:
            self._own_answers.add(method, path, json, status, headers, times)

    def plan(self, scenario: str | Scenario, **overrides: Any) -> None:
        """Choose the scenario of the jobs that the code under test starts from now on.

        Without a plan it is ``completed``.
        """
        self._jobs.plan(scenario, overrides)

    def inject(
        self,
        fault: str | Fault,
        *,
        times: float = 1,
        on: str | Callable[[Request], bool] | None = None,
    ) -> None:
        """Let a fault strike the next ``times`` calls, in the order of injection.

        ``float("inf")`` means all calls.

        ``on`` limits it to one call, by its name (``"jobs.get"``; for jobs ``"get"`` will do), or
        to the requests for which a function gives true. Raises ``ValueError`` for an unknown fault
        or call, ``TypeError`` for an ``on`` of another kind.
        """
        known = fault if isinstance(fault, Fault) else faults.get(fault)
        injection = _Injection(known, [checked_times(times)], _chooser(on))
        with self._lock:
            self._injections.append(injection)

    def job(self, uuid: str) -> IndexingJob:
        """The job as a call would show it now, without making one.

        Raises ``KeyError`` for an unknown uuid.
        """
        with self._lock:
            self._start_due()
            if uuid not in self._jobs.by_uuid:
                raise KeyError(f"there is no job {uuid!r}: start() gives the uuid of each new job")
            return IndexingJob.from_wire(self._jobs.wire(self._jobs.by_uuid[uuid]))

    @property
    def jobs(self) -> tuple[IndexingJob, ...]:
        """All jobs as they stand now, in the order in which they were started."""
        with self._lock:
            self._start_due()
            return tuple(self.job(uuid) for uuid in tuple(self._jobs.by_uuid))

    @property
    def knowledge_bases(self) -> tuple[KnowledgeBase, ...]:
        """All knowledge bases as they stand now, in the order in which they were made."""
        with self._lock:
            self._start_due()
            bases = self._bases.by_uuid.values()
            return tuple(
                KnowledgeBase.from_wire(self._knowledge_bases.wire(base)) for base in bases
            )

    @property
    def data_sources(self) -> tuple[KnowledgeBaseDataSource, ...]:
        """All data sources of all knowledge bases as they stand now."""
        with self._lock:
            self._start_due()
            return tuple(
                KnowledgeBaseDataSource.from_wire(self._data_sources.wire(base, source))
                for base in self._bases.by_uuid.values()
                for source in base.sources.values()
            )

    @property
    def uploads(self) -> tuple[Upload, ...]:
        """The files that were announced, in order, each with what came of it."""
        return tuple(self._uploads.by_key.values())

    @property
    def schedules(self) -> tuple[ScheduledIndexing, ...]:
        """The schedules as they stand now, in the order in which they were made."""
        with self._lock:
            self._start_due()
            return tuple(self._schedules.by_base.values())

    @property
    def agents(self) -> tuple[dict[str, Any], ...]:
        """The agents as the service would send them now."""
        with self._lock:
            self._start_due()
            return self._agents.all

    def _start_due(self) -> None:
        """Start the jobs whose moments have come since the last look."""
        self._knowledge_bases.start_due()
        self._schedules.start_due()

    @property
    def hosts(self) -> frozenset[str]:
        """The hosts that it answers for. The host of a server is not among them: it is real."""
        files = () if self.served_at else (self.report_url, self.upload_url)
        return frozenset(urlsplit(url).netloc for url in (self.base_url, *files))

    def serve_at(self, url: str) -> None:
        """Let every URL in an answer lead to the server at ``url``.

        No client then leaves this machine by a link.
        """
        self.served_at = url.rstrip("/")
        self.report_url = f"{self.served_at}/reports"
        self.upload_url = f"{self.served_at}/uploads"

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
            self._start_due()
            call, arguments = self._route(request)
            fault = self._strike(request, call)
            if fault and not fault.acts:
                return fault.apply(Response(200, self._headers()))
            self.read_age = fault.age if fault else 0.0
            try:
                own = self._own_answers.take(request, request.url.removeprefix(self.base_url))
                answer = own or self._answer(request, call, arguments)
            finally:
                self.read_age = 0.0
            return fault.apply(answer) if fault else answer

    def _strike(self, request: Request, call: Route) -> Fault | None:
        for at, injection in enumerate(self._injections):
            is_possible = request.method == "GET" or not injection.fault.age
            if is_possible and injection.on(request, call):
                injection.times[0] -= 1
                if injection.times[0] <= 0:
                    del self._injections[at]
                return injection.fault
        return None

    def _answer(self, request: Request, call: Route, arguments: tuple[str, ...]) -> Response:
        try:
            if call == "report":
                return self._reports.handle(request)
            if call == "upload":
                return self._uploads.handle(request)
            if call == "login":
                return Response(200, (("Content-Type", "text/html; charset=utf-8"),), _SIGN_IN)
            self._count_request()
            self._authenticate(request)
            body = self._call(request, call, arguments)
        except Refusal as refusal:
            error = {"id": refusal.id, "message": refusal.message, "request_id": self.request_id()}
            return Response(
                refusal.status, (*self._headers(), *refusal.headers), json.dumps(error).encode()
            )
        return Response(200, self._headers(), body)

    def _call(self, request: Request, call: Route, arguments: tuple[str, ...]) -> bytes:
        if not isinstance(call, Call):
            raise self._unknown(request, call)
        return self._handlers[call.name](request, *arguments)

    def _route(self, request: Request) -> tuple[Route, tuple[str, ...]]:
        if self._reports.holds(request.url):
            return "report", ()
        if self._uploads.holds(request.url):
            return "upload", ()
        return _route(request.method, request.url.removeprefix(self.base_url))

    def _unknown(self, request: Request, route: Route) -> Refusal:
        """The refusal of a request that is no call of the API; the test fails at its end."""
        shown = f"{request.method} {shown_url(request.url)}"
        methods = ", ".join(route.methods) if isinstance(route, Invented) else ""
        if methods:
            problem = f"{shown}: this path takes {methods}"
            refusal = Refusal(
                405, "method_not_allowed", "the method is not allowed", ("Allow", methods)
            )
        else:
            problem = f"{shown} is no call of the indexing-job API"
            refusal = Refusal(404, "not_found", "The resource you requested could not be found.")
        near = nearest_call(request.method, urlsplit(request.url).path)
        path = urlsplit(shown_url(request.url)).path
        hint = (
            f"Did you mean {near}?"
            if near
            else "To answer it yourself, say"
            f' indexjob_simulator.answer("{request.method}", "{path}", json=...).'
        )
        text = (
            f"{problem}. It was answered {refusal.status}. {hint} The command"
            " `pytest-indexjob list calls` shows every call"
        )
        self.journal.add_miss(UnknownCallError(text, request=request))
        return refusal

    # The limits and the token.

    def _headers(self) -> tuple[tuple[str, str], ...]:
        limit = self.requests_per_hour
        if limit is None:
            return (("Content-Type", "application/json"),)
        reset = self.epoch + (self._asked[0] if self._asked else self.clock.monotonic()) + 3600
        return (
            ("Content-Type", "application/json"),
            ("ratelimit-limit", str(limit)),
            ("ratelimit-remaining", str(max(limit - len(self._asked), 0))),
            ("ratelimit-reset", str(int(reset))),
        )

    def request_id(self) -> str:
        """The id of the request that is answered."""
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
            raise Refusal(
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
            raise Refusal(401, "unauthorized", "Unable to authenticate you")


def _route(method: str, url: str) -> tuple[Route, tuple[str, ...]]:
    path = urlsplit(url).path
    found = match(method, path)
    if isinstance(found, CallMatch):
        return found
    if found is None and path == faults.LOGIN_PATH:
        return "login", ()
    return Invented(found.methods if found else ()), ()


def _model_of_test(model: type[M], fields: dict[str, Any]) -> M:
    try:
        made = model.from_wire(fields)
    except DecodeError as error:
        raise ValueError(str(error).removeprefix("$.")) from None
    _check_words(made)
    return made


def _check_words(model: WireModel) -> None:
    """Raise ``ValueError`` for a field or a value that the contract lacks: a test's mistake."""
    for name in model.extra:
        near = difflib.get_close_matches(name, model.kinds(), n=1)
        did = f" (did you mean {near[0]}?)" if near else ""
        known = ", ".join(model.kinds())
        raise ValueError(f"a {type(model).__name__} has no {name!r}{did}. It has: {known}")
    for name in model.kinds():
        value = getattr(model, name)
        if isinstance(value, WireModel):
            _check_words(value)
        elif isinstance(value, WireEnum) and not value.is_known:
            type(value).parse(value.value)


def _check_uuid(uuid: object) -> None:
    if not isinstance(uuid, str):
        raise TypeError(f"a uuid is needed, not {shown(uuid)}: give the uuid of the model")


def _chooser(on: str | Callable[[Request], bool] | None) -> Callable[[Request, Route], bool]:
    if on is None:
        return lambda _request, _route: True
    if isinstance(on, str):
        wanted = named(on)
        return lambda _request, route: route == wanted
    if not callable(on):
        raise TypeError(f"on must be the name of a call or a function of the request, not {on!r}")
    return lambda request, _route: on(request)
