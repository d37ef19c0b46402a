"""The facts that the report of each test carries, and their totals over all processes of a run."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_indexjob.running.reporting import TITLE
from pytest_indexjob.running.settings import run_settings
from pytest_indexjob.whole_file import write_whole, writing_problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_indexjob.checking.coverage import Coverage
    from pytest_indexjob.interception.interception import Interception


def register(config: pytest.Config) -> bool:
    """Check the options that concern the whole run, and register its totals.

    Raises ``pytest.UsageError``.
    """
    left_out = _left_out(config)
    if run_settings(config).record_mode == "rewrite":
        from pytest_indexjob.running.shared_cassettes import SHARED, SharedCassettes

        config.pluginmanager.register(SharedCassettes(), SHARED)
    under = config.getoption("--indexjob-coverage-fail-under")
    if under is not None and not 0 <= under <= 100:
        raise pytest.UsageError(f"--indexjob-coverage-fail-under must be 0 to 100, not {under:g}")
    if config.getoption("--indexjob-report") and importlib.util.find_spec("jinja2") is None:
        raise pytest.UsageError(
            "--indexjob-report needs Jinja2: pip install 'pytest-indexjob[report]'"
        )
    # A worker of pytest-xdist sends its reports to the one process that adds up.
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Totals(config, left_out), "indexjob-totals")
    return True


def _left_out(config: pytest.Config) -> dict[str, str]:
    lines = config.getini("indexjob_coverage_left_out")
    if not lines:
        return {}
    from pytest_indexjob.checking.coverage import parse_left_out

    try:
        return parse_left_out(lines)
    except ValueError as error:
        raise pytest.UsageError(f"the ini key indexjob_coverage_left_out: {error}") from None


def _file(config: pytest.Config, option: str) -> Path | None:
    """The file that an option names.

    Raises ``pytest.UsageError`` at the run's start for what can't be written at its end.
    """
    name = config.getoption(option)
    if name is None:
        return None
    problem = writing_problem(Path(name))
    if problem:
        raise pytest.UsageError(f"{option}={name} can't be written: {problem}")
    return Path(name)


def facts_of(
    item: pytest.Item,
    interception: Interception,
    report: Any,
    *,
    passed: bool,
    not_passed: pytest.TestReport | None,
) -> dict[str, Any]:
    """The facts of one test for the totals, as JSON, so that they can travel between processes.

    ``not_passed`` is the report of the first of the test's phases that did not pass.
    """
    failed = not_passed if not_passed is not None and not_passed.failed else None
    config = item.config
    facts: dict[str, Any] = {"used": True}
    recorder = interception.recorder
    if recorder is not None and recorder.replaced:
        facts["replaced"] = [str(recorder.path), recorder.replaced, len(recorder.recorded)]
    if recorder is not None and recorder.recorded and not_passed is not None and failed is None:
        why = "is expected to fail" if hasattr(not_passed, "wasxfail") else "was skipped"
        facts["unwritten"] = [interception.redact(item.nodeid), why]
    if recorder is not None and recorder.replaced_types:
        facts["replaced_types"] = [str(recorder.path), sorted(recorder.replaced_types)]
    if recorder is not None and recorder.mode == "rewrite" and recorder.sharing > 1:
        staged = recorder.staged if passed else None
        path = str(recorder.path.resolve())  # folders may share it by a link
        facts["rewrite"] = [path, recorder.sharing, item.nodeid, staged]
    if _counts_coverage(config):
        from pytest_indexjob.checking.coverage import outcomes_of

        facts["outcomes"] = sorted(outcomes_of(interception.journal.exchanges))
        facts["passed"] = passed
    if config.getoption("--indexjob-used-file"):
        facts["cassettes"] = interception.cassettes
    if config.getoption("--indexjob-report"):
        from pytest_indexjob.story.record import record_test

        facts["record"] = record_test(
            interception.redact(item.nodeid),
            "failed" if report.outcome == "passed" and not passed else report.outcome,
            report.duration,
            interception.shown_exchanges(),
            interception.sleeps,
            reason="" if failed is None else _reason(failed),
            redact=interception.redact,
        )
    return facts


def _reason(report: Any) -> str:
    """Why a test failed: the exception's message, without its traceback."""
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message if crash is not None else report.longrepr or "")


