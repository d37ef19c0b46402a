"""What the package keeps for the length of the process is bounded."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil

import pytest

import pytest_indexjob

# The command; importing it runs it.
NO_IMPORT = {"pytest_indexjob.__main__"}


def modules():
    found = pkgutil.walk_packages(pytest_indexjob.__path__, "pytest_indexjob.")
    return [importlib.import_module(each.name) for each in found if each.name not in NO_IMPORT]


def values():
    """Whatever stands in a module of the package or in one of its classes, by its name."""
    for module in modules():
        for name, value in vars(module).items():
            if name.startswith("__"):
                continue
            if getattr(value, "__module__", module.__name__) != module.__name__:
                continue
            yield f"{module.__name__}.{name}", value
            if inspect.isclass(value):
                for inner, held in vars(value).items():
                    yield f"{module.__name__}.{name}.{inner}", held


def test_every_cache_of_a_function_is_bounded():
    caches = {
        name: value for name, value in values() if isinstance(value, functools._lru_cache_wrapper)
    }
    assert len(caches) > 5
    unbounded = [
        name
        for name, value in caches.items()
        # Without an argument there is one value.
        if value.cache_parameters()["maxsize"] is None and inspect.signature(value).parameters
    ]
    assert unbounded == []


def sizes():
    return {
        name: len(value)
        for name, value in values()
        if hasattr(value, "__len__") and not isinstance(value, str | bytes | tuple | type)
    }


SUITE = """
import time
import pytest, requests

@pytest.mark.parametrize("at", range(3))
def test_NAME(at, indexjob_simulator, indexjob_clock):
    job = indexjob_simulator.start(files=at + 3)
    url = f"https://api.digitalocean.com/v2/gen-ai/indexing_jobs/{job.uuid}?page=NAME{at}"
    answer = requests.get(url, headers={"Authorization": f"Bearer NAME{at}"}, timeout=5)
    time.sleep(at)
    assert answer.ok
"""


def run(pytester, name):
    pytester.makepyfile(**{f"test_{name}": SUITE.replace("NAME", name)})
    # What an inner run imports stays imported, so that every run finds the same modules.
    result = pytester.inline_run("-p", "no:cacheprovider", f"test_{name}.py")
    assert result.ret == pytest.ExitCode.OK


def test_nothing_in_a_module_grows_with_the_tests(pytester):
    for name in ("first", "second"):  # the first imports what its tests use
        run(pytester, name)
    before = sizes()
    for name in ("third", "fourth", "fifth"):
        run(pytester, name)
    after = sizes()
    assert {name: size for name, size in after.items() if size > before.get(name, 0)} == {}
