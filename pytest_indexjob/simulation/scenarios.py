"""Scenarios: how an indexing job goes, as a frozen timeline of steps, and a catalogue of them.

What a life looks like was seen of the live service: no totals at first, counts that jump, final
counts that stand 13 s before the job turns terminal. Which phase goes with PARTIAL and NO_CHANGES
is a guess (SUCCEEDED), and so are the codes in ``error_msg``.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar

from pytest_indexjob.api.models import IndexedDataSource, IndexingJob
from pytest_indexjob.api.outcomes import (
    OUTCOMES,
    DataSourceStatus,
    IndexingJobPhase,
    IndexingJobStatus,
    Outcome,
)
from pytest_indexjob.api.wire import UINT64_MAX, WireEnum, shown
from pytest_indexjob.durations import duration_text

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_indexjob.recording.cassette import Playback

E = TypeVar("E", bound=WireEnum)

_RUNNING = OUTCOMES["in-progress"]
# Seen live, in seconds: how long no totals are known, and how long final counts stand before the
# job's end.
_BEGINNING = 22.0
_STANDING = 13.0


def _member(enum: type[E], value: object) -> E:
    """A member, also of a wire string that the service may send one day."""
    return (
        enum(value)
        if isinstance(value, str) and value.startswith(enum.prefix())
        else enum.parse(value)
    )


def _parsed(source: IndexedDataSource) -> IndexedDataSource:
    if isinstance(source.status, DataSourceStatus):
        return source
    return dataclasses.replace(source, status=_member(DataSourceStatus, source.status))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """What the service says of a job from a moment on.

    ``at`` is in seconds since the job was created.

    ``status`` and ``phase`` are members, wire strings (unknown ones too) or short names.
    ``data_sources`` need neither uuid nor times: the simulator gives them. ``extra`` holds further
    fields of the job, as on the wire.
    """

    at: float
    status: IndexingJobStatus
    phase: IndexingJobPhase
    data_sources: tuple[IndexedDataSource, ...] = ()
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    if TYPE_CHECKING:  # the constructor takes strings, the attributes are members

        def __init__(
            self,
            *,
            at: float,
            status: IndexingJobStatus | str,
            phase: IndexingJobPhase | str,
            data_sources: Iterable[IndexedDataSource] = (),
            extra: Mapping[str, Any] = ...,
        ) -> None: ...

    def __post_init__(self) -> None:
        if not math.isfinite(self.at) or self.at < 0:
            raise ValueError(f"a step's time must be 0 or more seconds, not {self.at!r}")
        object.__setattr__(self, "status", _member(IndexingJobStatus, self.status))
        object.__setattr__(self, "phase", _member(IndexingJobPhase, self.phase))
        object.__setattr__(self, "data_sources", tuple(_parsed(each) for each in self.data_sources))

    @property
    def is_terminal(self) -> bool:
        """Whether the job has ended by this step."""
        return self.status.is_terminal or self.phase.is_terminal


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scenario:
    """A job's whole life: steps in order of time, the first at 0; the last one stays.

    ``omit`` names fields of the job that its answers lack (``job``: the whole of it); ``nulls``
    sends ``null`` for what is absent; ``fractions`` sends times with fractions of a second and
    offsets. ``by_contract`` says whether every answer is valid by the published OpenAPI.
    ``taken_back`` says that the job may run again after a terminal status. Raises ``ValueError``
    for steps out of order, and for a step after an end unless ``taken_back``.
    """

    name: str
    steps: tuple[Step, ...]
    summary: str = ""
    omit: frozenset[str] = frozenset()
    nulls: bool = False
    fractions: bool = False
    by_contract: bool = True
    taken_back: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", tuple(self.steps))
        object.__setattr__(self, "omit", frozenset(self.omit))
        times = [step.at for step in self.steps]
        if not times or times[0] != 0:
            raise ValueError(f"the first step of the scenario {self.name!r} must have at=0")
        if times != sorted(set(times)):
            raise ValueError(f"the steps of {self.name!r} must go forwards in time: {times}")
        ended = next((step for step in self.steps if step.is_terminal), None)
        left = [
            step
            for step in self.steps
            if ended and step.at > ended.at and step.status != ended.status
        ]
        if ended and left and not self.taken_back:
            raise ValueError(
                f"in the scenario {self.name!r} the job ends as {ended.status.name} after"
                f" {duration_text(ended.at)} and is {left[0].status.name} after"
                f" {duration_text(left[0].at)}: a job that has ended stays so, unless"
                " taken_back=True"
            )

    def __str__(self) -> str:
        return self.name

    @property
    def __name__(self) -> str:
        """The name again, which makes pytest's ids of parametrised tests readable."""
        return self.name

    @property
    def status(self) -> IndexingJobStatus:
        """The status in which the job stays."""
        return self.steps[-1].status

    @property
    def phase(self) -> IndexingJobPhase:
        """The phase in which the job stays."""
        return self.steps[-1].phase

    @property
    def duration(self) -> float | None:
        """Seconds from the job's creation to its end, or ``None`` for a job that never ends."""
        return self.ended_at(self.steps[-1]) if self.steps[-1].is_terminal else None

    def ended_at(self, step: Step) -> float:
        """When the job ended that a terminal step shows, in seconds since it was created."""
        until = [each for each in self.steps if each.at <= step.at]
        ran = max((each.at for each in until if not each.is_terminal), default=-1.0)
        return next(each.at for each in until if each.at > ran)

    @property
    def data_source_count(self) -> int:
        """How many data sources the job has."""
        return max(len(step.data_sources) for step in self.steps)

    @classmethod
    def from_cassette(cls, cassette: Playback | Path | str, *, poll_interval: float = 5.0) -> Self:
        """The life that a recording's polls tell, taken as ``poll_interval`` seconds apart.

        ``cassette`` is a file, the name of a shipped recording, or what the fixture
        ``indexjob_cassette`` gives. Raises ``CassetteError`` for one that is not there or can't be
        read, ``ValueError`` for one without a poll of a job.
        """
        from pytest_indexjob.recording.cassette import Playback, job_of, load
        from pytest_indexjob.recording.library import find_file

        playback = (
            cassette if isinstance(cassette, Playback) else Playback([load(find_file(cassette))])
        )
        name = playback.recordings[0].path.stem
        uuid = playback.job_uuid
        jobs = [
            job
            for request, response in playback.interactions
            if request.method == "GET" and (job := job_of(response.body)) and job.uuid in (uuid, "")
        ]
        if not jobs:
            raise ValueError(f"the recording {name} holds no poll of a job")
        steps = [_step_of(job, at * poll_interval) for at, job in enumerate(jobs)]
        return cls(name=name, steps=tuple(steps), summary=f"as recorded in {name}")


