"""``--indexjob-offline=strict``: the kernel lets nothing of the run reach another machine."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

from pytest_indexjob.interception import kernel_guard

CLOSE = "from pytest_indexjob.interception.kernel_guard import close_network, is_closed\n"
REACH = """
import errno, socket

def reach():
    with socket.socket() as sock:
        sock.settimeout(5)
        try:
            sock.connect(("192.0.2.1", 80))  # reserved for documentation
        except OSError as error:
            return errno.errorcode[error.errno]
    return "connected"

def loopback():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()
"""


def python(source, **options):
    """Run it in a process of its own; gives what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", CLOSE + REACH + textwrap.dedent(source)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        **options,
    )
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def allowed():
    """Skips where this system does not let a process leave its network."""
    said = python("close_network(); print('closed')")
    if said != "closed":
        pytest.skip(said)


def test_a_process_has_only_loopback_and_so_have_its_children(allowed):
    said = python(
        """
        import subprocess, sys
        close_network()
        close_network()  # a worker of a run that has done so
        loopback()
        child = [sys.executable, "-c", "import socket; socket.socket().connect(('192.0.2.1', 80))"]
        done = subprocess.run(child, capture_output=True, text=True)
        print(is_closed(), reach(), "Network is unreachable" in done.stderr)
        """
    )
    assert said == "True ENETUNREACH True"


def test_a_user_who_is_not_root_keeps_who_it_is_and_what_it_may(allowed, tmp_path):
    if os.geteuid():
        pytest.skip("only root can become another user")
    hidden = tmp_path / "hidden"
    said = python(
        f"""
        import ctypes, encodings.idna, fcntl, os
        os.chown({str(tmp_path)!r}, 65534, 65534)
        os.chdir({str(tmp_path)!r})
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        # Who gives root up can't write its own files of /proc until this is set again.
        ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
        try:
            close_network()
        except BaseException as error:
            print(error)
            raise SystemExit
        loopback()
        open("hidden", "w").close()
        os.chmod("hidden", 0)
        try:
            open("hidden")
        except PermissionError:
            print(is_closed(), reach(), os.getuid(), os.getgid())
        """
    )
    if "can't be had" in said:
        pytest.skip(said)
    assert said == "True ENETUNREACH 65534 65534"
    assert hidden.stat().st_uid == 65534


SUITE = (
    REACH
    + """
import subprocess, sys, pytest, requests
JOBS = "https://api.digitalocean.com/v2/gen-ai/indexing_jobs/"

@pytest.mark.parametrize("at", range(4))
def test_nothing_is_in_reach(at):
    assert reach() == "ENETUNREACH"
    loopback()
    child = "import socket; socket.socket().connect(('192.0.2.1', 80))"
    assert subprocess.run([sys.executable, "-c", child], stderr=subprocess.DEVNULL).returncode

def test_answers_come_all_the_same(indexjob_simulator, indexjob_server):
    url = JOBS + indexjob_simulator.start().uuid
    for asked in (url, url.replace("https://api.digitalocean.com", indexjob_server.url)):
        assert requests.get(asked, headers={"Authorization": "Bearer any"}, timeout=5).ok
"""
)


@pytest.mark.parametrize(
    "workers",
    [
        pytest.param((), id=""),
        pytest.param(("-p", "xdist", "-n", "1"), id="xdist", marks=pytest.mark.slow),
    ],
)
def test_a_run(allowed, pytester, workers):
    pytester.makepyfile(SUITE)
    pytester.makeconftest(REACH + "assert reach() == 'ENETUNREACH'")  # so early
    result = pytester.runpytest_subprocess(
        "--indexjob-offline=strict", "-p", "no:cacheprovider", *workers
    )
    result.assert_outcomes(passed=5)


@pytest.mark.parametrize(
    "other",
    ["--indexjob-live", "--indexjob-record=once", "-o indexjob_allowed_hosts=db.example"],
)
def test_a_run_that_also_asks_for_the_network_is_refused(pytester, other):
    pytester.makepyfile("def test_it(): pass")
    result = pytester.runpytest_subprocess("--indexjob-offline=strict", *other.split())
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    said = result.stderr.str() + result.stdout.str()
    assert "--indexjob-offline=strict" in said
    assert "Traceback" not in said


def test_a_run_with_a_thread_is_refused(pytester):
    wait = "threading.Thread(target=threading.Event().wait, daemon=True).start()"
    pytester.makepyfile(early=f"import threading; {wait}")
    pytester.syspathinsert()
    result = pytester.runpytest_subprocess("-p", "early", "--indexjob-offline=strict")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    said = result.stderr.str()
    if "2 threads" not in said and kernel_guard.is_closed():
        pytest.skip("this machine has no network to leave")
    assert "can't be had here: 2 threads run already" in said
    assert "Traceback" not in said


def test_a_system_that_can_not_refuses(monkeypatch):
    monkeypatch.setattr(kernel_guard, "is_closed", lambda: False)
    monkeypatch.setattr(kernel_guard.Path, "iterdir", lambda _: iter(["one"]))

    def refused(_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(kernel_guard, "_unshare", refused)
    with pytest.raises(pytest.UsageError, match=r"Operation not permitted.*--network=none"):
        kernel_guard.close_network()
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(pytest.UsageError, match=r"needs Linux.*darwin"):
        kernel_guard.close_network()
