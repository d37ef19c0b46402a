"""The house: what may import what, the public names, the errors."""

from __future__ import annotations

import ast
import pickle
import re
import subprocess
import sys
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
    "durations": 0,
}


HTTP_LIBRARIES = {"aiohttp", "http", "httpx", "requests", "urllib3", "vcr"}
# Who makes calls of its own: the fixture's client, and the commands that ask the live service.
CALLERS = {"running.one_test", "recording.life", "upkeep.live"}


def name_of(path):
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


MODULES = {name_of(path): path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"}


def room(module):
    return module.split(".")[0]


def imports(path):
    """The modules that a file imports when it runs, at its head or within a function."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_imports(path):
    """The package's own modules among them; public names count as the modules that hold them."""
    for name in imports(path):
        if name.startswith("pytest_indexjob."):
            asked = name.removeprefix("pytest_indexjob.")
            module = pytest_indexjob._HOME.get(asked, pytest_indexjob._MODULES.get(asked, asked))
            while module and module not in MODULES:
                module = module.rpartition(".")[0]
            if module:
                yield module


GRAPH = {module: set(own_imports(path)) - {module} for module, path in MODULES.items()}


def test_every_file_has_a_floor():
    assert {room(module) for module in MODULES} == set(FLOORS)
    assert all(isinstance(floor, int) for floor in FLOORS.values())


def test_arrows_only_go_down():
    wrong = [
        f"{here} imports {there}"
        for here, theirs in GRAPH.items()
        for there in theirs
        if room(there) != room(here) and FLOORS[room(there)] >= FLOORS[room(here)]
    ]
    assert wrong == []


def test_there_is_no_circle():
    left = {module: set(theirs) for module, theirs in GRAPH.items()}
    while free := [module for module, theirs in left.items() if not theirs & left.keys()]:
        for module in free:
            del left[module]
    assert left == {}


def test_the_service_knows_no_http_library_but_in_its_client():
    loaded = {
        module: {name.split(".")[0] for name in imports(path)} & HTTP_LIBRARIES
        for module, path in MODULES.items()
        if room(module) == "api"
    }
    assert {module for module, libraries in loaded.items() if libraries} == {"api.client"}


def test_nobody_imports_the_client_for_a_constant():
    users = {module for module, theirs in GRAPH.items() if "api.client" in theirs}
    assert users <= CALLERS


def test_every_public_name_loads_and_is_declared_to_type_checkers():
    for name in dir(pytest_indexjob):
        assert getattr(pytest_indexjob, name) is not None
    text = (PACKAGE / "__init__.py").read_text()
    declared = set(re.findall(r" (\w+) as \1,?$", text, re.MULTILINE))
    assert declared == set(dir(pytest_indexjob)) - {"__version__"}
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = pytest_indexjob.nonsense


WITHOUT_EXTRAS = """
import sys
for name in ("hypothesis", "jinja2", "jsonschema", "referencing", "shtab"):
    sys.modules[name] = None

import importlib.util
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name: (
    None if sys.modules.get(name, name) is None else find_spec(name)
)
"""


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import pytest_indexjob as p; print(hasattr(p, 'strategies'))", "False"),
        ("import pytest_indexjob as p; print('strategies' in dir(p))", "False"),
        ("import pytest_indexjob; help(pytest_indexjob)", "class IndexingJob("),
        ("import pydoc; print(pydoc.plain(pydoc.render_doc('pytest_indexjob')))", "assert_counts("),
        (
            "try:\n    from pytest_indexjob import strategies\n"
            "except ImportError as error:\n    print(error)",
            "pip install 'pytest-indexjob[hypothesis]'",
        ),
        ("from pytest_indexjob import *; print(Simulator)", "Simulator"),
    ],
)
def test_the_package_can_be_looked_at_without_its_extras(code, said):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS + code], capture_output=True, text=True, check=True
    )
    assert said in done.stdout


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
