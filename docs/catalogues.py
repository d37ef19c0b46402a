"""Fills in the parts of the documentation that are made from the code.

A page has a line ``<!-- catalogue: NAME -->`` where such a part belongs; MkDocs runs this file as
a hook. ``CATALOGUES`` names the parts.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

ROOT = Path(__file__).parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

import pytest_indexjob  # noqa: E402
from pytest_indexjob import cli  # noqa: E402
from pytest_indexjob.api import calls, outcomes  # noqa: E402
from pytest_indexjob.durations import duration_text  # noqa: E402
from pytest_indexjob.running.options import add_options  # noqa: E402
from pytest_indexjob.simulation import faults, scenarios  # noqa: E402

PACKAGE = ROOT / "pytest_indexjob"
SOURCES = "https://github.com/pytest-indexjob/pytest-indexjob/blob/main"
# With the line that stands for it where nobody fills it in, on GitHub say.
_PLACE = re.compile(
    r"^<!-- catalogue: ([a-z-]+) -->$(?:\n\n\*This part is made .*\*$)?", re.MULTILINE
)
_LINK_OUT = re.compile(r"\]\((?:\.\./)+((?:cassettes|examples|benchmarks|[A-Z]+\.md)[^)]*)\)")

# A table of every name would stand first for each word; a page about one matter belongs there.
_BOOSTS = {
    "how-to/other-mocks.md": 3,
    "how-to/other-languages.md": 2,
    "reference/catalogues.md": 0.2,
    "reference/messages.md": 0.4,
    "reference/python.md": 0.4,
}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """MkDocs calls this for each page: fill in its catalogues, lead links to sources to GitHub."""
    filled = _PLACE.sub(lambda place: CATALOGUES[place[1]](), markdown)
    return _LINK_OUT.sub(rf"]({SOURCES}/\1)", filled)


def on_page_content(html: str, *, page: Any, **_: Any) -> str:
    """MkDocs calls this for each page: say how near to the top of a search it belongs."""
    page.meta["search"] = {"boost": _BOOSTS.get(page.file.src_uri, 1)}
    return html


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    cells = ([cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _code(text: object) -> str:
    return f"`{text}`"


# Lists of the service and of the simulator.


def scenarios_table() -> str:
    """Every scenario, and how the job ends in it."""
    return _table(
        ("name", "what happens", "the job ends", "after"),
        ((_code(name), *_scenario_cells(scenarios.get(name))) for name in scenarios.names()),
    )


def _scenario_cells(scenario: Any) -> tuple[str, str, str]:
    end = f"{scenario.status.name}, phase {scenario.phase.name}"
    if scenario.duration is None:
        return scenario.summary, "never", ""
    return scenario.summary, end, duration_text(scenario.duration)


def faults_table() -> str:
    """Every fault, and whether the call takes effect all the same."""
    rows = (
        (_code(name), faults.get(name).summary, "yes" if faults.get(name).acts else "no")
        for name in faults.names()
    )
    return _table(("name", "what happens", "does the call take effect?"), rows)


def recordings_table() -> str:
    """Every shipped recording."""
    rows = ((_code(name), text) for name, text in cli._listed_recordings())
    return _table(("name", "what it holds"), rows)


def calls_table() -> str:
    """Every call of the API that the simulator answers."""
    rows = ((_code(call.name), _code(f"{call.method} {call.path}")) for call in calls.CALLS)
    return _table(("name", "request"), rows)


def values_table() -> str:
    """The values of the contract's enums, and which are ends."""
    enums: tuple[Any, ...] = (
        outcomes.IndexingJobStatus,
        outcomes.IndexingJobPhase,
        outcomes.DataSourceStatus,
    )
    rows = (
        (f"`{enum.__name__}.{member.name}`", _code(member.value), _is_end(member))
        for enum in enums
        for member in enum
    )
    return _table(("member", "on the wire", "is it an end?"), rows)


def _is_end(member: Any) -> str:
    return ("yes" if member.is_terminal else "no") if hasattr(member, "is_terminal") else ""


# The plugin: options, ini keys, fixtures, commands.


class _Parser:
    """Takes the place of pytest's parser and keeps what is declared."""

    def __init__(self) -> None:
        self.options: list[tuple[str, dict[str, Any]]] = []
        self.ini: list[tuple[str, str, Any]] = []

    def getgroup(self, *_: str) -> _Parser:
        return self

    def addoption(self, name: str, **settings: Any) -> None:
        self.options.append((name, settings))

    def addini(self, name: str, help: str, type: Any = None, default: Any = None) -> None:
        self.ini.append((name, help, default))


