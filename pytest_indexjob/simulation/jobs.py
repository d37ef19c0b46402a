"""Indexing jobs: their lives and the calls that ask for them, start them and cancel them.

A job's state is a pure function of its scenario, the clock and the calls that acted on it. Sources
of facts: the published OpenAPI (bodies, errors), the live service (sparse answer to POST, omission
of zeros, whole seconds). Guesses: the status and id of a refused second job, what cancelling does.
"""

from __future__ import annotations

import bisect
import dataclasses
import itertools
import operator
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pytest_indexjob.api.knowledge_bases import KnowledgeBase
from pytest_indexjob.api.models import IndexedDataSource, IndexingJob, utc
from pytest_indexjob.api.outcomes import DataSourceStatus
from pytest_indexjob.simulation import scenarios
from pytest_indexjob.simulation.bases import READY, Base, Bases
from pytest_indexjob.simulation.resource import (
    ROUNDING,
    Handler,
    Refusal,
    Resource,
    bad_argument,
    json_object,
    links_and_meta,
    made_uuid,
    not_found,
    written,
)
from pytest_indexjob.simulation.scenarios import Scenario, Step

if TYPE_CHECKING:
    from pytest_indexjob.exchange import Request
    from pytest_indexjob.simulation.simulator import Simulator

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
_MOST_BODIES = 64


@dataclasses.dataclass(slots=True)
class Job:
    """A job that was started. ``created`` and ``cancelled`` are in the clock's seconds."""

    uuid: str
    knowledge_base_uuid: str
    scenario: Scenario
    created: float
    data_source_uuids: tuple[str, ...]
    cancelled: float | None = None

    def data_source_uuid(self, at: int, source: IndexedDataSource) -> str:
        """The uuid of the data source at a place of the job's list."""
        if at < len(self.data_source_uuids):
            return self.data_source_uuids[at]
        return source.data_source_uuid or made_uuid(0x70AA91F4, at)


