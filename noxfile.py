"""The test suite on each Python, with the newest and the lowest versions of what it stands on."""

import nox

nox.options.default_venv_backend = "uv"
nox.options.error_on_missing_interpreters = False
PYTHONS = ("3.11", "3.12", "3.13")


@nox.session(python=PYTHONS)
@nox.parametrize("resolution", ["highest", "lowest-direct"])
def tests(session: nox.Session, resolution: str) -> None:
    """Run the suite, or the tests that are named: ``nox -s tests -- tests/api``."""
    session.install("--resolution", resolution, "-e", ".[test]")
    session.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", *session.posargs)


@nox.session(python=PYTHONS[0])
def lint(session: nox.Session) -> None:
    """Lint, format and types."""
    session.install("-e", ".[lint]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")


@nox.session(python=PYTHONS[0])
def docs(session: nox.Session) -> None:
    """Build the site without a warning, and run every example with all that it needs."""
    session.install("-e", ".[docs]")
    session.run("mkdocs", "build", "-q", "--strict", env={"NO_MKDOCS_2_WARNING": "1"})
    # pytest-asyncio, which only one example needs, warns in runs that do not set its ini key.
    session.run(
        "python", "-m", "pytest", "-q", "-rs", "-p", "no:asyncio", "tests/test_documents.py"
    )
