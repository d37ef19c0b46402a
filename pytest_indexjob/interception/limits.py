"""How much one test may ask and sleep: code under test that does not stop fails its test."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import pytest

from pytest_indexjob.durations import duration_text

if TYPE_CHECKING:
    from pytest_indexjob.exchange import Journal
    from pytest_indexjob.virtual_time.clock import VirtualClock


class Limits:
    """Counts requests and hours of the clock, from the job that the test started last.

    ``exceeded`` is what to say of a limit that was exceeded, or ``""``.
    """

    def __init__(
        self, journal: Journal, clock: VirtualClock, max_polls: int, max_hours: float
    ) -> None:
        self.exceeded = ""
        self._journal = journal
        self._clock = clock
        self._max_polls = max_polls
        self._max_hours = max_hours
        self._first_exchange = 0
        self._began_at = 0.0

    def start(self) -> None:
        """Look at the hours whenever somebody sleeps on the clock."""
        self._clock.on_sleep.append(self._check_hours)

    def stop(self) -> None:
        """Look no longer."""
        if self._check_hours in self._clock.on_sleep:
            self._clock.on_sleep.remove(self._check_hours)

    def begin(self) -> None:
        """Count anew: the test started a job, whose life may be as long as any."""
        self._first_exchange = len(self._journal)
        self._began_at = self._clock.elapsed - self._clock.by_hand

    def check_requests(self) -> None:
        """Fail the test if it made as many requests as it may."""
        asked = len(self._journal) - self._first_exchange
        if asked >= self._max_polls:
            self._fail(f"{asked} requests in one test", "indexjob_max_polls")

    def _check_hours(self) -> None:
        slept = self._clock.elapsed - self._clock.by_hand
        passed = slept - self._began_at
        if passed / 3600 > self._max_hours:
            # The ini key is in hours.
            told = f"{passed / 3600:.0f} hours" if passed >= 7200 else duration_text(passed)
            self._fail(f"{told} of the test's clock have passed", "indexjob_max_hours")

    def _fail(self, limit: str, setting: str) -> NoReturn:
        """Fail the test, by an exception that code which catches ``Exception`` does not catch."""
        from pytest_indexjob.interception.runaway import explain

        exchanges = self._journal.exchanges[self._first_exchange :]
        story = explain(exchanges, limit, setting, slept=bool(self._clock.sleeps))
        self.exceeded = self.exceeded or story
        pytest.fail(self.exceeded, pytrace=False)