def _step_of(job: IndexingJob, at: float) -> Step:
    sources = tuple(
        dataclasses.replace(each, started_at=None, completed_at=None)
        for each in job.data_source_jobs
    )
    extra = dict(job.extra) | ({"total_tokens": str(job.total_tokens)} if job.total_tokens else {})
    return Step(at=at, status=job.status, phase=job.phase, data_sources=sources, extra=extra)


# The catalogue: one builder for all lives, and what makes each of them different.


class _End(NamedTuple):
    """How a job ends, and what its counts are by themselves."""

    outcome: Outcome
    files: int = 5
    failed: int | None = 0  # None: all that are not skipped
    skipped: int | None = 0  # None: all
    progress: float = 1.0  # of what could be indexed
    error: tuple[str, str] = ("", "")
    at_least_one_of: tuple[str, ...] = ()
    never: tuple[str, ...] = ()


_FAILED_FILE = ("FILE_PARSE", "some files could not be read")
_ENDS = {
    "completed": _End(OUTCOMES["completed"], never=("failed_items",)),
    "completed-with-skips": _End(
        OUTCOMES["completed"],
        files=3,
        skipped=2,
        at_least_one_of=("skipped_items",),
        never=("failed_items",),
    ),
    "no-changes": _End(OUTCOMES["no-changes"], files=3, skipped=None, never=("failed_items",)),
    "partial": _End(
        OUTCOMES["partial"],
        failed=1,
        error=_FAILED_FILE,
        at_least_one_of=("failed_items", "skipped_items"),
    ),
    "failed": _End(
        OUTCOMES["failed"],
        files=3,
        failed=None,
        error=("DATA_SOURCE_UNREADABLE", "none of the files could be read"),
    ),
    "error": _End(
        OUTCOMES["error"],
        files=3,
        progress=0.0,
        error=("INTERNAL", "the indexing batch job stopped"),
    ),
    "cancelled": _End(OUTCOMES["cancelled"], progress=0.4, never=("failed_items",)),
    "succeeded-but-failed": _End(
        OUTCOMES["failed"]._replace(phase=IndexingJobPhase.SUCCEEDED),
        files=3,
        failed=None,
        error=_FAILED_FILE,
    ),
}


