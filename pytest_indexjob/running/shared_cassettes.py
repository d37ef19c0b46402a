"""Which tests of a run record the same cassette, so that a rewrite drops nothing."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest

from pytest_indexjob.recording.library import folder_of
from pytest_indexjob.running.options import MARKER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

SHARED = "indexjob-shared-cassettes"


class SharedCassettes:
    """Which tests record each cassette: also those that ``-k`` or a test's id leaves out.

    Without them a rewrite would drop what they recorded. Registered as a plugin.
    """

    def __init__(self) -> None:
        self._tests: dict[tuple[Path, str], set[str]] = defaultdict(set)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_make_collect_report(self) -> Iterator[None]:
        """Look at all that a file or a class holds, before ids and ``--lf`` choose from it."""
        report: Any = yield
        self._count(report.result or ())
        return report  # type: ignore[no-any-return]

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Look again: the mark may have been added after collection."""
        self._count(items)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Look again: the mark may have been added after collection."""
        self._count(session.items)

    def _count(self, nodes: Iterable[pytest.Item | pytest.Collector]) -> None:
        for node in nodes:
            mark = node.get_closest_marker(MARKER) if isinstance(node, pytest.Item) else None
            # What else may stand in a mark fails its own test.
            if mark is not None and mark.args and isinstance(mark.args[0], str):
                self._tests[_folder(node), mark.args[0]].add(node.nodeid)

    def sharing(self, item: pytest.Item, name: str) -> int:
        """How many tests record to the file of that name."""
        return max(len(self._tests[_folder(item), name]), 1)


def _folder(node: pytest.Item | pytest.Collector) -> Path:
    """Where the cassettes of a test really are: folders may share them by a link."""
    return folder_of(node.path).resolve()
