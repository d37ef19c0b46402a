"""pytest's door: options, markers, hooks, fixtures. What they do is done elsewhere, and imported when needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_indexjob.api.client import IndexingJobClient, IndexJobSettings
    from pytest_indexjob.exchange import Journal
    from pytest_indexjob.interception import Interception
    from pytest_indexjob.recording.cassette import Playback
    from pytest_indexjob.simulation.clock import VirtualClock
    from pytest_indexjob.simulation.server import LoopbackServer
    from pytest_indexjob.simulation.simulator import Simulator

T = TypeVar("T")

MARKER = "indexjob_cassette"
_INTERCEPTION = pytest.StashKey["Interception"]()
# What recorded and simulated answers are asked with, so that no real token is in a test.
_TEST_TOKEN = "not-a-real-token"  # noqa: S105


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options and ini keys, all of which begin with ``indexjob``."""
    group = parser.getgroup("indexjob", "indexing jobs (pytest-indexjob)")
    group.addoption(
        "--indexjob-live",
        action="store_true",
        help="let the real service answer: it is slow and billed, and needs DIGITALOCEAN_ACCESS_TOKEN",
    )
    parser.addini(
        "indexjob_allowed_hosts",
        "hosts besides this machine that tests with this plugin may reach: exact names or *.example.com",
        type="args",
        default=[],
    )
    parser.addini("indexjob_max_polls", "requests in one test after which it fails as endless", default="10000")
    parser.addini("indexjob_max_hours", "hours of a test's clock after which it fails as endless", default="48")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line(
        "markers",
        f"{MARKER}(*names, strict=False): answer every indexing-job call of the test from these recordings (or from "
        "the test's own); strict also fails the test if recorded answers were left unplayed",
    )


def pytest_itemcollected(item: pytest.Item) -> None:
    """Make the marker enough by itself."""
    names = getattr(item, "fixturenames", None)
    if names is not None and item.get_closest_marker(MARKER) and MARKER not in names:
        # Before the other fixtures of the test, whose calls it is to answer; after the wider ones, which are not the
        # test's. pytest has no public name for a fixture's scope.
        known = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
        own = (at for at, name in enumerate(names) if known.get(name) and known[name][-1].scope == "function")
        names.insert(next(own, len(names)), MARKER)


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
    return result


def _complaint(item: pytest.Item, *, passed: bool = False) -> str:
    interception = item.stash.get(_INTERCEPTION, None)
    return interception.complaint(passed=passed) if interception else ""


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Explain a plain comparison of jobs, data sources, statuses and phases."""
    import sys

    # Until a model was made, none can be compared.
    if "pytest_indexjob.api.models" not in sys.modules:
        return None
    from pytest_indexjob.checking.assertions import explain_comparison

    return explain_comparison(op, left, right)


@pytest.fixture(scope="session")
def indexjob_settings() -> IndexJobSettings:
    """How ``indexjob_client`` reaches the service. Override it in a conftest: base URL, token, time-outs."""
    from pytest_indexjob.api.client import IndexJobSettings

    return IndexJobSettings()


@pytest.fixture
def _indexjob_interception(
    request: pytest.FixtureRequest, indexjob_settings: IndexJobSettings
) -> Iterator[Interception]:
    from pytest_indexjob.exchange import Journal
    from pytest_indexjob.interception import Interception
    from pytest_indexjob.simulation.clock import VirtualClock

    interception = Interception(
        Journal(),
        VirtualClock(),
        test=request.node.nodeid,
        base_url=indexjob_settings.base_url,
        allowed_hosts=request.config.getini("indexjob_allowed_hosts"),
        max_polls=int(_ini_number(request.config, "indexjob_max_polls")),
        max_hours=_ini_number(request.config, "indexjob_max_hours"),
    )
    request.node.stash[_INTERCEPTION] = interception
    if not request.config.getoption("--indexjob-live"):
        interception.start()
    yield interception
    interception.stop()
    complaint = interception.complaint()
    if complaint:
        pytest.fail(complaint, pytrace=False)


def _ini_number(config: pytest.Config, name: str) -> float:
    text = config.getini(name)
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not number > 0:
        raise pytest.UsageError(f"{name} must be a number above 0, not {text!r}")
    return number


@pytest.fixture
def indexjob_journal(_indexjob_interception: Interception) -> Journal:
    """Every exchange of this test, in order."""
    return _indexjob_interception.journal


@pytest.fixture
def indexjob_cassette(
    request: pytest.FixtureRequest, _indexjob_interception: Interception, indexjob_settings: IndexJobSettings
) -> Playback:
    """The recordings that the mark names, put in front of every HTTP client: ``.job_uuid``, ``.unplayed``."""
    from pytest_indexjob.recording.library import name_for_test, open_cassettes

    names, strict = _mark_arguments(request.node.get_closest_marker(MARKER))
    test = f"{request.cls.__name__}.{request.node.name}" if request.cls else request.node.name
    names = names or (name_for_test(request.path.stem, test),)
    folder = request.path.parent / "cassettes"
    playback = _or_fail(lambda: open_cassettes(names, folder, base_url=indexjob_settings.base_url))
    _indexjob_interception.play(playback, strict=strict and not request.config.getoption("--indexjob-live"))
    return playback


def _mark_arguments(mark: pytest.Mark | None) -> tuple[tuple[str, ...], bool]:
    names, options = (mark.args, dict(mark.kwargs)) if mark else ((), {})
    strict = options.pop("strict", False)
    if options or not all(isinstance(name, str) and name for name in names) or not isinstance(strict, bool):
        given = ", ".join([*map(repr, names), *(f"{key}=..." for key in options), f"strict={strict!r}"])
        pytest.fail(
            f"@pytest.mark.{MARKER} takes cassettes' names and strict=True or False, not {given}", pytrace=False
        )
    return names, strict


def _or_fail(work: Callable[[], T]) -> T:
    """What work gives; an error of ours fails the test with its text alone, as a traceback would say nothing more."""
    from pytest_indexjob.api.errors import IndexJobError

    try:
        return work()
    except IndexJobError as error:
        text = str(error)
    pytest.fail(text, pytrace=False)


@pytest.fixture
def indexjob_clock(_indexjob_interception: Interception) -> Iterator[VirtualClock]:
    """The test's clock, in the place of the real one: ``.advance(seconds)``, ``.elapsed``, ``.sleeps``."""
    from pytest_indexjob.simulation.clock import TimePatches

    patches = TimePatches(_indexjob_interception.clock)
    patches.start()
    yield _indexjob_interception.clock
    patches.stop()