def declared() -> _Parser:
    """The options and ini keys that the plugin declares."""
    parser: Any = _Parser()
    add_options(parser)
    return parser  # type: ignore[no-any-return]


def options_table() -> str:
    """Every option of the plugin."""
    rows = ((_code(_option(name, given)), given["help"]) for name, given in declared().options)
    return _table(("option", "what it does"), rows)


def _option(name: str, given: dict[str, Any]) -> str:
    if given.get("action") == "store_true":
        return name
    if "choices" in given:
        return f"{name}={'|'.join(map(str, given['choices']))}"
    return f"{name}={given.get('metavar', 'VALUE')}"


def ini_table() -> str:
    """Every ini key of the plugin."""
    rows = (
        (_code(name), help, _code(default) if default not in ([], None) else "")
        for name, help, default in declared().ini
    )
    return _table(("ini key", "what it does", "unless set"), rows)


def fixtures() -> Iterator[tuple[str, str, str, str]]:
    """Name, scope, type and docstring of every public fixture of the plugin."""
    for node in ast.parse((PACKAGE / "plugin.py").read_text()).body:
        if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
            continue
        marks = [ast.unparse(mark) for mark in node.decorator_list]
        mark = next((mark for mark in marks if mark.startswith("pytest.fixture")), None)
        if mark is None:
            continue
        scope = "session" if "session" in mark else "function"
        gives = ast.unparse(node.returns) if node.returns else ""
        gives = re.sub(r"^Iterator\[(.*)\]$", r"\1", gives)
        yield node.name, scope, gives, ast.get_docstring(node) or ""


def fixtures_table() -> str:
    """Every fixture of the plugin."""
    rows = (
        (_code(name), _code(gives), scope, " ".join(text.replace("``", "`").split()))
        for name, scope, gives, text in fixtures()
    )
    return _table(("fixture", "gives", "scope", "what it is for"), rows)


def commands() -> dict[str, argparse.ArgumentParser]:
    """The parser of every command, the commands below a command included."""
    found: dict[str, argparse.ArgumentParser] = {}

    def look_into(parser: argparse.ArgumentParser, name: str) -> None:
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for word, inner in action.choices.items():
                    found[f"{name} {word}".strip()] = inner
                    look_into(inner, f"{name} {word}".strip())

    look_into(cli._parser(), "")
    return found


def commands_text() -> str:
    """Every command with its arguments."""
    parts = []
    for name, parser in commands().items():
        example = (parser.epilog or "").partition("example:\n")[2].partition("\n\n")[0].strip()
        parts.append(f"### {name}\n\n{parser.description or ''}")
        if example:
            parts.append(f"```sh\n{example}\n```")
        rows = [_argument(action) for action in parser._actions if action.dest != "help"]
        rows = [row for row in rows if row[1]]
        if rows:
            parts.append(_table(("argument", "what it is"), rows))
    return "\n\n".join(parts)


def _argument(action: argparse.Action) -> tuple[str, str]:
    value = action.metavar or (action.dest.upper() if action.option_strings else action.dest)
    takes = action.nargs != 0
    if action.choices is not None and not isinstance(action, argparse._SubParsersAction):
        value = "|".join(map(str, action.choices))
    names = [f"{name} {value}" if takes else name for name in action.option_strings]
    return _code(", ".join(names) or value), action.help or ""


# Public names, and the messages.

_TITLES = {
    "api.models": "Models",
    "api.outcomes": "Statuses and phases",
    "api.client": "Client",
    "api.errors": "Errors",
    "checking.assertions": "Assertions",
    "simulation.simulator": "Simulator",
    "simulation.scenarios": "Scenarios",
    "simulation.faults": "Faults",
    "simulation.server": "Loopback server",
    "virtual_time.clock": "Virtual clock",
}


_INTRODUCTIONS = {
    "api.models": (
        "A default such as `field(UINT64)` names the kind of value on the wire. A field that is"
        " absent"
        ' there is 0, `""`, `None`, `()` or UNKNOWN here.'
    ),
    "api.errors": "::: pytest_indexjob.api.errors\n    options:\n      show_root_heading: false\n"
    "      show_root_toc_entry: false\n      members: []",
}


