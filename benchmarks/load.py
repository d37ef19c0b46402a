"""Runs the tests of virtual time beside busy processes: `python benchmarks/load.py 50`.

Each argument after the number goes to pytest. Exit status 1: the outcome of a test differed between
runs, or a test did not pass.
"""

from __future__ import annotations

import collections
import contextlib
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path

TESTS = str(Path(__file__).parents[1] / "tests" / "virtual_time")


@contextlib.contextmanager
def busy_processes():
    command = [sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(command) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def outcomes(arguments):
    """The outcome of each test in one run: `passed`, or the words of pytest's JUnit file."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "outcomes.xml")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short"]
        subprocess.run([*command, f"--junit-xml={file}", TESTS, *arguments], check=False)
        cases = ET.parse(file).iter("testcase")
        return {
            f"{case.get('classname')}::{case.get('name')}": case[0].tag if len(case) else "passed"
            for case in cases
        }


def main(times="10", *arguments):
    seen = collections.defaultdict(collections.Counter)
    with busy_processes():
        for _ in range(int(times)):
            for test, outcome in outcomes(arguments).items():
                seen[test][outcome] += 1
    wrong = {test: dict(counts) for test, counts in seen.items() if counts["passed"] != int(times)}
    for test, counts in wrong.items():
        print(f"{test}: {counts}")
    print(f"{times} runs of {len(seen)} tests, {len(wrong)} of which did not always pass")
    return bool(wrong) or not seen


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
