"""The test suite on each Python, with the newest and the lowest versions of what it stands on."""

import contextlib
import json
import shutil
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import nox

nox.options.default_venv_backend = "uv"
nox.options.error_on_missing_interpreters = False
PYTHONS = ("3.11", "3.12", "3.13")
NO_SERVER = '@pytest.mark.skip(reason="Mock server tests are disabled")'
# Later versions of these libraries can't read the lists of strings of dots 1.19, from any server.
KIOTA_VERSION = "1.0.0-preview.97"
KIOTA = (
    "abstractions",
    "bundle",
    "http-fetchlibrary",
    "serialization-form",
    "serialization-json",
    "serialization-multipart",
    "serialization-text",
)


PYTEST = ("python", "-m", "pytest", "-q", "-p", "no:cacheprovider")


@nox.session(python=(*PYTHONS, "3.14"))
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
def coverage(session: nox.Session) -> None:
    """Hold the branch coverage of the whole suite."""
    session.install("-e", ".[test,browser,foreign,lint]")
    session.run("coverage", "run", "-m", "pytest", "-q", "-n", "2", "-m", "", *session.posargs)
    session.run("coverage", "combine", "-q")
    session.run("coverage", "report")


@nox.session(python=PYTHONS[0])
def lint(session: nox.Session) -> None:
    """Lint and format."""
    session.install("-e", ".[lint]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session(python=PYTHONS[0])
def types(session: nox.Session) -> None:
    """Check the types of the package, of a user's file and of the documents' examples."""
    session.install("-e", ".[lint,test]")
    session.run("mypy")
    session.run(*PYTEST, "-rs", "-m", "", "tests/typing")
    session.run(*PYTEST, "-m", "", "tests/test_documents.py", "-k", "mypy")


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


ENDURANCE = ("kill", "writers", "full_disk", "hostile")


@nox.session(python=PYTHONS[0])
@nox.parametrize("script", ENDURANCE)
def endurance(session: nox.Session, script: str) -> None:
    """What takes minutes: kills, a crowd of writers, a full disk (as root), hostile files."""
    session.install("-e", ".[test]")
    session.run("python", f"tests/endurance/{script}.py", *session.posargs)


@nox.session(python=PYTHONS[0])
def corpus(session: nox.Session) -> None:
    """The whole corpus of secrets through every client; ``-- -k httpx`` takes a part."""
    session.install("-e", ".[test]")
    session.run(
        *PYTEST, "-m", "", "tests/secrecy", *session.posargs, env={"INDEXJOB_CORPUS": "whole"}
    )


@nox.session(python=PYTHONS[0])
def mutation(session: nox.Session) -> None:
    """Change the code, and see which tests notice: ``nox -s mutation -- api/wire``."""
    session.install("-e", ".[test]", "cosmic-ray>=8.7")
    # The mutants are written into a copy. What is hidden is left out, this environment too.
    copy = Path(session.create_tmp(), "copy")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(".", copy, ignore=shutil.ignore_patterns(".*", "__pycache__", "dist"))
    with session.chdir(copy):
        session.run("python", "tests/mutants.py", *session.posargs)


@contextlib.contextmanager
def served(session: nox.Session, *options: str) -> Iterator[str]:
    """The URL of ``pytest-indexjob serve``, as long as the block lasts."""
    command = [f"{session.bin}/pytest-indexjob", "serve", *options]
    popen = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603  # ours
    with popen as server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().split()[2]  # serving at URL ...
            # It logs each request, and would wait where nobody reads the log.
            threading.Thread(target=server.stdout.read, daemon=True).start()
            yield url
        finally:
            server.terminate()


@nox.session(python=PYTHONS[0])
def sdk(session: nox.Session) -> None:
    """The tests of gradient's own source distribution, against the documented example."""
    session.install("-e", ".", "gradient[aiohttp]", "pip")
    session.install(
        "dirty-equals", "pytest-asyncio", "pytest-xdist", "respx", "rich", "time-machine"
    )
    folder = Path(session.create_tmp())
    download = ("pip", "download", "-q", "--no-deps", "--no-binary", "gradient", "gradient")
    session.run("python", "-m", *download, "-d", str(folder))
    archive = max(folder.glob("gradient-*.tar.gz"), key=lambda path: path.stat().st_mtime)
    with tarfile.open(archive) as files:
        files.extractall(folder, filter="data")
    session.chdir(folder / archive.name.removesuffix(".tar.gz"))
    tests = "tests/api_resources"
    paths = [Path(tests, "test_knowledge_bases.py"), *Path(tests, "knowledge_bases").glob("*.py")]
    for path in paths:
        # They are switched off where no server of the documented example is at hand. Here it is.
        text = path.read_text().replace(NO_SERVER, "")
        path.write_text(text)
    with served(session, "--documented-example") as url:
        env = {"TEST_API_BASE_URL": url}
        # The plugin would be on trial twice: what is asked here is the server.
        options = ("-q", "-n", "0", "-p", "no:indexjob", "-p", "no:cacheprovider")
        session.run("python", "-m", "pytest", *options, *map(str, paths), env=env)


@nox.session(python=PYTHONS[0])
def schemathesis(session: nox.Session) -> None:
    """Requests of schemathesis' own to the served simulator, by the shapes that tests hold."""
    session.install("-e", ".", "PyYAML", "schemathesis>=4")
    document = Path(session.create_tmp()) / "openapi.json"
    session.run("python", "tests/data/openapi_of_shapes.py", str(document))
    with served(session, "--token", "any") as url:
        options = ("--header", "Authorization: Bearer any", "--max-examples", "50", "--seed", "1")
        run = ("schemathesis", "--config-file", "tests/data/schemathesis.toml", "run")
        session.run(*run, str(document), "--url", url, *options, *session.posargs)


@nox.session(python=PYTHONS[0])
def dots(session: nox.Session) -> None:
    """What the official JavaScript client reads of the answers; needs Node.js and npm."""
    session.install("-e", ".[test]")
    folder = Path(session.create_tmp())
    pinned = {f"@microsoft/kiota-{name}": KIOTA_VERSION for name in KIOTA}
    package = {"dependencies": {"@digitalocean/dots": "^1.19.0"}, "overrides": pinned}
    (folder / "package.json").write_text(json.dumps(package))
    session.run("npm", "install", "--silent", "--prefix", str(folder), external=True)
    tests = "tests/simulation/test_other_sdks.py"
    env = {"INDEXJOB_DOTS": str(folder)}
    session.run(*PYTEST, "-m", "", tests, env=env)


@nox.session(python=PYTHONS[0])
def benchmarks(session: nox.Session) -> None:
    """Measure, and write benchmarks/RESULTS.md: ``nox -s benchmarks -- replay`` does one part."""
    session.install("-e", ".[benchmark]")
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session(python=PYTHONS[0])
def package(session: nox.Session) -> None:
    """Build twice alike, check what would be published, and list what it needs in dist/."""
    session.install(".[package]")
    commit_time = session.run("git", "log", "-1", "--format=%ct", external=True, silent=True)
    builds = [Path(session.create_tmp(), name) for name in ("first", "second")]
    for folder in builds:
        shutil.rmtree(folder, ignore_errors=True)
        session.run(
            *("python", "-m", "build", "-q", "--outdir", str(folder)),
            env={"SOURCE_DATE_EPOCH": str(commit_time).strip()},
        )
    first, second = ({f.name: f.read_bytes() for f in folder.iterdir()} for folder in builds)
    if first != second:
        session.error("two builds of the same sources differ")
    (wheel,) = builds[0].glob("*.whl")
    if "pytest_indexjob/py.typed" not in zipfile.ZipFile(wheel).namelist():
        session.error("the wheel has no py.typed, so type checkers would pass it over")
    session.run("twine", "check", "--strict", *(str(path) for path in builds[0].iterdir()))
    session.run("check-wheel-contents", str(wheel))
    # A software bill of materials: what comes with the wheel, and nothing else.
    alone = Path(session.create_tmp(), "alone")
    session.run("python", "-m", "venv", "--clear", str(alone))
    python = next(alone.glob("bin/python*"), alone / "Scripts" / "python.exe")
    pip = (str(python), "-m", "pip")
    # By its name, as a file's path would stand in the bill; then without what installed it.
    wanted = "==".join(wheel.name.split("-")[:2])
    session.run(*pip, "install", "-q", "--find-links", str(builds[0]), wanted, external=True)
    session.run(*pip, "uninstall", "-q", "-y", "pip", external=True)
    dist = Path("dist")
    dist.mkdir(exist_ok=True)
    for name, content in first.items():
        (dist / name).write_bytes(content)
    bill = dist / f"{wheel.stem}.cdx.json"
    session.run(
        *("cyclonedx-py", "environment", "--output-reproducible"),
        *("--output-file", str(bill), str(python)),
    )


@nox.session(python=PYTHONS[0])
def load(session: nox.Session) -> None:
    """Run the tests of virtual time again and again under load: ``nox -s load -- 50``."""
    session.install("-e", ".[test]")
    session.run("python", "benchmarks/load.py", *session.posargs)
