"""Takes secrets out of what pytest says of a test besides the reports of its phases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_indexjob.interception.interception import Interception


class LateRedaction:
    """Takes the secrets out of the reports of subtests, and out of warnings.

    pytest copies a report that the plugin has redacted, adds captured output, and reports this as a
    subtest. It reports warnings after the whole test.
    """

    def __init__(self) -> None:
        self._test = ""
        self._interception: Interception | None = None

    def follow(self, test: str, interception: Interception) -> None:
        """Redact from now on what pytest says of this test; ``test`` is its node id."""
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
            # pytest's message names the class already, and the class may take other arguments.
            warning_message.message = Warning(redacted)


def late_redaction(config: pytest.Config) -> LateRedaction:
    """The redaction of this run's late reports; the first call registers it as a plugin."""
    found = config.stash.get(_LATE, None)
    if found is None:
        found = config.stash[_LATE] = LateRedaction()
        config.pluginmanager.register(found, "indexjob-late-redaction")
    return found


_LATE = pytest.StashKey[LateRedaction]()