class _Counts(NamedTuple):
    files: int
    indexed: int
    failed: int
    skipped: int
    removed: int
    size: int


def _whole(name: str, value: object, least: int = 0) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= UINT64_MAX:
        raise ValueError(f"{name} must be a whole number of {least} or more, not {value!r}")
    return value


def _seconds(name: str, value: object) -> float:
    if (
        not isinstance(value, int | float)
        or isinstance(value, bool)
        or not math.isfinite(value)
        or value <= 0
    ):
        raise ValueError(f"{name} must be a number of seconds above 0, not {value!r}")
    return float(value)


def _count(scenario: str, end: _End, given: Mapping[str, Any]) -> _Counts:
    counts = {name: _whole(name, given[name]) for name in _COUNT_NAMES if name in given}
    skipped = counts.get("skipped_items", end.skipped)
    failed = counts.get("failed_items", end.failed)
    # A number of files that nobody chose makes room for what was.
    least = (
        (skipped or 0)
        + (failed or 0)
        + (1 if end.progress and failed is not None and skipped is not None else 0)
    )
    files = counts.get("files", max(end.files, least))
    if skipped is None:
        skipped = files - (failed or 0)
    if failed is None:
        failed = files - skipped
    if failed + skipped > files:
        raise ValueError(
            f"{scenario}: failed_items={failed} and skipped_items={skipped} add up to more"
            f" than files={files}"
        )
    all_of = {"failed_items": failed, "skipped_items": skipped}
    for name in end.never:
        if all_of[name]:
            raise ValueError(
                f"{scenario}: a job that ends as {end.outcome.status.name} has no {name}:"
                f" {name}={all_of[name]} contradicts that"
            )
    if end.at_least_one_of and not any(all_of[name] for name in end.at_least_one_of):
        wanted = " or ".join(end.at_least_one_of)
        raise ValueError(f"{scenario}: a job that ends in this way needs {wanted}")
    if (end.failed is None or end.skipped is None) and failed + skipped != files:
        raise ValueError(
            f"{scenario}: no file is indexed in this scenario, so failed_items and skipped_items"
            f" must add up to files={files}"
        )
    indexed = _share_done(files - failed - skipped, end.progress)
    size = counts.get("total_bytes", files * 1290897)
    return _Counts(files, indexed, failed, skipped, counts.get("removed_items", 0), size)


_COUNT_NAMES = ("files", "failed_items", "skipped_items", "removed_items", "total_bytes")
_TEXT_NAMES = ("error_msg", "error_details")
_JOB_OVERRIDES = ("tokens", "total_tokens", "queued", *_TEXT_NAMES)
_OVERRIDES = (*_COUNT_NAMES, "data_sources", "duration", "ends", *_JOB_OVERRIDES)
# The names that `assert_counts` has for two of them.
_SAME_OVERRIDES = {"total_files": "files", "total_data_sources": "data_sources"}


def _share(total: int, parts: int, at: int) -> int:
    """The part of a total that falls to one of several, the first ones getting the rest."""
    return total // parts + (at < total % parts)


def _share_done(count: int, progress: float) -> int:
    return (
        count if progress == 1 else int(count * progress)
    )  # a float would lose a great count's last digits


def _sources(
    counts: _Counts, number: int, progress: float, status: DataSourceStatus, error: tuple[str, str]
) -> Any:
    """The data sources at a moment. Equal ones are one object, so that ten thousand cost little."""
    made: dict[tuple[int, ...], IndexedDataSource] = {}

    def one(at: int) -> IndexedDataSource:
        files, indexed, failed, skipped, removed, size = (
            _share(count, number, at) for count in counts
        )
        done = tuple(_share_done(count, progress) for count in (indexed, failed, skipped, removed))
        key = (files, size, *done)
        if key not in made:
            read = size * done[0] // files if files else 0
            partly = status is DataSourceStatus.PARTIALLY_UPDATED and not done[1] + done[2]
            made[key] = IndexedDataSource(
                status=DataSourceStatus.UPDATED if partly else status,
                total_file_count=files,
                total_bytes=size,
                total_bytes_indexed=read,
                indexed_file_count=done[0],
                indexed_item_count=done[0],
                failed_item_count=done[1],
                skipped_item_count=done[2],
                removed_item_count=done[3],
                error_msg=error[0] if done[1] or status is DataSourceStatus.FAILED else "",
                error_details=error[1] if done[1] or status is DataSourceStatus.FAILED else "",
            )
        return made[key]

    return tuple(one(at) for at in range(number))


