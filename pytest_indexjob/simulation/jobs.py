"""Indexing jobs of the simulator.

A job's state is a pure function of its scenario, the clock and the calls that acted on it. Guesses:
the status and id of a refused second job, the order of lists, what cancelling does.
"""

from __future__ import annotations

import bisect
import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from pytest_indexjob.api.models import IndexedDataSource, IndexingJob, utc
from pytest_indexjob.api.outcomes import OUTCOMES, DataSourceStatus, IndexingJobPhase
from pytest_indexjob.api.wire import TIME
from pytest_indexjob.exchange import Request
from pytest_indexjob.simulation import scenarios
from pytest_indexjob.simulation.resource import (
    Desk,
    Handler,
    compact,
    invalid,
    json_object,
    list_in,
    not_found,
    numbered_uuid,
    same_uuid,
    text_in,
)
from pytest_indexjob.simulation.scenarios import Scenario, Step

_LATEST = 15  # spec: the jobs of a knowledge base are its latest 15
_MOST_BODIES = 64
# Sources that do not count as completed; whether failed ones do is a guess.
_UNDONE = frozenset(
    (
        DataSourceStatus.UNKNOWN,
        DataSourceStatus.IN_PROGRESS,
        DataSourceStatus.FAILED,
        DataSourceStatus.CANCELLED,
    )
)


@dataclasses.dataclass(slots=True)
class Job:
    """A job as the simulator keeps it. Moments are seconds on the clock."""

    uuid: str
    knowledge_base_uuid: str
    scenario: Scenario
    created: float
    data_source_uuids: tuple[str, ...]
    cancelled: float | None = None


