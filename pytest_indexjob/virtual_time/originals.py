"""The functions of ``time`` as Python has them, and where a test's clock can stand for them."""

from __future__ import annotations

import select
import sys
import time

# Kept early, since the names may stand for somebody's patch by the time that a clock starts.
TIME_FUNCTIONS = {
    name: getattr(time, name)
    for name in ("sleep", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns")
}


def platform_complaint() -> str:
    """Why no test can have a virtual clock here, or ``""``."""
    if sys.implementation.name != "cpython":
        here = f"{sys.implementation.name} has other functions of C"
    elif not hasattr(select, "poll"):
        here = f"{sys.platform} has no select.poll, by which event loops' waits are watched"
    else:
        return ""
    return f"indexjob_clock needs CPython on Linux or macOS, and {here}: run this test there"