class _Shape(NamedTuple):
    """When counts change, as shares of duration and work, and how long final counts stand."""

    jumps: tuple[tuple[float, float], ...] = ((0.6, 0.4),)
    standing: float = _STANDING


_SHAPE = _Shape()


def _step(at: float, outcome: Outcome, data_sources: tuple[IndexedDataSource, ...] = ()) -> Step:
    return Step(at=at, status=outcome.status, phase=outcome.phase, data_sources=data_sources)


def _life(name: str, end: _End, shape: _Shape = _SHAPE, **given: Any) -> tuple[Step, ...]:
    counts = _count(name, end, given)
    number = _whole("data_sources", given.get("data_sources", 1), 1)
    duration = _seconds("duration", given.get("duration", 339.0))
    sources = partial(_sources, counts, number)
    begin, standing = min(_BEGINNING, duration / 6), min(shape.standing, duration / 4)
    final = sources(progress=1.0, status=end.outcome.data_source, error=end.error)
    steps = [_step(0, _RUNNING)]
    for share, progress in ((0.0, 0.0), *shape.jumps):
        at = begin + share * (duration - standing - begin)
        steps.append(
            _step(
                at,
                _RUNNING,
                sources(progress=progress, status=_RUNNING.data_source, error=("", "")),
            )
        )
    if standing:
        steps.append(_step(duration - standing, _RUNNING, final))
    steps.append(_step(duration, end.outcome, final))
    return tuple(steps)


def _outcome(name: str, **given: Any) -> tuple[Step, ...]:
    return _life(name, _ENDS[name], **given)


def _cancelled(name: str, **given: Any) -> tuple[Step, ...]:
    return _life(name, _ENDS[name], _Shape(standing=0.0), **given)


def _completed(name: str, **given: Any) -> tuple[Step, ...]:
    return _life(name, _ENDS["completed"], **given)


def _pending(name: str, **given: Any) -> tuple[Step, ...]:
    pending = _step(0, OUTCOMES["pending"])
    rest = [
        dataclasses.replace(step, at=step.at + 60)
        for step in _life(name, _ENDS["completed"], **given)
    ]
    return (pending, *rest)


def _stuck(name: str, **given: Any) -> tuple[Step, ...]:
    return _life(name, _ENDS["completed"], **given)[:2]


def _taken_back(name: str, **given: Any) -> tuple[Step, ...]:
    begun, counted, *rest = _life(name, _ENDS["completed"], **given)
    duration = rest[-1].at
    files = sum(source.total_file_count for source in rest[-1].data_sources)
    failed = _life(name, _ENDS["failed"], **{**given, "files": files})[-1]
    stopped = dataclasses.replace(failed, at=duration * 0.3)
    again = dataclasses.replace(counted, at=duration * 0.45)
    return (begun, counted, stopped, again, *rest)


def _future(name: str, **given: Any) -> tuple[Step, ...]:
    unknown = Outcome(
        IndexingJobStatus("INDEX_JOB_STATUS_ARCHIVED"),
        IndexingJobPhase("BATCH_JOB_PHASE_ARCHIVED"),
        DataSourceStatus("DATA_SOURCE_STATUS_ARCHIVED"),
        "",
    )
    return _life(name, _End(unknown), **given)


def _jump(name: str, **given: Any) -> tuple[Step, ...]:
    return _life(name, _ENDS["completed"], _Shape(jumps=((0.4, 0.4), (0.8, 1.0))), **given)


