"""What the benchmarks measure: figures with their spread, and curves of growth."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

PROCESSOR = time.process_time


class Figure(NamedTuple):
    """One thing that was measured in several rounds, alone or beside a peer.

    ``values`` has a number for each round, in ``unit``; ``others`` are the peer's of the same
    rounds. ``aim`` is the most that the median may be (the least with ``at_least``): of the ratios
    if there is a peer, else of the values.
    """

    what: str
    unit: str
    values: Sequence[float]
    against: str = ""
    others: Sequence[float] = ()
    aim: float | None = None
    at_least: bool = False

    @property
    def ratios(self) -> list[float]:
        """The ratio to the peer in each round."""
        return [ours / theirs for ours, theirs in zip(self.values, self.others, strict=True)]

    @property
    def judged(self) -> float:
        """What the aim is about."""
        return statistics.median(self.ratios if self.others else self.values)

    @property
    def is_missed(self) -> bool:
        """Whether the figure falls short of its aim."""
        if self.aim is None:
            return False
        return self.judged < self.aim if self.at_least else self.judged > self.aim


class Curve(NamedTuple):
    """How a cost grows: for each line its points, as (size, cost)."""

    title: str
    size: str
    cost: str
    lines: dict[str, list[tuple[float, float]]]


def seconds(work: Callable[[], object]) -> float:
    """The seconds that the work takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def processor_seconds(work: Callable[[], object]) -> float:
    """The seconds of the processor that the work takes: what else is running adds little."""
    began = PROCESSOR()
    work()
    return PROCESSOR() - began


def paired(rounds: int, *works: Callable[[], float]) -> list[list[float]]:
    """What each work measures in each round.

    The works take turns, and every other round begins with the last of them, so that what else the
    machine does meets all of them alike.
    """
    measured: list[list[float]] = [[] for _ in works]
    for each_round in range(rounds):
        order = list(enumerate(works))
        for at, work in reversed(order) if each_round % 2 else order:
            measured[at].append(work())
    return measured