class Jobs:
    """All jobs. ``ready(uuid)`` refuses a job for a knowledge base that can't have one yet.

    ``sources_of(uuid)`` gives the uuids of a knowledge base's data sources.
    """

    def __init__(
        self,
        desk: Desk,
        *,
        ready: Callable[[str], None],
        sources_of: Callable[[str], tuple[str, ...]],
    ) -> None:
        self._desk = desk
        self._ready = ready
        self._sources_of = sources_of
        self._plan: tuple[str | Scenario, dict[str, Any]] = ("completed", {})
        self._by_uuid: dict[str, Job] = {}
        self._by_knowledge_base: dict[str, list[Job]] = {}
        self._bodies: OrderedDict[tuple[str, int, float | None], bytes] = OrderedDict()
        self.handlers: dict[str, Handler] = {
            "jobs.get": self._get,
            "jobs.list": self._list,
            "jobs.create": self._create,
            "jobs.cancel": self._cancel,
            "jobs.data_sources": self._data_sources,
            "jobs.list_for_knowledge_base": self._latest,
        }

    def __len__(self) -> int:
        return len(self._by_uuid)

    @property
    def uuids(self) -> tuple[str, ...]:
        """The uuids of all jobs, in the order in which they were started."""
        return tuple(self._by_uuid)

    def plan(self, scenario: str | Scenario, overrides: dict[str, Any]) -> None:
        """Say by which scenario jobs go that a client starts."""
        scenarios.resolve(scenario, overrides)
        self._plan = (scenario, overrides)

    def start(
        self,
        scenario: str | Scenario,
        overrides: Mapping[str, Any],
        knowledge_base_uuid: str | None,
        uuid: str | None,
    ) -> IndexingJob:
        """Start a job; gives it as the answer to POST shows it."""
        sources = self._sources_of(knowledge_base_uuid) if knowledge_base_uuid else ()
        resolved = _for_sources(scenario, overrides, len(sources))
        job = self._add(resolved, knowledge_base_uuid, uuid, sources)
        return self._sparse(job)

    def start_by_itself(self, knowledge_base_uuid: str, moment: float) -> None:
        """Start a job at a moment of the past or now, unless the knowledge base has one."""
        if self.is_busy(knowledge_base_uuid, moment):
            return
        scenario, overrides = self._plan
        sources = self._sources_of(knowledge_base_uuid)
        resolved = _for_sources(scenario, overrides, len(sources))
        job = self._add(resolved, knowledge_base_uuid, None, sources)
        job.created = moment

    def is_busy(self, knowledge_base_uuid: str, moment: float | None = None) -> bool:
        """Whether the latest job of a knowledge base has not ended."""
        latest = self._by_knowledge_base.get(knowledge_base_uuid, [])[-1:]
        return bool(latest) and not self._moment(latest[0], moment)[1].is_terminal

    def latest_of(self, knowledge_base_uuid: str) -> IndexingJob | None:
        """The latest job of a knowledge base as GET shows it, or ``None``."""
        jobs = self._by_knowledge_base.get(knowledge_base_uuid, [])
        return IndexingJob.from_wire(self._wire(jobs[-1])) if jobs else None

    def all_of(self, knowledge_base_uuid: str) -> tuple[IndexingJob, ...]:
        """The jobs of a knowledge base as GET shows them, the latest first."""
        jobs = self._by_knowledge_base.get(knowledge_base_uuid, [])
        return tuple(IndexingJob.from_wire(self._wire(job)) for job in reversed(jobs))

    def found(self, uuid: str) -> Job:
        """The job. Refuses with 404 for an unknown uuid."""
        job = self._by_uuid.get(uuid)
        if job is None:
            raise not_found()
        return job

    def shown(self, uuid: str) -> IndexingJob:
        """The job as GET shows it. Raises ``KeyError`` for an unknown uuid."""
        return IndexingJob.from_wire(self._wire(self._by_uuid[uuid]))

    def has_ended(self, job: Job) -> bool:
        """Whether the job has ended."""
        return self._moment(job)[1].is_terminal

    def sources(self, job: Job) -> tuple[IndexedDataSource, ...]:
        """The job's data sources as they stand, with their uuids."""
        _, step = self._moment(job)
        return tuple(
            dataclasses.replace(source, data_source_uuid=_source_uuid(job, at, source))
            for at, source in enumerate(step.data_sources)
        )

    # The calls.

    def _get(self, _request: Request, uuid: str) -> bytes:
        return self._body(self.found(uuid))

    def _body(self, job: Job) -> bytes:
        at, _ = self._moment(job)
        key = (job.uuid, at, job.cancelled)
        body = self._bodies.get(key)
        if body is None:
            body = compact({} if "job" in job.scenario.omit else {"job": self._wire(job)})
            self._bodies[key] = body
            if len(self._bodies) > _MOST_BODIES:
                self._bodies.popitem(last=False)
        return body

    def _list(self, request: Request) -> dict[str, Any]:
        return self._desk.page(request, "jobs", list(self._by_uuid.values()), self._wire)

    def _latest(self, _request: Request, knowledge_base_uuid: str) -> dict[str, Any]:
        jobs = self._by_knowledge_base.get(knowledge_base_uuid, [])
        shown = jobs[: -_LATEST - 1 : -1]
        return {
            "jobs": [self._wire(job) for job in shown],
            "links": {"pages": {}},
            "meta": {"page": 1, "pages": 1, "total": len(shown)},
        }

    def _create(self, request: Request) -> dict[str, Any]:
        body = json_object(request)
        uuid = text_in(body, "knowledge_base_uuid", required=True)
        named = tuple(list_in(body, "data_source_uuids", str))
        self._ready(uuid)
        known = self._sources_of(uuid)
        if known and (strangers := [each for each in named if each not in known]):
            raise invalid(f"data source {strangers[0]} is not of knowledge base {uuid}")
        if self.is_busy(uuid):
            # Live: the message. Its status and id are guesses.
            raise self._desk.conflict(f"knowledge base {uuid} already has an indexing job running")
        scenario, overrides = self._plan
        sources = named or known
        resolved = _for_sources(scenario, overrides, len(sources))
        job = self._add(resolved, uuid, None, sources)
        return {"job": self._sparse(job).to_wire()}

    def _cancel(self, request: Request, uuid: str) -> bytes:
        same_uuid(json_object(request), "uuid", uuid)
        job = self.found(uuid)
        # A job that has ended stays as it is: a guess.
        if job.cancelled is None and not self.has_ended(job):
            job.cancelled = self._desk.now
        return self._body(job)

    def _data_sources(self, _request: Request, uuid: str) -> dict[str, Any]:
        job = self.found(uuid)
        return {"indexed_data_sources": self._source_wires(job, self._moment(job)[1])}

    # A job as it stands.

    def _add(
        self,
        scenario: Scenario,
        knowledge_base_uuid: str | None,
        uuid: str | None,
        sources: tuple[str, ...],
    ) -> Job:
        number = len(self._by_uuid)
        uuid = uuid or numbered_uuid(0x5C0E1D52, number, "b5f6")
        if uuid in self._by_uuid:
            raise ValueError(f"there is a job {uuid} already")
        knowledge_base_uuid = knowledge_base_uuid or numbered_uuid(0x61F7A3DE, number, "b5f1")
        job = Job(uuid, knowledge_base_uuid, scenario, self._desk.now, sources)
        self._by_uuid[uuid] = job
        self._by_knowledge_base.setdefault(knowledge_base_uuid, []).append(job)
        return job

    def _moment(self, job: Job, now: float | None = None) -> tuple[int, Step]:
        """The step at which a job is, with a number that tells its different answers apart."""
        now = self._desk.now if now is None else now
        until = now if job.cancelled is None else min(now, job.cancelled)
        steps = job.scenario.steps
        # Sums of floats fall short of the step's moment by less than a clock could tell.
        at = bisect.bisect_right(steps, until - job.created + 1e-6, key=_at) - 1
        at = max(at, 0)
        delay = self._desk.cancel_delay
        if job.cancelled is None or now < job.cancelled + delay:
            return at, steps[at]
        return -1, _cancelled_step(steps[at], job.cancelled + delay - job.created)

    def _sparse(self, job: Job) -> IndexingJob:
        created = self._desk.time(job.created)
        pending = OUTCOMES["pending"]
        return IndexingJob(
            uuid=job.uuid,
            knowledge_base_uuid=job.knowledge_base_uuid,
            created_at=created,
            updated_at=created,
            phase=pending.phase,
            status=pending.status,
        )

    def _wire(self, job: Job) -> dict[str, Any]:
        """The job as JSON, in the shape that its scenario gives it."""
        _, step = self._moment(job)
        scenario = job.scenario
        started = next((each.at for each in scenario.steps if each.status.name != "PENDING"), None)
        ended = step.at if job.cancelled is not None and step.is_terminal else scenario.duration
        model = IndexingJob(
            uuid=job.uuid,
            knowledge_base_uuid=job.knowledge_base_uuid,
            status=step.status,
            phase=step.phase,
            created_at=self._desk.time(job.created),
            started_at=(
                self._desk.time(job.created + started)
                if started is not None and started <= step.at
                else None
            ),
            finished_at=(
                self._desk.time(job.created + ended)
                if ended is not None and step.is_terminal
                else None
            ),
            updated_at=self._desk.time(job.created + step.at),
            total_datasources=scenario.data_source_count,
            completed_datasources=sum(each.status not in _UNDONE for each in step.data_sources),
            is_report_available=step.is_terminal,
            data_source_uuids=job.data_source_uuids,
            extra=dict(step.extra),
        )
        wire = _reshaped(model.to_wire(), scenario, IndexingJob, offset="started_at")
        sources = self._source_wires(job, step)
        if sources and "data_source_jobs" not in scenario.omit:
            wire["data_source_jobs"] = sources
        return wire

    def _source_wires(self, job: Job, step: Step) -> list[dict[str, Any]]:
        """The data sources as JSON; those that differ by their uuid alone are written once."""
        made: dict[tuple[int, float, float | None], dict[str, Any]] = {}
        wires = []
        for at, (source, span) in enumerate(
            zip(step.data_sources, _spans(job.scenario, step), strict=True)
        ):
            key = (id(source), *span)
            if key not in made:
                made[key] = self._source_wire(job, source, *span)
            wires.append({"data_source_uuid": _source_uuid(job, at, source), **made[key]})
        return wires

    def _source_wire(
        self, job: Job, source: IndexedDataSource, began: float, done: float | None
    ) -> dict[str, Any]:
        model = dataclasses.replace(
            source,
            data_source_uuid="",
            started_at=self._desk.time(job.created + began),
            completed_at=None if done is None else self._desk.time(job.created + done),
        )
        wire = _reshaped(model.to_wire(), job.scenario, IndexedDataSource, offset="started_at")
        wire.pop("data_source_uuid", None)
        return wire