def _late(name: str, **given: Any) -> tuple[Step, ...]:
    steps = _life(name, _ENDS["completed"], **given)
    ended, counted = steps[-1], steps[-3]
    done = [
        dataclasses.replace(each, status=DataSourceStatus.UPDATED) for each in counted.data_sources
    ]
    early = dataclasses.replace(ended, data_sources=tuple(done))
    return (*steps[:-2], early, dataclasses.replace(ended, at=ended.at + _STANDING))


def _early(name: str, **given: Any) -> tuple[Step, ...]:
    return _life(name, _ENDS["completed"], _Shape(standing=120.0), **given)


def _uint64(name: str, **given: Any) -> tuple[Step, ...]:
    steps = _life(name, _ENDS["completed"], **given)
    counts: dict[str, Any] = dict.fromkeys(IndexedDataSource.counts(), UINT64_MAX)
    huge = dataclasses.replace(steps[-1].data_sources[0], **counts)
    extra = {"total_tokens": str(UINT64_MAX)}
    return tuple(
        (
            dataclasses.replace(step, data_sources=(huge, *step.data_sources[1:]), extra=extra)
            if step.is_terminal
            else step
        )
        for step in steps
    )


def _legacy(name: str, **given: Any) -> tuple[Step, ...]:
    """As the service spoke in 2025-08: totals of the job, and no data sources."""

    def old(step: Step) -> Step:
        totals = {
            "total_items_indexed": sum(each.indexed_item_count for each in step.data_sources),
            "total_items_failed": sum(each.failed_item_count for each in step.data_sources),
            "total_items_skipped": sum(each.skipped_item_count for each in step.data_sources),
        }
        shown = {field: str(count) for field, count in totals.items() if count}
        return dataclasses.replace(step, data_sources=(), extra=shown)

    return tuple(old(step) for step in _life(name, _ENDS["completed-with-skips"], **given))


class _Entry(NamedTuple):
    build: Callable[..., tuple[Step, ...]]
    summary: str
    form: Mapping[str, Any]
    defaults: Mapping[str, Any]


def _entry(
    build: Callable[..., tuple[Step, ...]], summary: str, *, defaults: Any = (), **form: Any
) -> _Entry:
    return _Entry(build, summary, form, dict(defaults))


_CATALOGUE: dict[str, _Entry] = {
    "completed": _entry(_outcome, "all files are indexed"),
    "completed-with-skips": _entry(
        _outcome, "COMPLETED with 1 file indexed and 2 skipped because they have not changed"
    ),
    "no-changes": _entry(_outcome, "nothing had to be indexed: all files are skipped"),
    "partial": _entry(_outcome, "some files fail"),
    "failed": _entry(_outcome, "no file could be indexed"),
    "error": _entry(
        _outcome, "status FAILED with phase ERROR (a guess): the batch job itself stopped"
    ),
    "cancelled": _entry(_cancelled, "the job is cancelled midway, not by this API"),
    "succeeded-but-failed": _entry(
        _outcome, "phase SUCCEEDED with status FAILED (a guess): the phase alone misleads"
    ),
    "pending": _entry(_pending, "the job is PENDING for a minute before it runs"),
    "stuck": _entry(_stuck, "the job never ends"),
    "taken-back": _entry(
        _taken_back,
        "the job says FAILED, then runs again and ends COMPLETED (which end it takes back is a"
        " guess)",
        taken_back=True,
    ),
    "missing-job": _entry(_completed, "no answer has a job", omit={"job"}),
    "missing-phase": _entry(_completed, "no answer has a phase", omit={"phase"}),
    "missing-status": _entry(_completed, "no answer has a status", omit={"status"}),
    "future-status": _entry(
        _future, "the job ends with a status and a phase that do not exist today", by_contract=False
    ),
    "counts-jump": _entry(_jump, "counts stand still, then jump: 0, 2, 5 of 5 files"),
    "late-final-counts": _entry(
        _late, "the job ends 13 s before its final counts are there (a guess)"
    ),
    "early-final-counts": _entry(
        _early, "the final counts are there two minutes before the job ends"
    ),
    "string-counts-at-uint64-max": _entry(_uint64, "counts of 2**64-1, as strings"),
    "legacy-fields": _entry(
        _legacy,
        "counts of the job itself, as in August 2025, and no data sources",
        by_contract=False,
    ),
    "explicit-nulls": _entry(
        _completed,
        "null for every absent field, as in hand-written fixtures",
        nulls=True,
        by_contract=False,
    ),
    "fractional-timestamps": _entry(
        _completed,
        "times with fractions of a second and with offsets, which RFC 3339 allows",
        fractions=True,
    ),
    "many-data-sources": _entry(
        _completed,
        "a thousand data sources",
        defaults={"data_sources": 1000, "files": 5000},
    ),
}
_OUTCOMES = (
    "completed",
    "completed-with-skips",
    "no-changes",
    "partial",
    "failed",
    "error",
    "cancelled",
)


