"""pytest's door: options, markers, hooks, fixtures.

The other rooms do their work. They are imported when they are needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_indexjob.running.options import MARKER, add_options
from pytest_indexjob.running.settings import run_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_indexjob.api.client import IndexingJobClient
    from pytest_indexjob.api.settings import IndexJobSettings
    from pytest_indexjob.exchange import Journal
    from pytest_indexjob.interception.interception import Interception
    from pytest_indexjob.recording.cassette import Playback
    from pytest_indexjob.simulation.scenarios import Scenario
    from pytest_indexjob.simulation.server import LoopbackServer
    from pytest_indexjob.simulation.simulator import Simulator
    from pytest_indexjob.virtual_time.clock import VirtualClock

_INTERCEPTION = pytest.StashKey["Interception"]()
_REPORTS = pytest.StashKey[list[Any]]()
_MARKS = pytest.StashKey[tuple[pytest.Mark, ...]]()  # those that were obeyed
_TOTALS = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options and ini keys, all of which begin with ``indexjob``."""
    add_options(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Close the network before anything of the user's is imported, where that is asked for."""
    if getattr(early_config.known_args_namespace, "indexjob_offline", None):
        from pytest_indexjob.interception.kernel_guard import close_network

        close_network()


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line(
        "markers",
        f"{MARKER}(*names, strict=False): answer every indexing-job call of the test from these"
        " recordings (or from the test's own); strict also fails the test if recorded answers were"
        " left unplayed",
    )
    run_settings(config)
    # 0 is a value too.
    given = {
        name
        for name, value in vars(config.option).items()
        if value not in (None, "none") and value is not False
    }
    if any(name.startswith("indexjob_") for name in given - {"indexjob_live", "indexjob_offline"}):
        from pytest_indexjob.running.totals import register

        config.stash[_TOTALS] = register(config)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """Make the marker enough by itself, whenever it was added."""
    keys: tuple[pytest.StashKey[Any], ...] = (_INTERCEPTION, _REPORTS, _MARKS)
    for key in keys:
        if key in item.stash:  # of an earlier run of this test
            del item.stash[key]
    if item.get_closest_marker(MARKER) is None:
        yield
        _check_spelling(item)
    else:
        from pytest_indexjob.running.one_test import answer_by_mark

        with answer_by_mark(item):
            yield
    _check_mark(item)


def _check_spelling(item: pytest.Item) -> None:
    # The test would run without the guard, and its calls would reach the service.
    for mark in item.iter_markers():
        if mark.name.startswith("ind"):
            import difflib

            lines = item.config.getini("markers")
            known = {line.partition(":")[0].partition("(")[0].strip() for line in lines}
            if mark.name not in known and difflib.get_close_matches(mark.name, [MARKER], 1, 0.8):
                pytest.fail(
                    f"there is no mark {mark.name}: did you mean {MARKER}? A mark of your own is"
                    " declared in the ini key markers",
                    pytrace=False,
                )


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Write what the test recorded, once its fixtures are done and all its reports have passed.

    Send along what the run adds up.
    """
    if call.excinfo is not None:
        from pytest_indexjob.running.reporting import clean_errors

        # An assertion can fail in a test that uses no fixture.
        interception = item.stash.get(_INTERCEPTION, None)
        clean_errors(call.excinfo, item.config, interception.redact if interception else str)
    report: Any = yield
    if _INTERCEPTION in item.stash:
        from pytest_indexjob.running.reporting import redact_report, tell_story

        interception = item.stash[_INTERCEPTION]
        # Of one test there are several reports of its call, where it has subtests. Other plugins
        # may still turn a report into a failure, so the reports are judged at the end.
        reports = item.stash.setdefault(_REPORTS, [])
        reports.append(report)
        if call.when == "teardown" and _not_passed(reports) is None:
            from pytest_indexjob.running.one_test import save

            save(item, interception, report)
        redact_report(report, interception)
        tell_story(item, report, interception)
        if call.when == "teardown" and item.config.stash.get(_TOTALS, False):
            from pytest_indexjob.running.totals import facts_of

            calls = [made for made in reports if made.when == "call"]
            not_passed = _not_passed(reports)
            report.indexjob = facts_of(
                item,
                interception,
                calls[-1] if calls else report,
                passed=not_passed is None and bool(calls),
                not_passed=not_passed,
            )
    return report  # type: ignore[no-any-return]


def _not_passed(reports: list[Any]) -> Any:
    """The first report of a test that did not pass, if there is one."""
    return next(
        (report for report in reports if not report.passed or hasattr(report, "wasxfail")), None
    )


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Fail a test that left a request unanswered, even where its code caught the exception."""
    try:
        result = yield
    except BaseException as error:
        complaint = _complaint(item)
        if complaint and (not str(error) or str(error) not in complaint):
            item.add_report_section("call", "indexjob", complaint)
        raise
    complaint = _complaint(item, passed=True)
    if complaint:
        pytest.fail(complaint, pytrace=False)
    _check_mark(item)
    return result


def _check_mark(item: pytest.Item) -> None:
    marks = tuple(item.iter_markers(MARKER))
    if marks and marks != item.stash.get(_MARKS, ()):
        pytest.fail(
            f"the mark {MARKER} was added to {item.nodeid} after its fixtures had been set up: add"
            " it earlier (in a decorator, or in pytest_collection_modifyitems), or ask for the"
            f" fixture {MARKER} after the fixture that adds the mark",
            pytrace=False,
        )


def _complaint(item: pytest.Item, *, passed: bool = False) -> str:
    interception = item.stash.get(_INTERCEPTION, None)
    return interception.take_complaint(passed=passed) if interception else ""


def pytest_assertrepr_compare(
    config: pytest.Config, op: str, left: object, right: object
) -> list[str] | None:
    """Explain a plain comparison of jobs, data sources, statuses and phases."""
    import sys

    # Until a model was made, none can be compared.
    if "pytest_indexjob.api.models" not in sys.modules:
        return None
    from pytest_indexjob.checking.assertions import explain_comparison

    lines = explain_comparison(op, left, right)
    interception = config.stash.get(_INTERCEPTION, None)
    return [interception.redact(line) for line in lines] if lines and interception else lines


@pytest.fixture(scope="session")
def indexjob_settings() -> IndexJobSettings:
    """How ``indexjob_client`` reaches the service.

    Override it in a conftest: base URL, token, time-outs.
    """
    from pytest_indexjob.api.settings import IndexJobSettings

    return IndexJobSettings()


@pytest.fixture
def _indexjob_interception(
    request: pytest.FixtureRequest, indexjob_settings: IndexJobSettings
) -> Iterator[Interception]:
    from pytest_indexjob.running.late_redaction import late_redaction
    from pytest_indexjob.running.one_test import end_of_wider_fixtures, interception_for
    from pytest_indexjob.running.reporting import thread_errors

    end_of_wider_fixtures(request.node)
    interception = interception_for(request, indexjob_settings)
    # The running test's also stands at the configuration, for the hook that is not told the test.
    request.node.stash[_INTERCEPTION] = request.config.stash[_INTERCEPTION] = interception
    late_redaction(request.config).follow(request.node.nodeid, interception)
    if not run_settings(request.config).live:
        interception.start()
    with thread_errors(request.config, interception.redact):
        yield interception
    interception.stop()
    del request.config.stash[_INTERCEPTION]
    complaint = interception.take_complaint()
    if complaint:
        pytest.fail(complaint, pytrace=False)


@pytest.fixture
def indexjob_journal(_indexjob_interception: Interception) -> Journal:
    """Every exchange of this test, in order."""
    return _indexjob_interception.journal


@pytest.fixture
def indexjob_cassette(
    request: pytest.FixtureRequest,
    _indexjob_interception: Interception,
    indexjob_settings: IndexJobSettings,
) -> Playback:
    """The recordings that the mark names answer every HTTP client.

    ``.job_uuid``, ``.unplayed``.
    """
    from pytest_indexjob.running.one_test import play

    request.node.stash[_MARKS] = tuple(request.node.iter_markers(MARKER))
    return play(request, _indexjob_interception, indexjob_settings)


@pytest.fixture
def indexjob_clock(
    request: pytest.FixtureRequest, _indexjob_interception: Interception
) -> Iterator[VirtualClock]:
    """The test's clock takes the place of the real one.

    ``.advance(seconds)``, ``.elapsed``, ``.sleeps``, ``.adopt(thread)``. As an argument it takes
    the moment at which it begins: ``parametrize("indexjob_clock", ["2030-01-02T03:04:05Z"],
    indirect=True)``.
    """
    from pytest_indexjob.running.one_test import time_patches_for

    patches = time_patches_for(request, _indexjob_interception)
    patches.start()
    yield _indexjob_interception.clock
    patches.stop()


@pytest.fixture
def indexjob_simulator(
    request: pytest.FixtureRequest,
    _indexjob_interception: Interception,
    indexjob_settings: IndexJobSettings,
) -> Simulator:
    """A simulated service answers every HTTP client.

    ``.start(scenario)``, ``.inject(fault)``.
    """
    from pytest_indexjob.running.one_test import simulate

    return simulate(request, _indexjob_interception, indexjob_settings)


@pytest.fixture
def indexjob_server(
    request: pytest.FixtureRequest, _indexjob_interception: Interception
) -> Iterator[LoopbackServer]:
    """A real HTTP server on this machine, for other processes.

    ``.url``, ``.env``, ``.step_per_poll``. The marked cassette or the simulator answers. Each GET
    moves the test's clock by 5 seconds; ``step_per_poll`` sets another step.
    """
    from pytest_indexjob.running.one_test import serve

    server = serve(request, _indexjob_interception)
    yield server
    server.stop()


@pytest.fixture
def indexjob_client(
    request: pytest.FixtureRequest,
    _indexjob_interception: Interception,
    indexjob_settings: IndexJobSettings,
) -> Iterator[IndexingJobClient]:
    """A client of the API.

    The marked cassette answers, else the simulator; with ``--indexjob-live`` the real service.
    """
    from pytest_indexjob.running.one_test import client_for

    with client_for(request, _indexjob_interception, indexjob_settings) as client:
        yield client


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for ``indexjob_outcome`` once for each end that a job can come to."""
    if "indexjob_outcome" in metafunc.fixturenames:
        from pytest_indexjob.simulation.scenarios import outcomes

        metafunc.parametrize("indexjob_outcome", outcomes(), indirect=True)


@pytest.fixture
def indexjob_outcome(request: pytest.FixtureRequest) -> Scenario:
    """One end that a job can come to, as a scenario to start; the test runs once for each."""
    scenario: Scenario = request.param
    return scenario
