"""What the plugin puts in place beside patches of the test's own: nothing of it works on after
its test."""

from __future__ import annotations

import pytest

from pytest_indexjob.replacements import Replacements, original

# In each, the test's own patch is made after the plugin's and undone after it, and so brings the
# plugin's back.
LAID_OVER = """
import http.client, socket, threading, time
import pytest, requests

def test_lays_its_own_over_ours(monkeypatch, indexjob_simulator, indexjob_clock):
    for owner, name in PLACES:
        monkeypatch.setattr(owner, name, lambda *_, **__: None)
    time.sleep(3)
    assert indexjob_clock.elapsed == ELAPSED
"""
TIME = "PLACES, ELAPSED = [(time, 'sleep'), (time, 'monotonic'), (time, 'perf_counter')], 0\n"
CALLS = (
    "PLACES, ELAPSED = [(socket, 'getaddrinfo'), (socket.socket, 'connect'),"
    " (http.client.HTTPConnection, "
)
CALLS += "'connect'), (http.client.HTTPConnection, 'putrequest')], 3\n"


def assert_pass(pytester, *sources):
    source = "\n".join(sources)
    pytester.makepyfile(source)
    result = pytester.runpytest_subprocess(
        "-p", "no:randomly", "-p", "no:cacheprovider", "-W", "error"
    )
    result.assert_outcomes(passed=source.count("def test_"))


@pytest.mark.slow
def test_time_is_real_again_after_a_patch_laid_over_it(pytester):
    assert_pass(
        pytester,
        LAID_OVER,
        TIME,
        """
def test_without_the_plugin():
    before = time.clock_gettime(time.CLOCK_MONOTONIC)
    assert before <= time.monotonic() <= time.clock_gettime(time.CLOCK_MONOTONIC)
    assert time.perf_counter() >= before
""",
    )


@pytest.mark.slow
def test_the_next_clock_takes_the_place_of_one_that_a_patch_brought_back(pytester):
    assert_pass(
        pytester,
        LAID_OVER,
        TIME,
        """
def test_with_a_clock_of_its_own(indexjob_clock):
    before = time.monotonic()
    time.sleep(86400)
    assert indexjob_clock.elapsed == round(time.monotonic() - before) == 86400
""",
    )


@pytest.mark.slow
def test_nothing_is_guarded_or_answered_after_a_patch_laid_over_it(pytester):
    assert_pass(
        pytester,
        LAID_OVER,
        CALLS,
        """
def test_without_the_plugin():
    socket.getaddrinfo("192.0.2.1", 80)  # an address needs no look-up
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()):
            pass
    connection = http.client.HTTPSConnection("api.digitalocean.com", timeout=0.001)
    connection.sock, sent = None, []
    connection._create_connection = lambda address, *_: sent.append(address) or None
    connection._context = type("Context", (), {"wrap_socket": lambda *_, **__: None})()
    try:
        connection.connect()
    except AttributeError:
        pass  # there is no socket to set an option of
    assert sent == [("api.digitalocean.com", 443)]

def test_with_a_simulator_of_its_own(indexjob_simulator):
    url = "https://api.digitalocean.com/v2/gen-ai/indexing_jobs"
    assert requests.get(url, headers={"Authorization": "Bearer any"}).json()["jobs"] == []
""",
    )


@pytest.mark.slow
def test_a_module_first_imported_under_virtual_time_follows_the_clock_of_each_test(pytester):
    pytester.makepyfile(poller="from time import monotonic, sleep as pause\n")
    assert_pass(
        pytester,
        """
import time

def test_imports_it(indexjob_clock):
    import poller
    poller.pause(60)
    assert indexjob_clock.elapsed == 60

def test_with_a_clock_of_its_own(indexjob_clock):
    import poller
    poller.pause(3600)
    assert indexjob_clock.elapsed == 3600

def test_without_one():
    import poller
    before = time.clock_gettime(time.CLOCK_MONOTONIC)
    assert before <= poller.monotonic() <= time.clock_gettime(time.CLOCK_MONOTONIC)
""",
    )


@pytest.mark.slow
def test_a_patch_found_in_place_hides_no_real_function_from_this_clock_or_the_next(pytester):
    pytester.makepyfile(poller="from time import sleep as pause\n")
    assert_pass(
        pytester,
        """
import time
import poller

def test_over_a_patch(monkeypatch, request):
    monkeypatch.setattr(time, "sleep", lambda _: None)
    clock = request.getfixturevalue("indexjob_clock")
    time.sleep(10)
    poller.pause(20)
    assert clock.sleeps == [10, 20]

def test_over_none(indexjob_clock):
    time.sleep(10)
    poller.pause(20)
    assert indexjob_clock.sleeps == [10, 20]
""",
    )


def test_what_a_patch_brought_back_is_removed_so_that_none_pile_up(monkeypatch):
    class Owner:
        def method(self):
            return "real"

    real, replacements = Owner.method, Replacements()
    for _ in range(3):
        with monkeypatch.context() as patch:
            below = original(Owner, "method")
            replacements.put(Owner, "method", lambda self, below=below: below(self))
            patch.setattr(Owner, "method", lambda self: "the test's own")
            replacements.put_back()
            assert Owner().method() == "the test's own"
        assert Owner.method is not real
        assert Owner().method() == "real"
    assert original(Owner, "method") is real
    assert Owner.method is real


def test_an_inherited_method_is_inherited_again():
    class Parent:
        def method(self):
            return "real"

    class Child(Parent):
        pass

    replacements = Replacements()
    replacements.put(Child, "method", lambda self: "replaced")
    replacements.put_back()
    assert "method" not in vars(Child)
