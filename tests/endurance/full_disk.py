"""Records on a disk that is full: ``python tests/endurance/full_disk.py``, as root on Linux.

The disk is a tmpfs of its own. It is filled up to each of some numbers of free bytes, so that the
write fails before its first byte, in the middle and at its end. Each time the run has to fail and
to say why, the old cassette has to be as it was with nothing beside it, and once there is room
again the same run has to record.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

from service import CONFTEST, left, pages, service

PAGE = 4096
SUITE = """
import os, pytest, requests
URL = {url!r} + "/v2/gen-ai/indexing_jobs?size=300&page="
@pytest.mark.parametrize("n", range(int(os.environ.get("TESTS", 1))))
@pytest.mark.indexjob_cassette("mine")
def test_it(n):
    assert requests.get(URL + os.environ["PAGE"] + str(n)).ok
"""
WAYS = {
    "once": ("once", "1"),
    "new_episodes": ("new_episodes", "1"),
    "all": ("all", "1"),
    "rewrite": ("rewrite", "1"),
    "shared rewrite": ("rewrite", "3"),
}


@contextmanager
def disk(folder):
    """A disk of 1 MiB in a folder."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(command, check=False).returncode:
        sys.exit("a disk of its own can't be mounted here: run it as root on Linux")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill(folder, free):
    """Leave so many bytes free, to the page."""
    filler = folder / "filler"
    stat = os.statvfs(folder)
    filler.write_bytes(b"\0" * (stat.f_bavail * stat.f_frsize - free))
    return filler


def record(suite, mode, page, tests="1", **environment):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, f"--indexjob-record={mode}", "test_it.py"],
        cwd=suite,
        env=os.environ | {"PAGE": page, "TESTS": tests, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def try_way(suite, mount, way, free, old):
    """What went wrong, or ``""``."""
    mode, tests = WAYS[way]
    path = mount / "cassettes" / "mine.yaml"
    path.unlink(missing_ok=True)
    if way != "once":
        path.write_bytes(old)
    filler = fill(mount, free)
    before = path.read_bytes() if path.exists() else None
    code, told = record(suite, mode, "new", tests)
    after = path.read_bytes() if path.exists() else None
    beside = left(path.parent)
    filler.unlink()
    if code == 0 or "the disk is full. The old file is as it was" not in told:
        return f"exit status {code}: {told[-600:]}"
    if "Traceback" in told or after != before or beside:
        return f"changed: {after != before}, beside it: {beside}, {told[-600:]}"
    code, told = record(suite, mode, "new", tests)
    whole = [f"new{n}" for n in range(int(tests))]
    expected = whole if mode == "rewrite" or way == "once" else ["old0", *whole]
    return "" if code == 0 and pages(path) == expected else f"with room again: {told[-600:]}"


def main():
    problems = 0
    with service() as url, tempfile.TemporaryDirectory() as base:
        suite, mount = Path(base, "suite"), Path(base, "disk")
        suite.mkdir()
        (suite / "conftest.py").write_text(CONFTEST.format(url=url))
        (suite / "test_it.py").write_text(SUITE.format(url=url))
        os.environ["TMPDIR"] = base
        with disk(mount):
            (mount / "cassettes").mkdir()
            (suite / "cassettes").symlink_to(mount / "cassettes")
            record(suite, "once", "old")
            old = (mount / "cassettes" / "mine.yaml").read_bytes()
            for way in WAYS:
                for free in (0, PAGE, len(old) // 2 // PAGE * PAGE):
                    problem = try_way(suite, mount, way, free, old)
                    print(f"{way:15} {free:6} bytes free: {problem or 'none lost, none left'}")
                    problems += bool(problem)
            # A disk that takes not even the locks.
            (mount / "tmp").mkdir()
            path = mount / "cassettes" / "mine.yaml"
            path.unlink(missing_ok=True)
            filler = fill(mount, 0)
            code, told = record(suite, "once", "new", TMPDIR=str(mount / "tmp"))
            filler.unlink()
            fine = code == 1 and "the disk is full" in told and not path.exists()
            print(f"locks on it too: {'told' if fine else told[-1500:]}")
            problems += not fine
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
