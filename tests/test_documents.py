"""README and docs do as they say."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import pytest_indexjob
from pytest_indexjob import cli

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
# They keep state in their process, so that a test of them needs a process of its own.
NEED_A_PROCESS = {"celery", "django"}

spec = importlib.util.spec_from_file_location("catalogues", ROOT / "docs" / "catalogues.py")
catalogues = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = catalogues
spec.loader.exec_module(catalogues)


def name_of(page):
    return page.relative_to(ROOT).as_posix().removesuffix(".md").replace("/", "-")


def blocks(language):
    fence = re.compile(rf"^```{language}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return [
        pytest.param(match.group(1), id=f"{name_of(page)}-{at}")
        for page in PAGES
        for at, match in enumerate(fence.finditer(page.read_text()))
    ]


def imported(block):
    """The top-level packages that a block imports."""
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.partition(".")[0]


def plugins(block):
    """What a block needs besides what it imports."""
    if "pytest.mark.asyncio" in block:
        yield "pytest_asyncio"


def is_generated(block):
    return "hypothesis" in imported(block)


@pytest.mark.slow
@pytest.mark.parametrize(
    "block", [each for each in blocks("python") if not is_generated(*each.values)]
)
def test_every_python_block_runs(pytester, request, block):
    if "how-to" in request.node.name:
        request.getfixturevalue("installed_plugins")
    packages = {*imported(block), *plugins(block)}
    missing = sorted(name for name in packages if importlib.util.find_spec(name) is None)
    if missing:
        pytest.skip(f"needs {', '.join(missing)}: pip install '.[docs]'")
    # pytest-asyncio warns where its ini key is not set, also in runs that do not use it.
    asyncio = "pytest_asyncio" in packages
    scope = "asyncio_default_fixture_loop_scope = function\n" if asyncio else ""
    pytester.makeini(f"[pytest]\nfilterwarnings = error\n{scope}")
    pytester.makepyfile(
        test_block=block if "def test_" in block else f"{block}\n\ndef test_it():\n    pass\n"
    )
    apart = bool(packages & NEED_A_PROCESS)
    run = pytester.runpytest_subprocess if apart else pytester.runpytest
    result = run("-p", "no:cacheprovider", *(() if asyncio else ("-p", "no:asyncio")))
    outcomes = {"passed": 0, "failed": 0, "skipped": 0, "errors": 0} | result.parseoutcomes()
    # A test that shows a mistake says so, for readers and here.
    assert (outcomes["failed"], outcomes["errors"]) == (block.count("  # fails\n"), 0)
    assert sum(outcomes.values()) >= block.count("def test_")


@pytest.mark.slow
@pytest.mark.parametrize("block", [each for each in blocks("python") if is_generated(*each.values)])
def test_every_example_of_hypothesis_runs_cold_and_warm(pytester, block):
    pytester.makeini("[pytest]\nfilterwarnings = error\n")
    pytester.makepyfile(test_block=block)
    # The first run finds no folder `.hypothesis`, the second the one that the first made.
    for exists in (False, True):
        assert (pytester.path / ".hypothesis").exists() == exists
        done = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:asyncio")
        done.assert_outcomes(passed=block.count("def test_"))


@pytest.mark.slow
def test_every_python_block_passes_mypy(tmp_path):
    """Strictly, but for signatures without types: tests are mostly written so."""
    pytest.importorskip("mypy", reason="needs mypy: pip install '.[lint]'")
    for each in blocks("python"):
        name = re.sub(r"\W", "_", each.id)
        (tmp_path / f"{name}.py").write_text(*each.values)
    untyped = ("--allow-untyped-defs", "--allow-incomplete-defs", "--allow-untyped-calls")
    options = ("--config-file=", f"--cache-dir={tmp_path / 'cache'}", "--follow-imports=silent")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", *untyped, *options),
            *("--ignore-missing-imports", *map(str, sorted(tmp_path.glob("*.py")))),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("block", blocks("ini"))
def test_every_ini_block_is_taken(pytester, block):
    pytester.makeini(block)
    result = pytester.runpytest("--strict-config", "-p", "no:cacheprovider", "-p", "no:asyncio")
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED


def commands_of(block):
    return [line.strip() for line in block.replace("\\\n", " ").splitlines() if line.strip()]


@pytest.mark.parametrize("block", blocks("(?:sh|yaml)"))
def test_every_command_of_ours_is_taken(block):
    options = {name for name, _ in catalogues.declared().options}
    for line in commands_of(block):
        for option in re.findall(r"--indexjob-[a-z-]+", line):
            assert option in options, line
        command = re.search(r"(?:^|&& |run: )pytest-indexjob ([^&|<>]+)", line)
        if command:
            cli._parser().parse_args(shlex.split(command[1]))


def test_the_readme_fits_on_two_screens_and_has_two_commands():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) < 120
    assert text.count("```sh\n") == 2


def test_the_readme_links_to_where_pypi_can_follow():
    text = (ROOT / "README.md").read_text()
    targets = dict(re.findall(r"^\[([^\]]+)\]: (\S+)$", text, re.MULTILINE))
    used = set(re.findall(r"\]\[([^\]]+)\]", text))
    assert used == targets.keys()
    assert "](" not in text
    for url in targets.values():
        assert url.startswith(f"{catalogues.SOURCES}/")
        assert (ROOT / url.removeprefix(f"{catalogues.SOURCES}/")).exists(), url


def anchors(page):
    """The names that a link may jump to in a page: its headings as MkDocs writes them."""
    text = catalogues.on_page_markdown(page.read_text())
    for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE):
        words = re.sub(r"[^\w\s-]", "", title).strip().lower()
        yield re.sub(r"[-\s]+", "-", words)


def test_every_link_leads_somewhere():
    for page in (ROOT / "cassettes" / "README.md", *PAGES[1:]):
        for path, anchor in re.findall(r"\]\(([^):#]*)#?([^):]*)\)", page.read_text()):
            target = page.parent / path if path else page
            assert target.exists(), f"{page}: {path}"
            if anchor and target.suffix == ".md":
                assert anchor in anchors(target), f"{page}: {path}#{anchor}"


def test_every_page_is_in_the_navigation_or_linked_to():
    navigation = (ROOT / "mkdocs.yml").read_text()
    text = "".join(page.read_text() for page in PAGES)
    for page in PAGES[1:]:
        name = page.relative_to(ROOT / "docs").as_posix()
        assert f" {name}\n" in navigation or f"{page.name})" in text, name


@pytest.mark.parametrize("name", catalogues.CATALOGUES)
def test_every_catalogue_stands_in_a_page_and_is_filled_in(name):
    place = f"<!-- catalogue: {name} -->"
    pages = [page for page in PAGES if place in page.read_text()]
    assert len(pages) == 1
    filled = catalogues.on_page_markdown(pages[0].read_text())
    assert place not in filled
    assert catalogues.CATALOGUES[name]() in filled


def test_the_catalogues_hold_what_there_is():
    names = catalogues.names_text()
    for name in set(dir(pytest_indexjob)) - {"__version__", "faults", "scenarios", "strategies"}:
        assert f"::: pytest_indexjob.{name}\n" in f"{names}\n", name
    assert "`rate-limit`" in catalogues.faults_table()
    assert "`indexjob_outcome`" in catalogues.fixtures_table()
    assert "--indexjob-record=none" in catalogues.options_table()
    assert "`combine\\|report`" in catalogues.commands_text()


def explained():
    """The messages that the page of troubleshooting quotes, as their fixed parts."""
    text = (ROOT / "docs" / "troubleshooting.md").read_text()
    return re.findall(r"^(?:#+|-) `([^`]+)`$", text, re.MULTILINE)


def test_troubleshooting_quotes_what_the_plugin_says():
    sources = "".join(path.read_text() for path in sorted(catalogues.PACKAGE.rglob("*.py")))
    # A long text is written in several pieces.
    sources = re.sub(r"[\"']\s*\n\s*f?[\"']", "", sources)
    assert len(explained()) > 50
    gone = [
        quoted
        for quoted in explained()
        for part in quoted.split("…")
        if part.strip(" .:,'\"") and part.strip(" .:,'\"") not in sources
    ]
    assert gone == [], "the plugin no longer says this: mend docs/troubleshooting.md"


def test_the_changelog_begins_with_this_version_and_its_date():
    text = (ROOT / "CHANGELOG.md").read_text()
    version, date = re.search(r"^## \[([^\]]+)\] - (.*)$", text, re.MULTILINE).groups()
    assert version == pytest_indexjob.__version__
    assert re.fullmatch(r"unreleased|\d{4}-\d\d-\d\d", date)
