"""``python -m benchmarks [PART ...]``: measure, and write RESULTS.md with its curves.

A part that is named replaces what RESULTS.md says of it; without names all parts are run.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import time
from pathlib import Path

from benchmarks import results

PARTS = ("replay", "record", "first_use", "simulate", "timeline", "coverage", "report", "ingest")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"one of {', '.join(PARTS)}")
    parser.add_argument(
        "--quick", action="store_true", help="small sizes, one round: only to see that it works"
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FOLDER",
        help="where RESULTS.md, results.json and the curves go (benchmarks)",
    )
    options = parser.parse_args()
    for part in options.parts:
        if part not in PARTS:
            parser.error(f"there is no part {part!r}; the parts are {', '.join(PARTS)}")
    if options.quick and not options.output:
        parser.error("--quick measures nothing worth keeping: name another folder by --output")
    folder = options.output or Path(__file__).parent
    for part in options.parts or PARTS:
        print(f"{part} ...", flush=True)
        module = importlib.import_module(f"benchmarks.{part}")
        # Garbage of one part is not collected at the expense of the next.
        gc.collect()
        gc.freeze()
        began = time.perf_counter()
        found = list(module.measure(quick=options.quick))
        taken = time.perf_counter() - began
        # Only now: another part may have been measured meanwhile, by another process.
        measured = results.load(folder)
        measured[part] = results.section(module, found, taken, quick=options.quick)
        folder.mkdir(parents=True, exist_ok=True)
        # After each part, so that an interruption loses one part only.
        results.path_of(folder).write_text(json.dumps(measured, indent=1) + "\n")
        results.write(folder, {name: measured[name] for name in PARTS if name in measured})
        print(f"    {taken:.0f} s", flush=True)
    print(folder / "RESULTS.md")


if __name__ == "__main__":
    main()
