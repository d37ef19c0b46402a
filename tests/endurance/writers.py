"""Eight runs record one cassette at once, in each mode: ``python tests/endurance/writers.py``.

All eight have asked the service before the first of them writes. Then every answer has to be in the
file: each once in the modes that add, those of one run and no mix in ``rewrite``. The same by one
run with eight workers, whose tests share the cassette.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from service import CONFTEST, left, pages, service

WRITERS, CALLS = 8, 5
SUITE = """
import os, pytest, requests
URL = {url!r} + "/v2/gen-ai/indexing_jobs?size=20&wait="
WRITER = os.environ.get("WRITER")
WAITS = WRITER != "old"
@pytest.mark.parametrize("writer", [WRITER] if WRITER else range({writers}))
@pytest.mark.indexjob_cassette("mine")
def test_it(writer):
    for n in range({calls}):
        # All have asked before any goes on to its end.
        assert requests.get(f"{{URL}}{{int(WAITS and n == 0)}}&page={{writer}}.{{n}}").ok
"""


def start(folder, mode, *options, **environment):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    return subprocess.Popen(
        [*command, f"--indexjob-record={mode}", *options, "test_it.py"],
        cwd=folder,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wrong(mode, there, how):
    """What is wrong with the pages of a cassette, or ``""``."""
    of_each = {str(writer): [f"{writer}.{n}" for n in range(CALLS)] for writer in range(WRITERS)}
    if mode == "rewrite" and how == "runs":
        return "" if there in of_each.values() else f"a mix: {there}"
    expected = [page for mine in of_each.values() for page in mine]
    old = [] if mode in ("once", "rewrite") else [f"old.{n}" for n in range(CALLS)]
    kept = there[len(old) :]
    if sorted(kept) != sorted(expected) or there[: len(old)] != old:
        return f"{len(kept)} answers of {len(expected)}"
    for mine in of_each.values():
        if [page for page in kept if page in mine] != mine:
            return "out of order"
    return ""


def try_mode(folder, mode, how):
    path = folder / "cassettes" / "mine.yaml"
    path.unlink(missing_ok=True)
    if mode != "once":
        first = start(folder, "once", WRITER="old")
        first.communicate()
    if how == "runs":
        writers = [start(folder, mode, WRITER=str(n)) for n in range(WRITERS)]
    else:
        writers = [start(folder, mode, f"-n{WRITERS}")]
    told = [(writer.communicate()[0], writer.returncode) for writer in writers]
    failed = [text for text, code in told if code]
    there = pages(path)
    problem = wrong(mode, there, how) or (failed and failed[0]) or "".join(left(path.parent))
    print(f"{mode:13} {how:8} {len(there):3} answers: {problem or 'none lost, none left behind'}")
    return bool(problem)


def main():
    problems = 0
    with service(WRITERS) as url, tempfile.TemporaryDirectory() as base:
        os.environ["TMPDIR"] = base
        folder = Path(base, "suite")
        (folder / "cassettes").mkdir(parents=True)
        (folder / "conftest.py").write_text(CONFTEST.format(url=url))
        suite = SUITE.format(url=url, writers=WRITERS, calls=CALLS)
        (folder / "test_it.py").write_text(suite)
        for mode in ("once", "new_episodes", "all", "rewrite"):
            for how in ("runs", "workers"):
                problems += try_mode(folder, mode, how)
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
