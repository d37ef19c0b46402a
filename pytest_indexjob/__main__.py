"""``python -m pytest_indexjob``: the same as the command ``pytest-indexjob``."""

from pytest_indexjob.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
