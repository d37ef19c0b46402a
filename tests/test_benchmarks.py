"""The benchmarks run, at small sizes: what they measure then means nothing, and decides nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow
# Without these the benchmarks can't be set up.
for needed in ("pygal", "pytest_httpserver", "pytest_httpx", "selenium"):
    # Not by importing it: pygal puts a finder into this process that breaks other tests.
    if find_spec(needed) is None:
        pytest.skip(f"needs {needed}: pip install '.[benchmark]'", allow_module_level=True)

PARTS = ("replay", "record", "first_use", "simulate", "timeline", "coverage", "report", "ingest")


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("part", PARTS)
def test_every_part_writes_its_section(part, tmp_path):
    if part == "report" and shutil.which("chromedriver") is None:
        pytest.skip("needs Chromium and chromedriver")
    done = run("--quick", "--output", tmp_path, part)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "RESULTS.md").read_text()
    assert f"`python -m benchmarks {part}`: " in text
    assert "A quick run" in text
    measured = json.loads((tmp_path / "results.json").read_text())
    assert list(measured) == [part]
    assert all(figure["values"] for figure in measured[part]["figures"])
    curves = [path.read_bytes() for path in (tmp_path / "curves").glob("*.svg")]
    assert len(curves) == len(measured[part]["curves"])
    assert all(b"<svg" in curve for curve in curves)


def test_a_part_replaces_its_section_and_leaves_the_others(tmp_path):
    for part in ("timeline", "ingest", "timeline"):
        assert run("--quick", "--output", tmp_path, part).returncode == 0
    text = (tmp_path / "RESULTS.md").read_text()
    assert (text.count("## Timeline"), text.count("## Whole ingest")) == (1, 1)


def test_a_missed_aim_is_named():
    sys.path.insert(0, str(ROOT))
    try:
        from benchmarks.figures import Figure
        from benchmarks.results import _missed
    finally:
        sys.path.remove(str(ROOT))
    slow = Figure("ours", "s", [2, 4, 3], "theirs", [2, 2, 2], 1.2)
    fast = slow._replace(values=[1, 1, 1])
    parts = {"x": {"title": "Part", "figures": [slow._asdict(), fast._asdict()]}}
    assert "1 of 2 aims are reached. Missed:" in _missed(parts)
    assert "- Part: ours against theirs: 1.50, aim at most 1.2" in _missed(parts)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(["--quick"], "name another folder"), (["nope"], "there is no part 'nope'")],
)
def test_a_wrong_call_is_refused(arguments, told):
    done = run(*arguments)
    assert (done.returncode, told in done.stderr) == (2, True)