class Jobs(Resource):
    """The jobs of a simulator, in the order in which they were started."""

    def __init__(self, simulator: Simulator, bases: Bases) -> None:
        super().__init__(simulator)
        self._bases = bases
        self.by_uuid: dict[str, Job] = {}
        self._order: list[Job] = []
        self._by_knowledge_base: dict[str, list[Job]] = {}
        self._running: dict[str, list[Job]] = {}  # of each knowledge base, those that may run
        self._plan: tuple[str | Scenario, dict[str, Any]] = ("completed", {})
        self._bodies: OrderedDict[tuple[str, int, float | None], bytes] = OrderedDict()

    def handlers(self) -> Mapping[str, Handler]:
        """The handler of each call, by the call's name."""
        return {
            "jobs.get": lambda _request, uuid: self._get(self.found(uuid)),
            "jobs.list": self._list,
            "jobs.create": self._create,
            "jobs.cancel": self._cancel,
            "jobs.data_sources": lambda _request, uuid: self._data_sources(self.found(uuid)),
            "jobs.list_for_knowledge_base": lambda _request, uuid: self._list_latest(uuid),
        }

    # What a test says.

    def plan(self, scenario: str | Scenario, overrides: dict[str, Any]) -> None:
        """Choose the scenario of the jobs that POST starts."""
        ends = overrides.get("ends")
        if isinstance(ends, Mapping):
            # Which data sources the job will have is not known yet.
            scenarios.parse_ends(ends)
            rest = {name: value for name, value in overrides.items() if name != "ends"}
            scenarios.resolve(scenario, rest)
        else:
            scenarios.resolve(scenario, overrides)
        self._plan = (scenario, overrides)

    def add(
        self,
        scenario: Scenario,
        *,
        knowledge_base_uuid: str | None = None,
        uuid: str | None = None,
        data_source_uuids: Sequence[str] = (),
        created: float | None = None,
    ) -> Job:
        """Start a job, now unless ``created`` says when; a knowledge base not known is implied.

        Raises ``ValueError`` for a uuid that is taken.
        """
        number = len(self._order)
        uuid = uuid or made_uuid(0x5C0E1D52, number, "b5f6")
        if uuid in self.by_uuid:
            raise ValueError(f"there is a job {uuid} already: give another uuid")
        created = self._now() if created is None else created
        if not knowledge_base_uuid or knowledge_base_uuid not in self._bases.by_uuid:
            knowledge_base_uuid = self._imply(knowledge_base_uuid, created)
        job = Job(uuid, knowledge_base_uuid, scenario, created, tuple(data_source_uuids))
        self.by_uuid[uuid] = job
        self._order.append(job)
        self._running.setdefault(knowledge_base_uuid, []).append(job)
        self._by_knowledge_base.setdefault(knowledge_base_uuid, []).append(job)
        return job

    def _imply(self, uuid: str | None, created: float) -> str:
        time = self._time(created)
        model = KnowledgeBase(
            uuid=uuid or "", name="knowledge-base", created_at=time, updated_at=time
        )
        return self._bases.add(model, created, READY, is_implied=True).uuid

    def start_planned(
        self, base: Base, *, data_source_uuids: Sequence[str] = (), created: float | None = None
    ) -> Job:
        """Start a job as planned, of all data sources unless some are named.

        Raises ``Refusal`` where the plan does not fit the data sources; the test fails at its end.
        """
        scenario, overrides = self._plan
        try:
            return self.start(
                scenario, overrides, base, data_source_uuids=data_source_uuids, created=created
            )
        except (ValueError, TypeError) as error:
            problem = ValueError(f"the plan does not fit knowledge base {base.uuid}: {error}")
            self._simulator.journal.add_miss(problem)
            raise Refusal(501, "not_implemented", str(problem)) from None

    def start(
        self,
        scenario: str | Scenario,
        overrides: Mapping[str, Any],
        base: Base | None,
        *,
        uuid: str | None = None,
        data_source_uuids: Sequence[str] = (),
        created: float | None = None,
    ) -> Job:
        """Start a job by a scenario, which has as many data sources as the job has."""
        sources = tuple(data_source_uuids or (base.sources if base else ()))
        ends = overrides.get("ends")
        if isinstance(ends, Mapping):
            overrides = {**overrides, "ends": self._ends_in_order(ends, sources)}
            sources = sources or tuple(ends)
        if sources and isinstance(scenario, str):
            overrides = {**overrides, "data_sources": len(sources)}
        return self.add(
            scenarios.resolve(scenario, overrides),
            knowledge_base_uuid=base.uuid if base else None,
            uuid=uuid,
            data_source_uuids=sources,
            created=created,
        )

    def _ends_in_order(self, ends: Mapping[str, Any], sources: Sequence[str]) -> list[Any]:
        """The end of each data source; what is not named ends UPDATED.

        A data source is named by its uuid, or by its bucket, URL, folder or file.
        """
        if not sources:
            return list(ends.values())
        names = {uuid: (uuid, *self._bases.names_of(uuid)) for uuid in sources}
        for name in ends:
            if not any(name in each for each in names.values()):
                known = ", ".join(each[-1] for each in names.values())
                raise ValueError(f"ends names {name!r}, but the job has the data sources {known}")
        return [
            next((ends[name] for name in names[uuid] if name in ends), "UPDATED")
            for uuid in sources
        ]

    # The calls.

    def found(self, uuid: str) -> Job:
        """The job of that uuid. Raises ``Refusal`` for none."""
        job = self.by_uuid.get(uuid)
        if job is None:
            raise not_found()
        return job

    def _get(self, job: Job) -> bytes:
        at, _ = self._moment(job)
        key = (job.uuid, at, job.cancelled)
        body = self._bodies.get(key)
        if body is None:
            body = written({} if "job" in job.scenario.omit else {"job": self.wire(job)})
            self._bodies[key] = body
            if len(self._bodies) > _MOST_BODIES:
                self._bodies.popitem(last=False)
        return body

    def _list(self, request: Request) -> bytes:
        shown, rest = self._page(request, self._order)
        return written({"jobs": [self.wire(job) for job in shown], **rest})

    def _list_latest(self, knowledge_base_uuid: str) -> bytes:
        jobs = self._by_knowledge_base.get(knowledge_base_uuid, [])
        # Jobs outlive their knowledge base: a guess.
        if not jobs and (self._simulator.strict or self._is_of_another_kind(knowledge_base_uuid)):
            self._bases.found(knowledge_base_uuid)
        shown = jobs[: -_LATEST - 1 : -1]
        rest = links_and_meta({}, 1, 1, len(shown))
        return written({"jobs": [self.wire(job) for job in shown], **rest})

    def _create(self, request: Request) -> bytes:
        body = json_object(request)
        uuid = body.get("knowledge_base_uuid")
        if not isinstance(uuid, str) or not uuid:
            raise bad_argument("knowledge_base_uuid is required and must be a string")
        sources = body.get("data_source_uuids")
        sources = [] if sources is None else sources
        if not isinstance(sources, list) or not all(
            isinstance(each, str) and each for each in sources
        ):
            raise bad_argument("data_source_uuids must be a list of strings")
        sources = list(dict.fromkeys(sources))
        base = self._base_for_job(uuid)
        self._check_sources(base, sources)
        self._refuse_second(uuid)
        job = self.start_planned(base, data_source_uuids=sources)
        return written({"job": self.sparse(job).to_wire()})

    def _base_for_job(self, uuid: str) -> Base:
        base = self._bases.by_uuid.get(uuid)
        simulator = self._simulator
        if base is None:
            if simulator.strict or self._is_of_another_kind(uuid):
                raise not_found()
            base = self._bases.by_uuid[self._imply(uuid, self._now())]
        if not base.is_online(self._now()):
            # Live: the message. Its status and id are guesses.
            raise Refusal(
                simulator.no_database_status, simulator.no_database_id, "failed to get db creds"
            )
        return base

    def _is_of_another_kind(self, uuid: str) -> bool:
        """Whether a uuid is known, but as no knowledge base that is there."""
        others = (self._bases.removed, self._bases.owners, self._bases.attached, self.by_uuid)
        return any(uuid in each for each in others)

    def _check_sources(self, base: Base, uuids: Sequence[str]) -> None:
        if not base.can_be_indexed and not self._simulator.empty_jobs:
            raise bad_argument(f"knowledge base {base.uuid} has no data sources")
        for uuid in uuids:
            # The data sources of a knowledge base that nobody made are not known.
            owner = self._bases.owners.get(uuid, base.uuid if base.is_implied else "")
            if owner != base.uuid:
                raise bad_argument(f"knowledge base {base.uuid} has no data source {uuid}")

    def _refuse_second(self, knowledge_base_uuid: str) -> None:
        if self.is_busy(knowledge_base_uuid, self._now()):
            # Live: the message. Its status and id are guesses.
            message = f"knowledge base {knowledge_base_uuid} already has an indexing job running"
            simulator = self._simulator
            raise Refusal(simulator.conflict_status, simulator.conflict_id, message)

    def _cancel(self, request: Request, uuid: str) -> bytes:
        body = json_object(request)
        if body.get("uuid") not in (None, "", uuid):
            raise bad_argument("the uuid of the body is not that of the path")
        job = self.found(uuid)
        # A job that has ended stays as it is: a guess.
        if job.cancelled is None and not self._moment(job)[1].is_terminal:
            job.cancelled = self._now()
        return self._get(job)

    def _data_sources(self, job: Job) -> bytes:
        return written({"indexed_data_sources": self._wire_sources(job, self._moment(job)[1])})

    # A job as it stands.

    def latest(self, knowledge_base_uuid: str) -> Job | None:
        """The last job that a knowledge base shows, or ``None``."""
        return next(self._shown_jobs(knowledge_base_uuid), None)

    def _shown_jobs(self, knowledge_base_uuid: str) -> Iterator[Job]:
        """The jobs that a knowledge base and its data sources show by now, the newest first."""
        until = self._now() - self._simulator.last_job_lag + ROUNDING
        jobs = self._by_knowledge_base.get(knowledge_base_uuid, [])
        return (job for job in reversed(jobs) if job.created <= until)

    def is_busy(self, knowledge_base_uuid: str, at: float) -> bool:
        """Whether a job of the knowledge base runs at a moment, which is no earlier than the last.

        A test may have started several.
        """
        jobs = self._running.get(knowledge_base_uuid, [])
        jobs[:] = [job for job in jobs if not self._has_ended_for_good(job, at)]
        return any(not self._moment(job, at)[1].is_terminal for job in jobs)

    def _has_ended_for_good(self, job: Job, at: float) -> bool:
        number, step = self._moment(job, at)
        # An end that is not the last step may be taken back.
        return step.is_terminal and number in (-1, len(job.scenario.steps) - 1)

    def latest_part(self, knowledge_base_uuid: str, source_uuid: str) -> dict[str, Any] | None:
        """A data source's part in the last job that took it, as in the job, or ``None``."""
        for job in self._shown_jobs(knowledge_base_uuid):
            if source_uuid in job.data_source_uuids:
                at, step = job.data_source_uuids.index(source_uuid), self.step(job)
                if at >= len(step.data_sources):
                    continue
                source = step.data_sources[at]
                wire = self._wire_source(job, source, *_span(job.scenario, step, at))
                return wire | {"data_source_uuid": source_uuid}
        return None

    def step(self, job: Job) -> Step:
        """What the service says of a job now."""
        return self._moment(job)[1]

    def _moment(self, job: Job, now: float | None = None) -> tuple[int, Step]:
        """The step at which a job is, with a number that tells its different answers apart."""
        now = self._now() if now is None else now
        until = now if job.cancelled is None else min(now, job.cancelled)
        steps = job.scenario.steps
        at = bisect.bisect_right(steps, until - job.created + ROUNDING, key=_at) - 1
        at = max(at, 0)
        end = None if job.cancelled is None else job.cancelled + self._simulator.cancel_delay
        if end is None or now < end:
            return at, steps[at]
        return -1, _cancelled_step(steps[at], end - job.created)

    def sparse(self, job: Job) -> IndexingJob:
        """A job as the answer to its POST shows it."""
        created = self._time(job.created)
        wire = {
            "uuid": job.uuid,
            "knowledge_base_uuid": job.knowledge_base_uuid,
            "status": "INDEX_JOB_STATUS_PENDING",
            "phase": "BATCH_JOB_PHASE_PENDING",
        }
        model = IndexingJob.from_wire(wire)
        return dataclasses.replace(model, created_at=created, updated_at=created)

    def wire(self, job: Job) -> dict[str, Any]:
        """A job as the service would send it now."""
        step, scenario = self.step(job), job.scenario
        started = next((each.at for each in scenario.steps if each.status.name != "PENDING"), None)
        ended = None
        if step.is_terminal:
            ended = step.at if job.cancelled is not None else scenario.ended_at(step)
        model = IndexingJob(
            uuid=job.uuid,
            knowledge_base_uuid=job.knowledge_base_uuid,
            status=step.status,
            phase=step.phase,
            created_at=self._time(job.created),
            started_at=(
                self._time(job.created + started)
                if started is not None and started <= step.at
                else None
            ),
            finished_at=None if ended is None else self._time(job.created + ended),
            updated_at=self._time(job.created + step.at),
            total_datasources=scenario.data_source_count,
            completed_datasources=sum(each.status not in _UNDONE for each in step.data_sources),
            is_report_available=step.is_terminal,
            data_source_uuids=job.data_source_uuids,
            extra=dict(step.extra),
        )
        wire = _dressed(model.to_wire(), IndexingJob, scenario)
        if step.data_sources:
            wire["data_source_jobs"] = self._wire_sources(job, step)
        return {name: value for name, value in wire.items() if name not in scenario.omit}

    def _wire_sources(self, job: Job, step: Step) -> list[dict[str, Any]]:
        """The data sources, written once for neighbours that differ by their uuid alone."""
        # Data sources that are the same objects in every step were seen and ended together.
        lives = itertools.zip_longest(*(each.data_sources for each in job.scenario.steps))
        before: tuple[IndexedDataSource | None, ...] = ()
        wire: dict[str, Any] = {}
        wires = []
        for at, (source, life) in enumerate(zip(step.data_sources, lives, strict=False)):
            if not wire or any(map(operator.is_not, life, before)):
                wire = self._wire_source(job, source, *_span(job.scenario, step, at))
                before = life
            wires.append(wire | {"data_source_uuid": job.data_source_uuid(at, source)})
        return wires

    def _wire_source(
        self, job: Job, source: IndexedDataSource, began: float, done: float | None
    ) -> dict[str, Any]:
        timed = dataclasses.replace(
            source,
            # A place for the uuid, which is each source's own.
            data_source_uuid="-",
            started_at=self._time(job.created + began),
            completed_at=None if done is None else self._time(job.created + done),
        )
        return _dressed(timed.to_wire(), IndexedDataSource, job.scenario)