@pytest.fixture
def indexjob_simulator(
    request: pytest.FixtureRequest, _indexjob_interception: Interception, indexjob_settings: IndexJobSettings
) -> Simulator:
    """A service that computes its answers, in front of every HTTP client: ``.start(scenario)``, ``.inject(fault)``."""
    from pytest_indexjob.simulation.simulator import Simulator

    if request.config.getoption("--indexjob-live"):
        pytest.skip("with --indexjob-live the real service answers, so nothing is simulated")
    if MARKER in request.fixturenames:
        pytest.fail(f"either the simulator answers a test or the recording of its {MARKER} mark", pytrace=False)
    interception = _indexjob_interception
    simulator = Simulator(interception.clock, journal=interception.journal, base_url=indexjob_settings.base_url)
    interception.simulate(simulator)
    return simulator


@pytest.fixture
def indexjob_server(request: pytest.FixtureRequest, _indexjob_interception: Interception) -> Iterator[LoopbackServer]:
    """A real HTTP server on this machine, for other processes: ``.url``, ``.env``, ``.step_per_poll``.

    The marked cassette or the simulator answers. Each GET moves the clock by 5 s unless ``step_per_poll`` says else.
    """
    from pytest_indexjob.simulation.server import LoopbackServer

    interception = _indexjob_interception
    simulator: Simulator | None = None
    if MARKER not in request.fixturenames:
        simulator = request.getfixturevalue("indexjob_simulator")
    server = LoopbackServer(interception.answer_elsewhere, clock=interception.clock, step_per_poll=5.0).start()
    if simulator is not None:
        simulator.report_url = f"{server.url}/reports"
    yield server
    server.stop()


@pytest.fixture
def indexjob_client(
    request: pytest.FixtureRequest, _indexjob_interception: Interception, indexjob_settings: IndexJobSettings
) -> Iterator[IndexingJobClient]:
    """A client of the API: the marked cassette answers, or the simulator, or with ``--indexjob-live`` the service."""
    from pytest_indexjob.api.client import IndexingJobClient

    settings, live = indexjob_settings, request.config.getoption("--indexjob-live")
    if not live and MARKER not in request.fixturenames:
        request.getfixturevalue("indexjob_simulator")
    interception = _indexjob_interception
    with IndexingJobClient(
        settings.token or (None if live else _TEST_TOKEN),
        base_url=settings.base_url,
        timeout=settings.timeout,
        retries=settings.retries,
        session=interception.live_session() if live else interception.session(),
        clock=None if live else interception.clock,
    ) as client:
        yield client