def names() -> tuple[str, ...]:
    """The names of all scenarios of the catalogue."""
    return tuple(_CATALOGUE)


def get(name: str, **overrides: Any) -> Scenario:
    """The scenario of that name.

    ``overrides``: ``files`` (or ``total_files``), ``failed_items``, ``skipped_items``,
    ``removed_items``, ``total_bytes`` (of all data sources together), ``data_sources`` (or
    ``total_data_sources``: how many), ``duration`` (seconds), ``ends`` (how each data source ends,
    as ``("UPDATED", "FAILED")``; an end with counts or errors of its own is a mapping, as
    ``{"status": "FAILED", "files": 3, "error_msg": "QUOTA"}``), ``queued`` (seconds of PENDING
    before the job runs), ``tokens`` and ``total_tokens`` (of the ended job), ``error_msg`` and
    ``error_details`` (of the data sources that failed). Raises ``ValueError``, with the names most
    like it, for an unknown name, and for overrides that contradict each other or the end;
    ``TypeError`` for an unknown override.
    """
    if name not in _CATALOGUE:
        near = difflib.get_close_matches(str(name), _CATALOGUE, n=3, cutoff=0.5)
        did = f" Did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(f"there is no scenario {name!r}.{did} There are: {', '.join(_CATALOGUE)}")
    for same, override in _SAME_OVERRIDES.items():
        if same in overrides and override in overrides:
            raise TypeError(f"{same} and {override} are the same: give only one of them")
    overrides = {_SAME_OVERRIDES.get(name, name): value for name, value in overrides.items()}
    for wrong in overrides:
        if wrong not in _OVERRIDES:
            near = [name for name in _OVERRIDES if name.startswith(wrong)]
            near = near or difflib.get_close_matches(wrong, _OVERRIDES, n=1)
            did = f" (did you mean {near[0]}?)" if near else ""
            raise TypeError(
                f"{wrong!r} can't be overridden{did}. What can: {', '.join(_OVERRIDES)}"
            )
    told = {name: overrides.pop(name) for name in _JOB_OVERRIDES if name in overrides}
    if told:
        return _with_told(get(name, **overrides), told)
    if "ends" in overrides:
        ends = parse_ends(overrides.pop("ends"))
        return _with_ends(get(name, **{"data_sources": len(ends), **overrides}), ends)
    for override, value in overrides.items():
        if not isinstance(value, int | float):
            raise ValueError(f"{override} must be a number, not {value!r}")
    return _built(name, tuple(sorted(overrides.items())))


@lru_cache(maxsize=256, typed=True)
def _built(name: str, overrides: tuple[tuple[str, Any], ...]) -> Scenario:
    # Kept, as a scenario is frozen and a hundred thousand jobs may go by one.
    entry = _CATALOGUE[name]
    steps = entry.build(name, **{**entry.defaults, **dict(overrides)})
    return Scenario(name=name, steps=steps, summary=entry.summary, **entry.form)


def _with_told(scenario: Scenario, told: Mapping[str, Any]) -> Scenario:
    """The scenario with what a test says of the job: its tokens, its queue, its errors."""
    counts = {name: _whole(name, told[name]) for name in ("tokens", "total_tokens") if name in told}
    texts = _checked_texts({name: told[name] for name in _TEXT_NAMES if name in told})
    wire = {name: IndexingJob.kinds()[name].write(count) for name, count in counts.items()}
    steps = [
        dataclasses.replace(
            step,
            extra={**step.extra, **(wire if step.is_terminal else {})},
            data_sources=tuple(
                dataclasses.replace(source, **texts) if source.error_msg else source
                for source in step.data_sources
            ),
        )
        for step in scenario.steps
    ]
    if texts and not any(source.error_msg for source in steps[-1].data_sources):
        raise ValueError(f"{scenario.name}: no data source failed, so none has an error_msg")
    if "queued" in told:
        wait = _seconds("queued", told["queued"])
        later = [dataclasses.replace(step, at=step.at + wait) for step in steps]
        steps = [_step(0, OUTCOMES["pending"]), *later]
    return dataclasses.replace(scenario, steps=tuple(steps))