def names_text() -> str:
    """A section for each home of public names, with a mkdocstrings block for each name."""
    homes: dict[str, list[str]] = {}
    for name, home in pytest_indexjob._HOME.items():
        homes.setdefault(home, []).append(name)
    order = [*(home for home in _TITLES if home in homes), *(homes.keys() - _TITLES.keys())]
    parts = []
    for home in sorted(order, key=order.index):
        parts.append(f"## {_TITLES.get(home, home.replace('.', ': ').replace('_', ' '))}")
        if home in _INTRODUCTIONS:
            parts.append(_INTRODUCTIONS[home])
        parts += [f"::: pytest_indexjob.{name}" for name in homes[home]]
    for name, home in pytest_indexjob._MODULES.items():
        parts.append(f"## The module {name}")
        parts.append(
            f"::: pytest_indexjob.{home}\n    options:\n      show_root_heading: false\n"
            f"      show_root_toc_entry: false\n      members: [{', '.join(_functions(home))}]"
        )
    return "\n\n".join(parts)


def _functions(home: str) -> list[str]:
    tree = ast.parse((PACKAGE / f"{home.replace('.', '/')}.py").read_text())
    return [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    ]


class Message(NamedTuple):
    """A text that the plugin can say. What is filled in stands as ``…``."""

    place: str
    kind: str
    text: str


# What says something to a user when it is called.
_SAYERS = (
    *("pytest.fail", "pytest.skip", "item.warn", "_corrupt", "_fail", "Finding", "self.error"),
    *("hints.append", "parts.append"),
)
_SILENT = ("AttributeError", "SystemExit", "_ShapeError", "TransportFault")


def messages() -> Iterator[Message]:
    """Every message in the sources: of raised errors, failed tests, warnings, findings, hints."""
    # A long message is put together in a variable of this name.
    built = "text"
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            values: Sequence[ast.expr] = ()
            kind = "part of a message"
            call = _says(node)
            if call is not None:
                values, kind = call.args, ast.unparse(call.func)
            elif isinstance(node, ast.Assign | ast.AugAssign) and built in _targets(node):
                values = [node.value]
            text = max(map(_text, values), key=len, default="")
            if kind not in _SILENT and len(text.replace("…", "").split()) > 2:
                yield Message(place, _KINDS.get(kind, kind), text)


_KINDS = {
    "pytest.fail": "the test fails",
    "pytest.skip": "the test is skipped",
    "_corrupt": "CassetteCorruptError",
    "_fail": "AssertionError",
    "Finding": "finding of `audit`",
    "self.error": "IndexJobError",
    "Refusal": "answer of the simulator",
    "invalid": "answer of the simulator",
    "self._desk.conflict": "answer of the simulator",
    "item.warn": "warning",
    "hints.append": "hint",
    "parts.append": "the test fails",
}


def _says(node: ast.AST) -> ast.Call | None:
    call = node.exc if isinstance(node, ast.Raise) else node
    if not isinstance(call, ast.Call):
        return None
    return call if isinstance(node, ast.Raise) or ast.unparse(call.func) in _SAYERS else None


def _targets(node: ast.Assign | ast.AugAssign) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(
            _text(part) if isinstance(part, ast.Constant) else "…" for part in node.values
        )
    if isinstance(node, ast.BinOp):
        return _text(node.left) + _text(node.right)
    return ""


def messages_table() -> str:
    """Every message, by the part of the plugin that says it."""
    parts = []
    rooms: dict[str, list[Message]] = {}
    for message in messages():
        rooms.setdefault(message.place.partition("/")[0].removesuffix(".py"), []).append(message)
    for room, said in rooms.items():
        parts.append(f"## {room.replace('_', ' ')}")
        rows = dict.fromkeys((_code(each.text.replace("`", "'")), each.kind) for each in said)
        parts.append(_table(("message", "as"), rows))
    return "\n\n".join(parts)


CATALOGUES: dict[str, Callable[[], str]] = {
    "calls": calls_table,
    "commands": commands_text,
    "faults": faults_table,
    "fixtures": fixtures_table,
    "ini": ini_table,
    "messages": messages_table,
    "names": names_text,
    "options": options_table,
    "recordings": recordings_table,
    "scenarios": scenarios_table,
    "values": values_table,
}
