"""How a job stands and how it ends: statuses, phases, data source statuses, and what goes together.

Source: the published reference for the values. Of the pairs of status and phase, the live service
was seen to send PENDING with PENDING, IN_PROGRESS with RUNNING, and COMPLETED with SUCCEEDED; the
other pairs are guesses.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

from pytest_indexjob.api.wire import WireEnum

Quality = Literal["", "good", "part", "bad"]


class IndexingJobStatus(WireEnum):
    """How a job stands or ended (the reference's ``APIIndexingJobStatus``)."""

    UNKNOWN = "INDEX_JOB_STATUS_UNKNOWN"
    PARTIAL = "INDEX_JOB_STATUS_PARTIAL"
    IN_PROGRESS = "INDEX_JOB_STATUS_IN_PROGRESS"
    COMPLETED = "INDEX_JOB_STATUS_COMPLETED"
    FAILED = "INDEX_JOB_STATUS_FAILED"
    NO_CHANGES = "INDEX_JOB_STATUS_NO_CHANGES"
    PENDING = "INDEX_JOB_STATUS_PENDING"
    CANCELLED = "INDEX_JOB_STATUS_CANCELLED"

    @classmethod
    def words_never_sent(cls) -> Mapping[str, str]:
        """Words that public code expects, each with the name that the service has for it."""
        return {
            "SUCCEEDED": "COMPLETED",
            "SUCCESS": "COMPLETED",
            "RUNNING": "IN_PROGRESS",
            "ERROR": "FAILED",
        }

    @property
    def is_terminal(self) -> bool:
        """Whether a job with this status will not change any more.

        An unknown status is not known to be an end.
        """
        return self in _TERMINAL


class IndexingJobPhase(WireEnum):
    """Where the batch job behind an indexing job stands.

    The reference calls it ``APIIndexingJobPhase``.
    """

    UNKNOWN = "BATCH_JOB_PHASE_UNKNOWN"
    PENDING = "BATCH_JOB_PHASE_PENDING"
    RUNNING = "BATCH_JOB_PHASE_RUNNING"
    SUCCEEDED = "BATCH_JOB_PHASE_SUCCEEDED"
    FAILED = "BATCH_JOB_PHASE_FAILED"
    ERROR = "BATCH_JOB_PHASE_ERROR"
    CANCELLED = "BATCH_JOB_PHASE_CANCELLED"

    @classmethod
    def words_never_sent(cls) -> Mapping[str, str]:
        """Words that public code expects, each with the name that the service has for it."""
        return {
            "COMPLETED": "SUCCEEDED",
            "COMPLETE": "SUCCEEDED",
            "SUCCESS": "SUCCEEDED",
            "IN_PROGRESS": "RUNNING",
            "PARTIAL": "SUCCEEDED",
            "NO_CHANGES": "SUCCEEDED",
        }

    @property
    def is_terminal(self) -> bool:
        """Whether a job in this phase will not change any more.

        An unknown phase is not known to be an end.
        """
        return self in _TERMINAL


class DataSourceStatus(WireEnum):
    """How one data source of a job stands or ended.

    The reference calls it ``APIIndexedDataSourceStatus``.
    """

    UNKNOWN = "DATA_SOURCE_STATUS_UNKNOWN"
    IN_PROGRESS = "DATA_SOURCE_STATUS_IN_PROGRESS"
    UPDATED = "DATA_SOURCE_STATUS_UPDATED"
    PARTIALLY_UPDATED = "DATA_SOURCE_STATUS_PARTIALLY_UPDATED"
    NOT_UPDATED = "DATA_SOURCE_STATUS_NOT_UPDATED"
    FAILED = "DATA_SOURCE_STATUS_FAILED"
    CANCELLED = "DATA_SOURCE_STATUS_CANCELLED"

    @classmethod
    def words_never_sent(cls) -> Mapping[str, str]:
        """Words that public code expects, each with the name that the service has for it."""
        return {
            "COMPLETED": "UPDATED",
            "COMPLETE": "UPDATED",
            "SUCCEEDED": "UPDATED",
            "SUCCESS": "UPDATED",
            "RUNNING": "IN_PROGRESS",
            "ERROR": "FAILED",
            "PARTIAL": "PARTIALLY_UPDATED",
            "NO_CHANGES": "NOT_UPDATED",
        }


class Outcome(NamedTuple):
    """How a job stands: what its status, its phase and its data sources say at one moment.

    ``quality`` is how good an end it is: everything was done, a part of it, nothing; ``""`` is no
    end.
    """

    status: IndexingJobStatus
    phase: IndexingJobPhase
    data_source: DataSourceStatus
    quality: Quality


def _outcome(status: str, phase: str, data_source: str, quality: Quality = "") -> Outcome:
    return Outcome(
        IndexingJobStatus[status], IndexingJobPhase[phase], DataSourceStatus[data_source], quality
    )


# By the name of the scenario that comes to it.
OUTCOMES: Mapping[str, Outcome] = MappingProxyType(
    {
        "pending": _outcome("PENDING", "PENDING", "UNKNOWN"),  # it has no data sources yet
        "in-progress": _outcome("IN_PROGRESS", "RUNNING", "IN_PROGRESS"),
        "completed": _outcome("COMPLETED", "SUCCEEDED", "UPDATED", "good"),
        "no-changes": _outcome("NO_CHANGES", "SUCCEEDED", "NOT_UPDATED", "good"),
        "partial": _outcome("PARTIAL", "SUCCEEDED", "PARTIALLY_UPDATED", "part"),
        "failed": _outcome("FAILED", "FAILED", "FAILED", "bad"),
        "error": _outcome("FAILED", "ERROR", "FAILED", "bad"),
        "cancelled": _outcome("CANCELLED", "CANCELLED", "CANCELLED", "part"),
    }
)
# Pairs that contradict nothing, though nobody should expect them. A batch job may be about to start
# or have just started when the status is read; and a batch job that ran to its end says nothing of
# how many documents it could index, so FAILED may stand beside SUCCEEDED (the scenario
# "succeeded-but-failed": code that looks at the phase alone takes it for a success).
_ALSO_POSSIBLE = (
    (IndexingJobStatus.PENDING, IndexingJobPhase.RUNNING),
    (IndexingJobStatus.IN_PROGRESS, IndexingJobPhase.PENDING),
    (IndexingJobStatus.FAILED, IndexingJobPhase.SUCCEEDED),
)
_PAIRS = frozenset(
    (*((outcome.status, outcome.phase) for outcome in OUTCOMES.values()), *_ALSO_POSSIBLE)
)


def go_together(status: IndexingJobStatus, phase: IndexingJobPhase) -> bool:
    """Whether a status and a phase do not contradict each other.

    UNKNOWN and values that the contract does not list go with any.
    """
    unsaid = status is IndexingJobStatus.UNKNOWN or phase is IndexingJobPhase.UNKNOWN
    return unsaid or not (status.is_known and phase.is_known) or (status, phase) in _PAIRS


def _qualities() -> dict[WireEnum, Quality]:
    # A phase goes with several statuses: what it says by itself is the best of them.
    qualities: dict[WireEnum, Quality] = {}
    for outcome in sorted(OUTCOMES.values(), key=lambda each: _BEST_LAST.index(each.quality)):
        qualities |= dict.fromkeys((outcome.status, outcome.phase), outcome.quality)
    return qualities


_BEST_LAST: tuple[Quality, ...] = ("", "bad", "part", "good")
_QUALITIES = _qualities()
_TERMINAL = frozenset(member for member, quality in _QUALITIES.items() if quality)


def quality(member: WireEnum) -> Quality:
    """How good an end a status or a phase is by itself; ``""`` for no end."""
    return _QUALITIES.get(member, "")
