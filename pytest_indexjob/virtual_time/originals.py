"""The functions of ``time`` as Python has them, kept before anything can replace them."""

from __future__ import annotations

import time

# Kept early, since the names may stand for somebody's patch by the time that a clock starts.
TIME_FUNCTIONS = {
    name: getattr(time, name)
    for name in ("sleep", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns")
}