def _for_sources(scenario: str | Scenario, overrides: Mapping[str, Any], number: int) -> Scenario:
    """The scenario of a job with so many data sources; 0 leaves the number to the scenario."""
    if number and isinstance(scenario, str):
        overrides = {**overrides, "data_sources": number}
    return scenarios.resolve(scenario, overrides)


def _reshaped(
    wire: dict[str, Any], scenario: Scenario, model: type[Any], *, offset: str
) -> dict[str, Any]:
    """A model's JSON in the shape of the scenario: fields left out, nulls, other forms of times."""
    kinds = model.kinds()
    if scenario.fractions:
        for name in [name for name in wire if name in kinds and kinds[name] is TIME]:
            wire[name] = _with_fraction(wire[name], offset=name == offset)
    if scenario.nulls:
        lists = [name for name in kinds if kinds[name].items and kinds[name].items.model]
        wire = {name: wire.get(name) for name in kinds if name not in lists} | wire
    return {name: value for name, value in wire.items() if name not in scenario.omit}


def _with_fraction(text: str, *, offset: bool) -> str:
    moment = TIME.read(text, "$")
    if offset:
        local = moment.timestamp() + 7200
        return f"{utc(local):%Y-%m-%dT%H:%M:%S}.123456789+02:00"
    return f"{moment:%Y-%m-%dT%H:%M:%S}.123456789Z"


def _source_uuid(job: Job, at: int, source: IndexedDataSource) -> str:
    if at < len(job.data_source_uuids):
        return job.data_source_uuids[at]
    return source.data_source_uuid or numbered_uuid(0x70AA91F4, at, "b5f1")


def _at(step: Step) -> float:
    return step.at


def _spans(scenario: Scenario, step: Step) -> list[tuple[float, float | None]]:
    """When each data source of a step was first seen, and when it was first seen as it ended."""
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
    cancelled = OUTCOMES["cancelled"]
    sources = tuple(
        (
            dataclasses.replace(source, status=cancelled.data_source)
            if source.status is DataSourceStatus.IN_PROGRESS
            else source
        )
        for source in step.data_sources
    )
    return Step(
        at=at,
        status=cancelled.status,
        phase=IndexingJobPhase.CANCELLED,
        data_sources=sources,
        extra=step.extra,
    )
