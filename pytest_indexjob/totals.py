"""What a whole run adds up, from what its tests' reports bring, also from other processes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

    from pytest_indexjob.interception import Interception


def facts_of(config: pytest.Config, interception: Interception) -> dict[str, Any]:
    """What one test brings to the totals, as JSON, so that it can travel between processes."""
    facts: dict[str, Any] = {}
    recorder = interception.recorder
    if recorder is not None and recorder.replaced:
        facts["replaced"] = [str(recorder.path), recorder.replaced, len(recorder.recorded)]
    return facts


class Totals:
    """Adds up what the reports bring; registered as a plugin where an option asks for it."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._replaced: dict[str, int] = {}
        self._idle: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take what a test brought."""
        facts = getattr(report, "indexjob", None)
        if facts:
            self._add(facts)

    def _add(self, facts: dict[str, Any]) -> None:
        if "replaced" in facts:
            path, before, new = facts["replaced"]
            self._replaced[path] = before
            self._idle = self._idle | {path} if not new else self._idle - {path}

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what the run came to."""
        lines = [*self._shrunk()]
        if lines:
            terminalreporter.section("indexjob")
        for line in lines:
            terminalreporter.write_line(line)

    def _shrunk(self) -> list[str]:
        from pytest_indexjob.recording.cassette import load

        lines = []
        for path, before in self._replaced.items():
            now = len(load(Path(path)).interactions)
            if path in self._idle:
                lines.append(f"{path}: nothing was recorded, so the old recording was left as it is")
            elif now < before:
                lines.append(
                    f"{path}: the new recording holds {now} interactions, {before - now} fewer than the old one"
                )
        return lines
