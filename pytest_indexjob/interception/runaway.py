"""What to say of a test whose code under test does not stop asking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from pytest_indexjob.api.models import IndexingJob
from pytest_indexjob.exchange import Exchange

_MOST_LINES = 12


class _Seen(NamedTuple):
    """What an answer said, as far as equal ones are one line."""

    call: str
    answer: str


def explain(exchanges: Sequence[Exchange], limit: str, setting: str, *, slept: bool) -> str:
    """The text of the failure: what was asked again and again, what was answered, and hints."""
    folded = _folded(exchanges)
    lines = [f"    {times} x {seen.call}: {seen.answer}" for seen, times in folded[-_MOST_LINES:]]
    if len(folded) > _MOST_LINES:
        lines.insert(0, f"    ... {len(folded) - _MOST_LINES} kinds of answers before")
    hints = [f"hint: {hint}" for hint in _hints(exchanges, slept=slept)]
    text = f"the code under test does not stop: {limit} (ini key {setting}). The answers were:"
    return "\n".join([text, *lines, *hints])


def _folded(exchanges: Sequence[Exchange]) -> list[tuple[_Seen, int]]:
    folded: list[tuple[_Seen, int]] = []
    for exchange in exchanges:
        seen = _Seen(
            f"{exchange.request.method} {urlsplit(exchange.request.url).path}", _answer(exchange)
        )
        if folded and folded[-1][0] == seen:
            folded[-1] = seen, folded[-1][1] + 1
        else:
            folded.append((seen, 1))
    return folded


def _answer(exchange: Exchange) -> str:
    if exchange.response is None:
        return f"no answer ({exchange.error})"
    job = _job(exchange)
    if job is None:
        return f"HTTP {exchange.response.status}"
    return f"status {job.status.name}, phase {job.phase.name}"


def _job(exchange: Exchange) -> IndexingJob | None:
    return exchange.answer.job if exchange.answer else None


def _hints(exchanges: Sequence[Exchange], *, slept: bool) -> list[str]:
    if not exchanges:
        return ["no request was made in this time: the code that waits does not poll a job"]
    last = exchanges[-1]
    job = _job(last)
    hints = []
    if job is None:
        if last.response is not None and last.response.status == 200:
            hints.append(
                "the answers hold no `job`: the code under test needs a time-out that does not"
                " depend on the answer"
            )
    elif job.is_terminal:
        # From the back: a job does not leave its end.
        after = next(
            (at for at, each in enumerate(reversed(exchanges)) if not _ended(each)), len(exchanges)
        )
        name = job.status.name if job.status.is_terminal else job.phase.name
        hints.append(
            f"the job ended as {name} and was polled {after - 1} more times: the code under test"
            f" does not treat {name} as an end, or does not read `job.status` and `job.phase`"
        )
    elif not (job.status.is_known and job.phase.is_known):
        hints.append(
            f"the contract does not know the status {job.status.value!r} or the phase"
            f" {job.phase.value!r}"
        )
    if job is not None and job.phase.name == "UNKNOWN":
        hints.append(
            "the answers hold no phase: code that checks its time-out only where there is a phase"
            " never stops"
        )
    if not slept:
        hints.append(
            "the code under test never slept on the test's clock: ask for indexjob_clock, or let"
            " the code wait between its calls"
        )
    elif job is not None and not job.is_terminal:
        hints.append("the job has not ended: the code under test has no time-out of its own")
    return hints


def _ended(exchange: Exchange) -> bool:
    job = _job(exchange)
    return job is not None and job.is_terminal