def _at(step: Step) -> float:
    return step.at


def _dressed(
    wire: dict[str, Any], model: type[IndexingJob | IndexedDataSource], scenario: Scenario
) -> dict[str, Any]:
    """What a scenario changes in the form of an answer: its times, and ``null`` for the absent."""
    if scenario.fractions:
        wire |= {name: _with_fraction(name, wire[name]) for name in _TIMES if name in wire}
    if scenario.nulls:
        wire = dict.fromkeys(model.kinds()) | wire
    return wire


_TIMES = ("created_at", "started_at", "finished_at", "completed_at", "updated_at")


def _with_fraction(name: str, time: str) -> str:
    """A time with a fraction of a second; where something started, with an offset as well."""
    if name != "started_at":
        return time.replace("Z", ".123456789Z")
    moment = IndexingJob.from_wire({"started_at": time}).started_at
    assert moment is not None  # it was just written
    return utc(moment.timestamp() + 7200).strftime("%Y-%m-%dT%H:%M:%S.123456789+02:00")


def _span(scenario: Scenario, step: Step, at: int) -> tuple[float, float | None]:
    """When a data source of a step was first seen, and since when it has been as it ended.

    The end is ``None`` for a data source that has not ended.
    """
    source = step.data_sources[at]
    seen = [each for each in scenario.steps if len(each.data_sources) > at]
    began = seen[0].at if seen else step.at
    if source.status in (DataSourceStatus.IN_PROGRESS, DataSourceStatus.UNKNOWN):
        return began, None
    done = step.at
    for each in reversed(seen):
        if each.at <= step.at:
            if each.data_sources[at].status != source.status:
                break
            done = each.at
    return began, done


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
