"""Mutation testing: changes the code in one place at a time, and sees whether the tests notice.

``nox -s mutation`` runs this script in a copy of the checkout, as it writes into the modules that
it tries. cosmic-ray finds the places and makes the mutants.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import multiprocessing
import os
import random
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path

from cosmic_ray.commands import init
from cosmic_ray.mutating import use_mutation
from cosmic_ray.plugins import get_operator
from cosmic_ray.work_db import use_db

# The quick tests that concern each module, those that fail soonest first.
ASSERTIONS = "tests/checking/test_assertions.py"
MODELS = "tests/api/test_models.py"
CLIENT = "tests/api/test_client.py"
DRIFT = "tests/upkeep/test_drift.py"
KEPT = "tests/secrecy/test_redaction.py::test_what_the_contract_knows_is_kept_whatever_is_secret"
TESTS = {
    "api/answers": ("tests/api/test_answers.py", ASSERTIONS, CLIENT),
    "api/calls": ("tests/api/test_calls.py", CLIENT),
    "api/client": (CLIENT,),
    "api/errors": (MODELS, CLIENT, "tests/test_house.py"),
    "api/json_body": (ASSERTIONS, CLIENT),
    "api/knowledge_bases": (MODELS, "tests/simulation/test_knowledge_bases.py"),
    "api/models": (MODELS, ASSERTIONS),
    "api/outcomes": (MODELS, ASSERTIONS),
    "api/schema": ("tests/api/test_calls.py", DRIFT, KEPT),
    "api/settings": (CLIENT,),
    "api/wire": (MODELS, DRIFT),
    "checking/assertions": (ASSERTIONS,),
    "secrecy/redaction": ("tests/secrecy/test_redaction.py",),
    "recording/cassette": ("tests/recording/test_cassette.py", "tests/recording/test_library.py"),
    "virtual_time/timeline": (
        "tests/virtual_time/test_clock.py",
        "tests/virtual_time/test_waits.py",
    ),
}
# Each run of the tests forks a process that has these already, as importing them takes seconds.
PRELOADED = ["pytest", "aiohttp", "gradient", "httpx", "hypothesis", "jinja2", "pydo", "vcr.patch"]
MEMORY = 4 << 30  # bytes of address space
FILE_SIZE = 1 << 27  # bytes


def run_pytest(arguments: list[str], output: str, keep_bytecode: bool) -> None:
    """Run the tests in this process, which leads a process group of its own."""
    os.setsid()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_SIZE, FILE_SIZE))
    with Path(output).open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    # Bytecode knows its source by size and second, which two mutants can share.
    sys.dont_write_bytecode = not keep_bytecode
    import pytest

    # The preloaded libraries are also pytest's plugins, which it would rewrite on import.
    options = (
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        "-W",
        "ignore::pytest.PytestAssertRewriteWarning",
    )
    sys.exit(pytest.main([*options, *arguments]))


def outcome_of(arguments: list[str], limit: float, keep_bytecode: bool = False) -> tuple[str, str]:
    """``survived``, ``killed`` or ``timeout``, and what pytest printed."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "output")
        process = context.Process(target=run_pytest, args=(arguments, str(output), keep_bytecode))
        process.start()
        try:
            process.join(limit)
            over = process.is_alive()
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                process.kill()
            process.join()
        text = output.read_text(errors="replace") if output.exists() else ""
    if over:
        return "timeout", text
    return ("survived" if process.exitcode == 0 else "killed"), text


def annotations(source: str):
    """Where type annotations begin and end: nothing evaluates them."""
    for node in ast.walk(ast.parse(source)):
        for name in ("annotation", "returns"):
            if part := getattr(node, name, None):
                yield (part.lineno, part.col_offset), (part.end_lineno, part.end_col_offset)


def drawn_mutants(path: Path, seed: int):
    """One mutant for each place and kind of change, in an order that the seed decides."""
    with tempfile.TemporaryDirectory() as folder, use_db(Path(folder, "work.sqlite")) as database:
        init([path], database, {})
        mutants = [item.mutations[0] for item in database.work_items]
    passive = list(annotations(path.read_text()))
    places = {}
    for mutant in sorted(mutants, key=lambda each: (each.operator_name, each.occurrence)):
        if not any(begin <= mutant.start_pos < end for begin, end in passive):
            kind = mutant.operator_name.split("_")[0]
            places.setdefault((mutant.start_pos, kind), []).append(mutant)
    draw = random.Random(seed)
    chosen = [draw.choice(places[place]) for place in sorted(places)]
    draw.shuffle(chosen)
    return chosen


def try_module(name: str, lines: list[str], options: argparse.Namespace) -> bool:
    """Try a module's mutants, or those of some lines; whether its tests pass without one."""
    path = Path("pytest_indexjob", name + ".py")
    tests = options.tests or list(TESTS[name])
    begin = time.monotonic()
    outcome, text = outcome_of(tests, 300, keep_bytecode=True)
    if outcome != "survived":
        print(f"{name}: the tests fail without a mutant\n{text[-3000:]}")
        return False
    limit = 2 * (time.monotonic() - begin) + 10
    mutants = drawn_mutants(path, options.seed)[options.skip :][: options.mutants]
    mutants = [each for each in mutants if not lines or str(each.start_pos[0]) in lines]
    counts = dict.fromkeys(("killed", "timeout", "survived"), 0)
    for mutant in mutants:
        operator = get_operator(mutant.operator_name)(**mutant.operator_args)
        begin = time.monotonic()
        with use_mutation(path, operator, mutant.occurrence) as (before, after):
            outcome, _ = outcome_of(tests, limit)
        seconds = time.monotonic() - begin
        counts[outcome] += 1
        if outcome != "killed" or options.verbose:
            row, column = mutant.start_pos
            kind = mutant.operator_name.removeprefix("core/")
            print(f"{path}:{row}:{column + 1}: {kind}: {outcome} in {seconds:.1f} s")
            changes = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0)
            for change in [*changes][3:]:
                print(f"  {change[0]} {change[1:].strip()}", flush=True)
    shown = ", ".join(f"{number} {outcome}" for outcome, number in counts.items())
    print(f"{name}: {len(mutants)} mutants tried: {shown}", flush=True)
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    listed = ", ".join(TESTS)
    parser.add_argument("modules", nargs="*", help=f"MODULE or MODULE:LINE,LINE, of {listed}")
    parser.add_argument("--seed", type=int, default=1, help="draws the mutants; 1 unless given")
    parser.add_argument("--mutants", type=int, default=40, help="of each module; 40 unless given")
    parser.add_argument("--skip", type=int, default=0, help="pass over the first drawn mutants")
    parser.add_argument("--tests", nargs="+", help="in place of the module's own tests")
    parser.add_argument("--verbose", action="store_true", help="print killed mutants too")
    options = parser.parse_args()
    asked = [each.partition(":")[::2] for each in options.modules or TESTS]
    if unknown := {name for name, _ in asked} - set(TESTS):
        parser.error(f"not in the table of modules: {', '.join(sorted(unknown))}")
    if Path(".git").exists():
        parser.error("this writes into the modules: run `nox -s mutation`, which makes a copy")
    # A mutated module is restored also when the run is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.path.insert(0, str(Path.cwd()))
    os.environ["PYTHONPATH"] = str(Path.cwd())
    passed = [try_module(name, lines.split(",") if lines else [], options) for name, lines in asked]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
