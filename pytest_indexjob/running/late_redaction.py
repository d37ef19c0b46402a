"""What pytest tells of a test beside the reports of its phases, without secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_indexjob.interception.interception import Interception


class LateRedaction:
    """Takes the secrets out of the reports of subtests, and out of warnings.

    pytest makes the report of a subtest from one that the plugin has seen, and adds what was
    captured; it tells of warnings once the whole test is over.
    """

    def __init__(self) -> None:
        self._test = ""
        self._interception: Interception | None = None

    def follow(self, test: str, interception: Interception) -> None:
        """Redact from now on what is told of this test, whose name is its node id."""
        self._test, self._interception = test, interception

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: Any) -> None:
        """Redact the report of a subtest."""
        is_subtest = hasattr(report, "context") and report.nodeid == self._test
        if is_subtest and self._interception is not None:
            from pytest_indexjob.running.reporting import redact_report

            redact_report(report, self._interception)

    @pytest.hookimpl(tryfirst=True)
    def pytest_warning_recorded(self, warning_message: Any, nodeid: str) -> None:
        """Redact the text of a warning."""
        if nodeid != self._test or self._interception is None:
            return
        text = str(warning_message.message)
        redacted = self._interception.redact_values(text)
        if redacted != text:
            # Its class stands in the message as well; making an object of it may need more.
            warning_message.message = Warning(redacted)


def late_redaction(config: pytest.Config) -> LateRedaction:
    """The one of this run, which is registered when it is first asked for."""
    found = config.stash.get(_LATE, None)
    if found is None:
        found = config.stash[_LATE] = LateRedaction()
        config.pluginmanager.register(found, "indexjob-late-redaction")
    return found


_LATE = pytest.StashKey[LateRedaction]()
