"""Virtual time: a clock that moves only when it is told to, or slept on."""

from __future__ import annotations

import math
import threading

# 2025-10-31T01:08:33Z, the start of a job that was seen live. Any fixed moment would do: answers must not depend on
# the day a test runs.
START = 1761872913.0


class VirtualClock:
    """Time that passes only by ``sleep`` and ``advance``. All times and durations are seconds."""

    def __init__(self, start: float = START) -> None:
        self.start = start
        self.elapsed = 0.0
        self.sleeps: list[float] = []
        self._lock = threading.Lock()

    def time(self) -> float:
        """Seconds since the epoch."""
        return self.start + self.elapsed

    def monotonic(self) -> float:
        """Seconds since this clock began."""
        return self.elapsed

    def advance(self, seconds: float) -> None:
        """Let time pass. Raises ``ValueError`` for a time that would go backwards."""
        if not math.isfinite(seconds) or seconds < 0:
            raise ValueError(f"time can only go forwards: advance({seconds!r})")
        with self._lock:
            self.elapsed += seconds

    def sleep(self, seconds: float, /) -> None:
        """Let time pass as ``time.sleep`` would, in no time, and keep the duration in ``sleeps``."""
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        self.advance(seconds)
        with self._lock:
            self.sleeps.append(seconds)
