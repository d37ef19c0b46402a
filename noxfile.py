"""The test suite on each Python, with the newest and the lowest versions of what it stands on."""

import shutil
from pathlib import Path

import nox

nox.options.default_venv_backend = "uv"
nox.options.error_on_missing_interpreters = False
PYTHONS = ("3.11", "3.12", "3.13")


PYTEST = ("python", "-m", "pytest", "-q", "-p", "no:cacheprovider")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the whole suite, or what is named: ``nox -s tests-3.12 -- tests/api``."""
    session.install("-e", ".[test]")
    session.run(*PYTEST, "-m", "", *session.posargs)


@nox.session(python=PYTHONS)
def lowest(session: nox.Session) -> None:
    """Run the whole suite with the lowest direct dependencies."""
    session.install("--resolution", "lowest-direct", "-e", ".[test]")
    session.run(*PYTEST, "-m", "", *session.posargs)


@nox.session(python=PYTHONS[0])
def lint(session: nox.Session) -> None:
    """Lint and format."""
    session.install("-e", ".[lint]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session(python=PYTHONS[0])
def types(session: nox.Session) -> None:
    """Check the package's types, and those of a user's file by mypy and pyright."""
    session.install("-e", ".[lint,test]")
    session.run("mypy")
    session.run(*PYTEST, "-rs", "-m", "", "tests/typing")


@nox.session(python=PYTHONS[0])
def browser(session: nox.Session) -> None:
    """Open the page in Chromium, which has to be there with its chromedriver."""
    session.install("-e", ".[browser,test]")
    session.run(*PYTEST, "-rs", "-m", "", "tests/story/test_report.py")


@nox.session(python=PYTHONS[0])
def fuzz(session: nox.Session) -> None:
    """Run the tests that use Hypothesis with 500 examples each."""
    session.install("-e", ".[test]")
    thorough = (*PYTEST, "--hypothesis-profile=thorough")
    session.run(*thorough, "-m", "hypothesis", *session.posargs)
    # These call Hypothesis inside the test, so that they are not marked.
    session.run(*thorough, "-m", "", "tests/test_strategies.py")


@nox.session(python=PYTHONS[0])
def downstream(session: nox.Session) -> None:
    """Run three suites as users write them against the built wheel alone."""
    folder = Path(session.create_tmp())
    session.install("build")
    session.run("python", "-m", "build", "-q", "--wheel", "--outdir", str(folder / "dist"))
    python = str(folder / "venv" / "bin" / "python")
    session.run("python", "-m", "venv", "--clear", str(folder / "venv"))
    (wheel,) = (folder / "dist").glob("*.whl")
    packages = ("anyio", "click", f"{wheel}[clients]")
    session.run(python, "-m", "pip", "install", "-q", *packages, external=True)
    shutil.copytree("tests/downstream", folder / "suites", dirs_exist_ok=True)
    for suite in ("service", "worker", "command"):
        # Outside the checkout, whose own options and package would be found.
        with session.chdir(folder / "suites" / suite):
            session.run(
                *(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"),
                *("--rootdir", ".", "-c", "/dev/null"),
                external=True,
            )


@nox.session(python=PYTHONS[0])
def docs(session: nox.Session) -> None:
    """Build the site without a warning, and run every example with all that it needs."""
    session.install("-e", ".[docs]")
    session.run("mkdocs", "build", "-q", "--strict", env={"NO_MKDOCS_2_WARNING": "1"})
    # pytest-asyncio, which only one example needs, warns in runs that do not set its ini key.
    session.run(*PYTEST, "-rs", "-m", "", "-p", "no:asyncio", "tests/test_documents.py")


@nox.session(python=PYTHONS[0])
def load(session: nox.Session) -> None:
    """Run the tests of virtual time again and again under load: ``nox -s load -- 50``."""
    session.install("-e", ".[test]")
    session.run("python", "benchmarks/load.py", *session.posargs)