def _counts_coverage(config: pytest.Config) -> bool:
    asked = (
        "--indexjob-coverage",
        "--indexjob-coverage-fail-under",
        "--indexjob-coverage-file",
        "--indexjob-report",
    )
    values = [config.getoption(option) for option in asked]
    return any(value is not None and value is not False for value in values)


def _no_coverage() -> Coverage:
    from pytest_indexjob.checking.coverage import Coverage

    return Coverage()


class Totals:
    """Adds up the facts of the reports. It is registered as a plugin if an option asks for it."""

    def __init__(self, config: pytest.Config, left_out: dict[str, str]) -> None:
        self._config = config
        self._left_out = left_out
        self._page = _file(config, "--indexjob-report")
        self._coverage_file = _file(config, "--indexjob-coverage-file")
        self._used_file = _file(config, "--indexjob-used-file")
        self._used = False
        self._replaced: dict[str, int] = {}
        self._idle: set[str] = set()
        self._replaced_types: dict[str, set[str]] = {}
        # By path: what each test records for a recording that tests share, on each worker that
        # runs it.
        self._rewrites: dict[str, dict[tuple[str, object], str | None]] = {}
        self._sharing: dict[str, int] = {}  # by path: how many tests share the recording
        self._cassettes: set[str] = set()
        self._records: list[dict[str, Any]] = []
        self._coverage: Coverage | None = None
        self._given: Coverage | None = None  # by the tests that failed as well
        self._lines: list[str] = []
        self._errors: list[str] = []
        self._unwritten: dict[str, str] = {}  # by test: why it wrote nothing, though it is green
        self._left: list[str] = []  # of recordings that were left as they were

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the facts of a test."""
        facts = getattr(report, "indexjob", None)
        if facts:
            self._add(facts, getattr(report, "node", None))

    def _add(self, facts: dict[str, Any], worker: object) -> None:
        self._used = True
        self._cassettes.update(facts.get("cassettes", ()))
        self._records += [facts["record"]] if "record" in facts else []
        if "outcomes" in facts:
            self._given = self._given or _no_coverage()
            self._given.add(facts["outcomes"])
            if facts["passed"]:
                self._counted().add(facts["outcomes"])
        if "unwritten" in facts:
            test, why = facts["unwritten"]
            self._unwritten[test] = why
        if "replaced_types" in facts:
            path, types = facts["replaced_types"]
            self._replaced_types.setdefault(path, set()).update(types)
        if "replaced" in facts:
            self._count_replaced(*facts["replaced"])
        if "rewrite" in facts:
            path, sharing, test, staged = facts["rewrite"]
            self._rewrites.setdefault(path, {})[test, worker] = staged
            self._sharing[path] = sharing

    def _count_replaced(self, path: str, before: int, new: int) -> None:
        self._replaced[path] = before
        self._idle = self._idle | {path} if not new else self._idle - {path}

    def _rewrite_shared(self) -> None:
        """Rewrite each recording whose tests all ran and passed; the others are left and told."""
        for path, texts in self._rewrites.items():
            failed = {test for (test, _), text in texts.items() if text is None}
            # One text of each test, where several workers ran it.
            passed = {test: text for (test, _), text in texts.items() if text is not None}
            staged = [text for test, text in passed.items() if test not in failed]
            if len(staged) == self._sharing[path]:
                self._rewrite(path, staged)
            else:
                self._left.append(
                    f"{path}: {len(staged)} of the {self._sharing[path]} tests that record it ran"
                    " and passed, so the recording was left as it was"
                )

    def _rewrite(self, path: str, staged: Iterable[str]) -> None:
        from pytest_indexjob.api.errors import CassetteError
        from pytest_indexjob.recording.recorder import rewrite

        try:
            run = run_settings(self._config)
            counts = rewrite(
                Path(path),
                staged,
                anonymize=run.anonymize,
                keep_headers=run.kept_headers,
                keep_bodies=run.kept_bodies,
            )
        except CassetteError as error:
            self._errors.append(f"ERROR: {error}")
        else:
            self._count_replaced(path, *counts)

    def _counted(self) -> Coverage:
        self._coverage = self._coverage or _no_coverage()
        return self._coverage

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the files, even of an interrupted run, and fail a run with too little coverage."""
        self._rewrite_shared()
        self._lines = [*self._shrunk(), *self._errors]
        self._lines += [
            f"{path}: bodies of {', '.join(sorted(types))} were replaced by a placeholder, as the"
            " API's contract does not know them; name a type in the ini key indexjob_kept_bodies to"
            " keep its bodies"
            for path, types in self._replaced_types.items()
        ]
        self._lines += self._left
        self._lines += [
            f"{test} {why}, so what it recorded was not written: only a test that passes writes"
            for test, why in self._unwritten.items()
        ]
        if self._errors and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        if self._coverage_file:
            from pytest_indexjob.checking.coverage import write

            write(self._coverage_file, self._counted())
        if self._used_file:
            content = json.dumps(sorted(self._cassettes), indent=2) + "\n"
            write_whole(self._used_file, content.encode())
        if self._page:
            from pytest_indexjob.checking.coverage import ITEMS
            from pytest_indexjob.story.page import write_report

            given = self._given or _no_coverage()
            seen = {
                item: given.counts[item]
                for item in ITEMS
                if given.counts[item] and not item.startswith("pair:")
            }
            matrix = {"matrix": given.matrix(), "other": seen}
            write_report(self._page, self._records, coverage=matrix)
            self._lines.append(f"page: {self._config.getoption('--indexjob-report')}")
        self._judge(session)

    def _judge(self, session: pytest.Session) -> None:
        under = self._config.getoption("--indexjob-coverage-fail-under")
        if under is None or session.exitstatus not in (
            pytest.ExitCode.OK,
            pytest.ExitCode.NO_TESTS_COLLECTED,
        ):
            return
        if not self._used:
            self._lines.append(
                "ERROR: --indexjob-coverage-fail-under was given, but no test used the plugin"
            )
            session.exitstatus = pytest.ExitCode.USAGE_ERROR
        elif self._counted().percent(self._left_out) < under:
            percent = self._counted().percent(self._left_out)
            has_table = self._config.getoption("--indexjob-coverage")
            hint = "" if has_table else ": --indexjob-coverage lists the answers that are missing"
            self._lines.append(
                f"FAIL: outcome coverage of {percent:.1f} % is under the {under:g} % that was"
                f" asked for{hint}"
            )
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the coverage, and what happened to files."""
        lines = [*self._table(), *self._lines]
        if lines:
            terminalreporter.section(TITLE)
        for line in lines:
            terminalreporter.write_line(line)

    def _table(self) -> list[str]:
        if not self._config.getoption("--indexjob-coverage"):
            return []
        coverage = self._counted()
        width = self._config.get_terminal_writer().fullwidth
        tests = f"{coverage.tests} test{'s' * (coverage.tests != 1)} that passed"
        head = (
            f"outcome coverage: {coverage.percent(self._left_out):.0f} % of what the service can"
            f" say, by {tests}"
        )
        return [head, *coverage.table(self._left_out, width=width)]

    def _shrunk(self) -> list[str]:
        from pytest_indexjob.recording.cassette import load

        lines = []
        for path, before in self._replaced.items():
            now = len(load(Path(path)).interactions) if Path(path).is_file() else 0
            if path in self._idle and before:
                lines.append(
                    f"{path}: nothing was recorded, so the old recording was left as it is"
                )
            elif now < before:
                lines.append(
                    f"{path}: the new recording holds {now} interactions, {before - now} fewer than"
                    " the old one"
                )
        return lines
