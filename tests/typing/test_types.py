"""The types that users see are true, by mypy and by pyright."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

USER_CODE = Path(__file__).with_name("user_code.py")
LONGEST_START = 30  # seconds for its download of node, where it has none


def checked(*command, timeout=None):
    done = subprocess.run(
        [sys.executable, "-m", *command],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_a_user_s_file_passes_mypy_strict(tmp_path):
    pytest.importorskip("mypy", reason="needs mypy: pip install '.[lint]'")
    options = ("--strict", "--config-file=", f"--cache-dir={tmp_path}", "--follow-imports=silent")
    status, output = checked("mypy", *options, "--ignore-missing-imports", str(USER_CODE))
    assert status == 0, output


@pytest.mark.slow
def test_a_user_s_file_passes_pyright():
    if find_spec("pyright") is None:
        pytest.skip("needs pyright: pip install '.[lint]'")
    try:
        status, output = checked("pyright", "--version", timeout=LONGEST_START)
    except subprocess.TimeoutExpired:
        pytest.skip("pyright can't download node here: install Node.js")
    if status:
        pytest.skip(f"pyright can't run here: {output.strip()[-200:]}")
    status, output = checked("pyright", "--pythonpath", sys.executable, str(USER_CODE))
    assert status == 0, output
