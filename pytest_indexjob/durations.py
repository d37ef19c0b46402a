"""Durations as people write them."""

from __future__ import annotations

import math

_UNITS = ((86_400_000, "day"), (3_600_000, "h"), (60_000, "min"))


def duration_text(seconds: float) -> str:
    """Seconds in the units that people use: ``5 min 40 s``, ``2 days``; at most three decimals.

    The script in ``story/page.html.j2`` writes durations in the same way.
    """
    if not math.isfinite(seconds):
        return f"{seconds} s"
    left = round(seconds * 1000)
    parts = []
    for size, unit in _UNITS:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}{'s' if unit == 'day' and count > 1 else ''}")
    if left or not parts:
        parts.append(f"{left / 1000:g} s")
    return " ".join(parts)
