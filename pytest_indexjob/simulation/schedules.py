"""Scheduled indexing of the simulator: at its moments, a job starts by itself.

Source: the published OpenAPI (days as cron counts them, times in UTC). That 0 and 7 are both Sunday
is a guess, as is that a knowledge base has one schedule.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from pytest_indexjob.api.knowledge_bases import IndexingSchedule
from pytest_indexjob.exchange import Request
from pytest_indexjob.simulation.resource import (
    Desk,
    Handler,
    invalid,
    json_object,
    list_in,
    not_found,
    numbered_uuid,
    text_in,
)


class Schedules:
    """All schedules. ``require(uuid)`` refuses for an unknown knowledge base."""

    def __init__(self, desk: Desk, *, require: Callable[[str], object]) -> None:
        self._desk = desk
        self._require = require
        self._by_knowledge_base: dict[str, IndexingSchedule] = {}
        self._made = 0
        self.handlers: dict[str, Handler] = {
            "schedules.create": self._create,
            "schedules.get": self._get,
            "schedules.delete": self._delete,
        }

    @property
    def all(self) -> tuple[IndexingSchedule, ...]:
        """All schedules, in the order in which they were made."""
        return tuple(self._by_knowledge_base.values())

    def forget(self, knowledge_base_uuid: str) -> None:
        """Drop the schedule of a knowledge base."""
        self._by_knowledge_base.pop(knowledge_base_uuid, None)

    def due(self, now: float) -> list[tuple[float, str]]:
        """The jobs that start until now: the moment, and the knowledge base."""
        found = []
        at = self._desk.epoch + now + 1e-6
        for uuid, schedule in self._by_knowledge_base.items():
            current = schedule
            while current.next_run_at is not None and current.next_run_at.timestamp() <= at:
                ran = current.next_run_at
                found.append((ran.timestamp() - self._desk.epoch, uuid))
                current = dataclasses.replace(
                    current, last_ran_at=ran, next_run_at=_next(current, ran)
                )
            self._by_knowledge_base[uuid] = current
        return found

    def _create(self, request: Request) -> dict[str, Any]:
        body = json_object(request)
        uuid = text_in(body, "knowledge_base_uuid", required=True)
        self._require(uuid)
        days = tuple(dict.fromkeys(list_in(body, "days", int)))
        if not days or not all(0 <= day <= 7 for day in days):
            raise invalid("days must be a list of numbers from 0 to 7, Monday being 1")
        time = text_in(body, "time", required=True)
        if not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", time):
            raise invalid("time must be HH:MM in UTC")
        if uuid in self._by_knowledge_base:
            raise self._desk.conflict(f"knowledge base {uuid} has a schedule already")
        number, self._made = self._made, self._made + 1
        moment = self._desk.time(self._desk.now)
        schedule = IndexingSchedule(
            uuid=numbered_uuid(0x9C3A0A58, number, "b5f2"),
            knowledge_base_uuid=uuid,
            days=days,
            time=time,
            is_active=True,
            created_at=moment,
            updated_at=moment,
        )
        schedule = dataclasses.replace(schedule, next_run_at=_next(schedule, moment))
        self._by_knowledge_base[uuid] = schedule
        return {"indexing_info": schedule.to_wire()}

    def _get(self, _request: Request, knowledge_base_uuid: str) -> dict[str, Any]:
        schedule = self._by_knowledge_base.get(knowledge_base_uuid)
        if schedule is None:
            raise not_found()
        return {"indexing_info": schedule.to_wire()}

    def _delete(self, _request: Request, uuid: str) -> dict[str, Any]:
        schedule = next((each for each in self.all if each.uuid == uuid), None)
        if schedule is None:
            raise not_found()
        del self._by_knowledge_base[schedule.knowledge_base_uuid]
        deleted = dataclasses.replace(
            schedule,
            is_active=False,
            next_run_at=None,
            deleted_at=self._desk.time(self._desk.now),
        )
        return {"indexing_info": deleted.to_wire()}


def _next(schedule: IndexingSchedule, after: datetime) -> datetime:
    """The first moment of a schedule after another."""
    hour, minute = map(int, schedule.time.split(":"))
    days = {day % 7 for day in schedule.days}  # 0 and 7: Sunday
    moment = after.astimezone(UTC).replace(hour=hour, minute=minute, second=0, microsecond=0)
    while moment <= after or moment.isoweekday() % 7 not in days:
        moment += timedelta(days=1)
    return moment
