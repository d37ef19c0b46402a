"""The house: what may import what, the public names, the errors."""

from __future__ import annotations

import ast
import pickle
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import pytest_indexjob
from pytest_indexjob import DecodeError, IndexJobError, RateLimitError, WaitTimeoutError
from pytest_indexjob.virtual_time.clock import START, VirtualClock

PACKAGE = Path(pytest_indexjob.__file__).parent
FLOORS = {
    "__main__": 12,
    "plugin": 11,
    "cli": 11,
    "running": 10,
    "strategies": 9,
    "interception": 8,
    "simulation": 7,
    "upkeep": 6,
    "recording": 5,
    "checking": 5,
    "story": 5,
    "virtual_time": 4,
    "secrecy": 3,
    "replacements": 3,
    "http1": 3,
    "exchange": 2,
    "content_coding": 1,
    "whole_file": 1,
    "api": 1,
}


def room(module):
    return module.split(".")[0]


MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}
# Two imports in functions close circles in `interception`; they are to go.
KNOWN_CIRCLES = {
    ("interception.clients", "interception.connections"),
    ("interception.interception", "interception.sessions"),
}
HTTP_LIBRARIES = {"requests", "httpx", "aiohttp", "urllib3", "http", "urllib.request", "socket"}


def statements(path):
    """Every import of a file, also of functions, but for those that only type checkers see."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
    return [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]


def imports(path):
    """The modules of ours that a file imports, with the names that it takes from each."""
    for node in statements(path):
        if isinstance(node, ast.Import):
            for name in node.names:
                if name.name.split(".")[0] == "pytest_indexjob":
                    yield name.name.removeprefix("pytest_indexjob").lstrip("."), ""
        elif node.module and node.module.split(".")[0] == "pytest_indexjob":
            base = node.module.removeprefix("pytest_indexjob").lstrip(".")
            for name in node.names:
                module = f"{base}.{name.name}".lstrip(".")
                yield (module, "") if module in MODULES else (base, name.name)


IMPORTS = {here: list(imports(path)) for here, path in MODULES.items() if here != "__init__"}


def test_arrows_only_go_down():
    wrong = [
        f"{here} imports {there}"
        for here, found in IMPORTS.items()
        for there, _ in found
        if there and room(there) != room(here) and FLOORS[room(there)] >= FLOORS[room(here)]
    ]
    assert wrong == []
    assert all(isinstance(floor, int) for floor in FLOORS.values())


def test_no_circle_stands_anywhere():
    graph = {
        here: {
            there for there, _ in found if there in IMPORTS and (here, there) not in KNOWN_CIRCLES
        }
        for here, found in IMPORTS.items()
    }
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_the_service_s_facts_need_nothing_and_cost_no_http_library():
    for here, found in IMPORTS.items():
        if room(here) == "api":
            assert [there for there, _ in found if room(there) != "api"] == [], here
            if here != "api.client":
                names = {
                    name
                    for node in statements(MODULES[here])
                    for name in (
                        [each.name for each in node.names]
                        if isinstance(node, ast.Import)
                        else [node.module]
                    )
                }
                assert not names & HTTP_LIBRARIES, here


def test_the_client_s_module_is_imported_for_the_client_alone():
    for here, found in IMPORTS.items():
        if FLOORS[room(here)] < FLOORS["strategies"]:
            names = {name for there, name in found if there == "api.client"}
            assert names <= {"IndexingJobClient"}, here


def test_every_public_name_loads_and_is_declared_to_type_checkers():
    for name in dir(pytest_indexjob):
        assert getattr(pytest_indexjob, name) is not None
    declared = {
        node.split(" as ")[1].rstrip(",")
        for node in (PACKAGE / "__init__.py").read_text().splitlines()
        if " as " in node
    }
    assert declared == set(dir(pytest_indexjob)) - {"__version__"}
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = pytest_indexjob.nonsense


def test_the_package_itself_loads_nothing():
    code = (
        "import sys, pytest_indexjob; print([name for name in sys.modules if"
        " name.startswith('pytest_indexjob.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_error_travels_to_another_process_with_its_fields():
    made = [
        DecodeError("$.x", "a count was expected"),
        RateLimitError(429, "id", "message", "request", "GET /"),
        WaitTimeoutError("text", job=None, polls=(), timeout=3.0),
    ]
    for error in made:
        other = pickle.loads(pickle.dumps(error))
        assert (type(other), str(other), vars(other)) == (type(error), str(error), vars(error))
        assert isinstance(other, IndexJobError)


def test_virtual_time():
    clock = VirtualClock()
    clock.sleep(3)
    clock.advance(0.5)
    assert (clock.elapsed, clock.monotonic(), clock.time(), clock.sleeps) == (
        3.5,
        3.5,
        START + 3.5,
        [3],
    )
    for wrong in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="only go forwards"):
            clock.advance(wrong)
    with pytest.raises(ValueError, match="non-negative"):
        clock.sleep(-1)