def _checked_texts(texts: Mapping[str, Any]) -> Mapping[str, Any]:
    for name, text in texts.items():
        if not isinstance(text, str):
            raise ValueError(f"{name} must be a text, not {text!r}")
    return texts


class SourceEnd(NamedTuple):
    """How one data source ends: its status, and what of its counts and errors a test chose."""

    status: DataSourceStatus
    counts: Mapping[str, int] = {}
    texts: Mapping[str, str] = {}

    @classmethod
    def parse(cls, end: object) -> Self:
        """An end from a status, or from ``{"status": "FAILED", "files": 3}``.

        Raises ``ValueError`` or ``TypeError`` for anything else.
        """
        if not isinstance(end, Mapping):
            return cls(DataSourceStatus.parse(end))
        given: dict[str, Any] = dict(end)
        rest = {_SAME_OVERRIDES.get(name, name): value for name, value in given.items()}
        if "status" not in rest:
            raise ValueError(f"an end of a data source needs a status: {shown(given)}")
        status = DataSourceStatus.parse(rest.pop("status"))
        texts = {name: rest.pop(name) for name in _TEXT_NAMES if name in rest}
        wrong = next((name for name in rest if name not in _COUNT_NAMES), None)
        if wrong is not None:
            known = ", ".join(("status", *_COUNT_NAMES, *_TEXT_NAMES))
            raise TypeError(f"an end of a data source has no {wrong!r}. It has: {known}")
        counts = {name: _whole(name, value) for name, value in rest.items()}
        return cls(status, counts, _checked_texts(texts))


def parse_ends(ends: object) -> tuple[SourceEnd, ...]:
    """The ends that an override names, in order; of a mapping its values.

    Raises ``ValueError`` or ``TypeError`` for what is none.
    """
    if isinstance(ends, str) or not isinstance(ends, Iterable):
        raise TypeError(f"ends must be a list of data sources' ends, not {ends!r}")
    listed = tuple(ends.values() if isinstance(ends, Mapping) else ends)
    if not listed:
        raise ValueError("ends is empty: name the end of each data source, or leave it out")
    return tuple(end if isinstance(end, SourceEnd) else SourceEnd.parse(end) for end in listed)


def _with_ends(scenario: Scenario, ends: tuple[SourceEnd, ...]) -> Scenario:
    """The scenario with an end of its own for each data source."""
    if len(ends) != scenario.data_source_count:
        raise ValueError(
            f"{scenario.name}: ends names {len(ends)} data sources, but the job has"
            f" {scenario.data_source_count}"
        )
    status = _status_of(tuple(end.status for end in ends))
    if status is not scenario.status:
        raise ValueError(
            f"{scenario.name}: with these ends of its data sources a job ends as {status.name}, not"
            f" as {scenario.status.name}"
        )
    steps = [
        dataclasses.replace(step, data_sources=_ended(step.data_sources, ends))
        # An end that is taken back keeps its own data sources.
        if not step.is_terminal or step.status is scenario.status
        else step
        for step in scenario.steps
    ]
    return dataclasses.replace(scenario, steps=tuple(steps))


def _status_of(ends: tuple[DataSourceStatus, ...]) -> IndexingJobStatus:
    """How a job ends by the ends of its data sources: a guess."""
    kinds = set(ends)
    if kinds == {DataSourceStatus.FAILED}:
        return IndexingJobStatus.FAILED
    if DataSourceStatus.CANCELLED in kinds:
        return IndexingJobStatus.CANCELLED
    if kinds & {DataSourceStatus.FAILED, DataSourceStatus.PARTIALLY_UPDATED}:
        return IndexingJobStatus.PARTIAL
    if kinds == {DataSourceStatus.NOT_UPDATED}:
        return IndexingJobStatus.NO_CHANGES
    return IndexingJobStatus.COMPLETED


