"""What a test's report says: the story of what the service said, and errors without secrets."""

from __future__ import annotations

import contextlib
import dataclasses
import sysconfig
import threading
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

import pytest

from pytest_indexjob.replacements import Replacements

if TYPE_CHECKING:
    from pytest_indexjob.interception.interception import Interception

TITLE = "indexing jobs"
_TOLD = pytest.StashKey[bool]()

Redact = Callable[[str], str]


def clean_errors(
    excinfo: pytest.ExceptionInfo[BaseException], config: pytest.Config, redact: Redact
) -> None:
    """Take the secrets, and the frames below the user's, out of an error and those that led to it.

    Only errors that this package raised are changed. ``--tb=native`` and ``--full-trace`` show
    every frame.
    """
    before = excinfo.value.__traceback__
    _clean(excinfo.value, config, redact)
    if excinfo.value.__traceback__ is not before:
        excinfo.traceback = _traceback_of(excinfo.value)


def _clean(error: BaseException, config: pytest.Config, redact: Redact) -> None:
    whole = config.option.tbstyle == "native" or config.option.fulltrace
    for each in _with_causes(error):
        frames = list(_frames(each))
        if not frames or not _is_ours(frames[-1]):
            continue
        each.args = tuple(redact(text) if isinstance(text, str) else text for text in each.args)
        last = max((at for at, frame in enumerate(frames) if _is_users(frame)), default=None)
        if not whole and last is not None:
            each.__traceback__ = _cut_after(frames[: last + 1])


@contextlib.contextmanager
def thread_errors(config: pytest.Config, redact: Redact) -> Iterator[None]:
    """Within it, the errors by which this package ends a thread end at the user's line.

    The failure of a whole test (a loop that never ends, a test in which nobody can move) is not
    reported for each of its threads: the test itself fails with that text. Needs pytest 8.4, which
    hears of threads' errors for the whole run; older versions hear of them in each phase of a test.
    """
    before = threading.excepthook

    def hook(args: threading.ExceptHookArgs, /) -> None:
        error = args.exc_value
        if error is None or _is_failure_of_the_test(error):
            return
        _clean(error, config, redact)
        shown = (args.exc_type, error, error.__traceback__, args.thread)
        before(threading.ExceptHookArgs(shown))

    replacements = Replacements()
    replacements.put(threading, "excepthook", hook)
    try:
        yield
    finally:
        replacements.put_back()


def _is_failure_of_the_test(error: BaseException) -> bool:
    # The innermost frame is that of `pytest.fail` itself.
    *_, caller, _ = (None, None, *_frames(error))
    return isinstance(error, pytest.fail.Exception) and caller is not None and _is_ours(caller)


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        waiting += [each.__cause__, each.__context__]
        waiting += each.exceptions if isinstance(each, BaseExceptionGroup) else ()
        yield each


def _frames(error: BaseException) -> Iterator[TracebackType]:
    trace = error.__traceback__
    while trace is not None:
        yield trace
        trace = trace.tb_next


def _is_ours(frame: TracebackType) -> bool:
    name = str(frame.tb_frame.f_globals.get("__name__", ""))
    return name.partition(".")[0] == "pytest_indexjob"


def _is_users(frame: TracebackType) -> bool:
    file = frame.tb_frame.f_code.co_filename
    return not _is_ours(frame) and not file.startswith(_LIBRARIES)


_LIBRARIES = ("<", *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")))


def _cut_after(frames: Sequence[TracebackType]) -> TracebackType | None:
    trace: TracebackType | None = None
    for frame in reversed(frames):
        trace = TracebackType(trace, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    return trace


def _traceback_of(error: BaseException) -> Any:
    return pytest.ExceptionInfo.from_exception(error).traceback


def redact_report(report: Any, interception: Interception) -> None:
    """Take the secrets out of what a report says.

    That is its captured output, its log, its traceback, its properties, why it was expected to
    fail, and the message and parameters of a subtest.
    """
    redact = interception.redact_values
    report.sections = [(name, redact(text)) for name, text in report.sections]
    report.longrepr = _redacted(report.longrepr, redact)
    report.user_properties = _redacted(report.user_properties, redact)
    if hasattr(report, "wasxfail"):
        report.wasxfail = redact(report.wasxfail)
    context = getattr(report, "context", None)
    if dataclasses.is_dataclass(context):
        for field in dataclasses.fields(context):
            value = _redacted(getattr(context, field.name), redact)
            object.__setattr__(context, field.name, value)  # it is frozen


def _redacted(part: Any, redact: Callable[[str], str]) -> Any:
    """A text redacted, or a representation of an exception whose texts are redacted in place."""
    if isinstance(part, str):
        return redact(part)
    if type(part) in (list, tuple):  # a subclass may take other arguments
        return type(part)(_redacted(each, redact) for each in part)
    if type(part) is dict:
        return {name: _redacted(value, redact) for name, value in part.items()}
    if type(part).__module__ == "_pytest._code.code":
        for name, value in vars(part).items():
            setattr(part, name, _redacted(value, redact))
    return part


def tell_story(item: pytest.Item, report: Any, interception: Interception) -> None:
    """Add the story of what the service said to the report of a test that failed.

    With ``-rP`` the report of every test has it.
    """
    exchanges = interception.journal.exchanges
    wanted = report.failed or (
        report.when == "call" and report.passed and _asked_for_passed(item.config)
    )
    if not wanted or not exchanges or item.stash.get(_TOLD, False):
        return
    from pytest_indexjob.story.text import story_text

    item.stash[_TOLD] = True
    # A worker of pytest-xdist has no terminal.
    has_terminal = item.config.pluginmanager.has_plugin("terminalreporter")
    writer = item.config.get_terminal_writer() if has_terminal else None
    # In a file of results colours would be noise.
    color = (
        writer is not None and writer.hasmarkup and not getattr(item.config.option, "xmlpath", None)
    )
    text = story_text(
        interception.shown_exchanges(),
        interception.sleeps,
        redact=interception.redact,
        width=min(writer.fullwidth if writer else 100, 120),
        color=color,
        verbose=item.config.get_verbosity() > 0,
    )
    if hasattr(report.longrepr, "addsection"):
        report.longrepr.addsection(TITLE, text)
    else:
        report.sections.append((TITLE, text))


def _asked_for_passed(config: pytest.Config) -> bool:
    return bool(set("PA") & set(config.getoption("reportchars", "") or ""))
