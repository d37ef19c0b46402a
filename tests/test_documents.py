"""README and docs do as they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCKS = [
    pytest.param(match.group(1), id=f"{path.name}-{at}")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    for at, match in enumerate(
        re.finditer(r"^```python\n(.*?)^```$", path.read_text(), re.MULTILINE | re.DOTALL)
    )
]


@pytest.mark.parametrize("block", BLOCKS)
def test_every_python_block_runs(pytester, block):
    pytester.makeini("[pytest]\nfilterwarnings = error\n")
    pytester.makepyfile(
        test_block=block if "def test_" in block else f"{block}\n\ndef test_it():\n    pass\n"
    )
    result = pytester.runpytest("-p", "no:cacheprovider")
    assert result.ret == 0
    assert result.parseoutcomes()["passed"] >= block.count("def test_")


def test_the_readme_fits_on_two_screens_and_has_two_commands():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) < 120
    assert text.count("```sh\n") == 2


def test_every_link_leads_somewhere():
    for path in (
        ROOT / "README.md",
        ROOT / "cassettes" / "README.md",
        *(ROOT / "docs").glob("*.md"),
    ):
        for link in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
            assert (path.parent / link).exists(), f"{path}: {link}"
