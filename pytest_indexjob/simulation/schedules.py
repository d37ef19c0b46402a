"""Scheduled indexing: at its days and time a job of the knowledge base starts.

Source of facts: the published OpenAPI and the documentation. Guesses: which numbers are Sunday
(``sundays``), what a second schedule of a knowledge base does (``replaces_schedule``), that a
moment is left out while a job runs, while the database is not online, or where there is no data
source.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from pytest_indexjob.api.knowledge_bases import ScheduledIndexing
from pytest_indexjob.api.models import utc
from pytest_indexjob.simulation.resource import (
    ROUNDING,
    Handler,
    Refusal,
    Resource,
    bad_argument,
    json_object,
    made_uuid,
    not_found,
    written,
)

if TYPE_CHECKING:
    from pytest_indexjob.exchange import Request
    from pytest_indexjob.simulation.bases import Base, Bases
    from pytest_indexjob.simulation.jobs import Jobs
    from pytest_indexjob.simulation.simulator import Simulator

_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])\Z", re.ASCII)


class Schedules(Resource):
    """The schedules of a simulator's knowledge bases, by the knowledge base's uuid."""

    def __init__(self, simulator: Simulator, bases: Bases, jobs: Jobs) -> None:
        super().__init__(simulator)
        self._bases = bases
        self._jobs = jobs
        self._made = 0
        self.by_base: dict[str, ScheduledIndexing] = {}

    def handlers(self) -> Mapping[str, Handler]:
        """The handler of each call, by the call's name."""
        return {
            "schedules.create": self._create,
            "schedules.get": self._get,
            "schedules.delete": self._delete,
        }

    def start_due(self) -> None:
        """Start the jobs whose moments have come."""
        for uuid in tuple(self.by_base):
            base = self._bases.by_uuid.get(uuid)
            if base is None:
                del self.by_base[uuid]
                continue
            while (run_at := self.by_base[uuid].next_run_at) and run_at <= self._moment():
                self._run(base, run_at)

    def _moment(self) -> datetime:
        return utc(self._wall_time() + ROUNDING)

    def _run(self, base: Base, run_at: datetime) -> None:
        at = run_at.timestamp() - self._simulator.epoch
        has_work = base.can_be_indexed or self._simulator.empty_jobs
        if has_work and base.is_online(at) and not self._jobs.is_busy(base.uuid, at):
            with contextlib.suppress(Refusal):
                self._jobs.start_planned(base, created=at)
        schedule = self.by_base[base.uuid]
        self.by_base[base.uuid] = dataclasses.replace(
            schedule, last_ran_at=run_at, next_run_at=_next_run(schedule, run_at)
        )

    def _create(self, request: Request) -> bytes:
        body = json_object(request)
        uuid = body.get("knowledge_base_uuid")
        if not isinstance(uuid, str) or not uuid:
            raise bad_argument("knowledge_base_uuid is required and must be a string")
        days, time = self._read_days(body.get("days")), body.get("time")
        if not isinstance(time, str) or not _TIME.match(time):
            raise bad_argument("time must be HH:MM, in UTC")
        self._bases.found(uuid)
        if uuid in self.by_base and not self._simulator.replaces_schedule:
            simulator = self._simulator
            message = f"knowledge base {uuid} already has a schedule"
            raise Refusal(simulator.conflict_status, simulator.conflict_id, message)
        now = self._time(self._now())
        schedule = ScheduledIndexing(
            uuid=made_uuid(0x2A1B0C9D, self._made),
            knowledge_base_uuid=uuid,
            days=days,
            time=time,
            is_active=True,
            created_at=now,
            updated_at=now,
        )
        self._made += 1
        schedule = dataclasses.replace(schedule, next_run_at=_next_run(schedule, now))
        self.by_base[uuid] = schedule
        return written({"indexing_info": schedule.to_wire()})

    def _read_days(self, days: Any) -> tuple[int, ...]:
        sundays = self._simulator.sundays
        known = frozenset((*range(1, 7), *sundays))
        if not isinstance(days, list) or not days or not all(type(day) is int for day in days):
            raise bad_argument("days must be a list of days of the week, 1 for Monday")
        if not known.issuperset(days):
            raise bad_argument(
                f"days must be 1 for Monday to 6 for Saturday, and {sundays} for Sunday"
            )
        return tuple(dict.fromkeys(days))

    def _get(self, _request: Request, knowledge_base_uuid: str) -> bytes:
        if knowledge_base_uuid not in self.by_base:
            raise not_found()
        return written({"indexing_info": self.by_base[knowledge_base_uuid].to_wire()})

    def _delete(self, _request: Request, uuid: str) -> bytes:
        schedule = next((each for each in self.by_base.values() if each.uuid == uuid), None)
        if schedule is None:
            raise not_found()
        del self.by_base[schedule.knowledge_base_uuid]
        now = self._time(self._now())
        gone = dataclasses.replace(
            schedule, is_active=False, next_run_at=None, updated_at=now, deleted_at=now
        )
        return written({"indexing_info": gone.to_wire()})


def _next_run(schedule: ScheduledIndexing, after: datetime) -> datetime:
    hour, minute = (int(part) for part in schedule.time.split(":"))
    days = {day or 7 for day in schedule.days}
    run = after.replace(hour=hour, minute=minute, second=0, microsecond=0)
    while run <= after or run.isoweekday() not in days:
        run += timedelta(days=1)
    return run