def _ended(
    sources: tuple[IndexedDataSource, ...], ends: tuple[SourceEnd, ...]
) -> tuple[IndexedDataSource, ...]:
    running = (DataSourceStatus.IN_PROGRESS, DataSourceStatus.UNKNOWN)
    return tuple(
        _resized(source, end) if source.status in running else _with_end(source, end)
        for source, end in zip(sources, ends, strict=False)
    )


def _resized(source: IndexedDataSource, end: SourceEnd) -> IndexedDataSource:
    """A data source on its way to an end, with as many files and bytes as it will have then."""
    ended = _with_end(source, end)
    files = source.total_file_count
    indexed = source.indexed_item_count * ended.indexed_item_count // files if files else 0
    return dataclasses.replace(
        ended,
        status=source.status,
        indexed_item_count=indexed,
        indexed_file_count=indexed,
        failed_item_count=0,
        skipped_item_count=0,
        removed_item_count=0,
        total_bytes_indexed=_share_of_bytes(ended, indexed),
        error_msg="",
        error_details="",
    )


def _share_of_bytes(source: IndexedDataSource, indexed: int) -> int:
    files = source.total_file_count
    return source.total_bytes * indexed // files if files else 0


def _with_end(source: IndexedDataSource, end: SourceEnd) -> IndexedDataSource:
    counts = end.counts
    chosen = counts.get("failed_items", 0) + counts.get("skipped_items", 0)
    # A number of files that nobody chose makes room for what was.
    files = counts.get("files", max(source.total_file_count, chosen))
    is_unchanged = end.status is DataSourceStatus.NOT_UPDATED
    failed = {
        DataSourceStatus.FAILED: files - counts.get("skipped_items", 0),
        DataSourceStatus.PARTIALLY_UPDATED: max(source.failed_item_count, min(files, 1)),
    }.get(end.status, 0)
    failed = counts.get("failed_items", min(failed, files))
    skipped = files if is_unchanged else min(source.skipped_item_count, max(files - failed, 0))
    skipped = counts.get("skipped_items", skipped)
    indexed = files - failed - skipped
    _check_end(end.status, files, failed, skipped)
    error = _FAILED_FILE if failed else ("", "")
    usual_size = source.total_bytes * files // (source.total_file_count or 1)
    ended = dataclasses.replace(
        source,
        status=end.status,
        total_file_count=files,
        total_bytes=counts.get("total_bytes", usual_size),
        failed_item_count=failed,
        skipped_item_count=skipped,
        removed_item_count=counts.get("removed_items", source.removed_item_count),
        indexed_item_count=indexed,
        indexed_file_count=indexed,
        error_msg=end.texts.get("error_msg", error[0]),
        error_details=end.texts.get("error_details", error[1]),
    )
    return dataclasses.replace(ended, total_bytes_indexed=_share_of_bytes(ended, indexed))


def _check_end(status: DataSourceStatus, files: int, failed: int, skipped: int) -> None:
    given = f"files={files}, failed_items={failed}, skipped_items={skipped}"
    problem = ""
    if failed + skipped > files:
        problem = "more files failed or were skipped than there are"
    elif failed and status in (DataSourceStatus.UPDATED, DataSourceStatus.NOT_UPDATED):
        problem = "no file of it failed"
    elif failed + skipped < files and status in _NOTHING_INDEXED:
        problem = "no file of it is indexed"
    if problem:
        raise ValueError(f"a data source can't end {status.name} with {given}: {problem}")


_NOTHING_INDEXED = (DataSourceStatus.NOT_UPDATED, DataSourceStatus.FAILED)


def outcomes() -> tuple[Scenario, ...]:
    """A scenario for every end that a job can come to; made for ``pytest.mark.parametrize``."""
    return tuple(get(name) for name in _OUTCOMES)


def resolve(scenario: str | Scenario, overrides: Mapping[str, Any]) -> Scenario:
    """The scenario of that name; a ``Scenario`` is given back, and takes no overrides."""
    if isinstance(scenario, str):
        return get(scenario, **overrides)
    if not isinstance(scenario, Scenario):
        raise TypeError(f"a scenario's name or a Scenario is needed, not {scenario!r}")
    if not overrides:
        return scenario
    if _CATALOGUE.get(scenario.name) and scenario == get(scenario.name):
        return get(scenario.name, **overrides)
    raise TypeError(
        f"overrides change only scenarios of the catalogue: write {', '.join(overrides)} into the"
        " steps of your own scenario"
    )
