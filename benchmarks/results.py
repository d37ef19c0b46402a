"""RESULTS.md: what was measured as tables, the curves as SVG, and which aims were missed."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import statistics
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest_indexjob
from benchmarks.figures import Curve, Figure

_HEAD = """\
# Results

`python -m benchmarks` writes this page; [README.md](README.md) says what each part measures.
A figure is the median of its rounds, the range from the lowest to the highest in brackets. A ratio
is made within each round, from two works that take turns. Seconds and microseconds are those of
one machine; compare the ratios. `results.json` has every round.
"""


def path_of(folder: Path) -> Path:
    """Where every round of every figure is kept."""
    return folder / "results.json"


def load(folder: Path) -> dict[str, Any]:
    """What was measured before, by part."""
    path = path_of(folder)
    return json.loads(path.read_text()) if path.exists() else {}


def section(
    module: ModuleType, found: Sequence[Figure | Curve], taken: float, *, quick: bool
) -> dict[str, Any]:
    """All that a part says, as JSON."""
    now = dt.datetime.now(dt.UTC)
    # Of a checkout the installed metadata may be older than the code.
    versions = {"pytest-indexjob": pytest_indexjob.__version__}
    versions |= {name: version(name) for name in ("pytest", *module.LIBRARIES)}
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "title": (module.__doc__ or "").splitlines()[0].rstrip("."),
        "notes": module.NOTES,
        "measured": f"{now:%Y-%m-%d %H:%M} UTC",
        "seconds": round(taken),
        "quick": quick,
        "python": platform.python_version(),
        "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        "load": load,
        "versions": versions,
        "figures": [each._asdict() for each in found if isinstance(each, Figure)],
        "curves": [each._asdict() for each in found if isinstance(each, Curve)],
    }


def write(folder: Path, parts: dict[str, Any]) -> None:
    """Write RESULTS.md, and a file for each curve."""
    sections = [_section_text(folder, name, part) for name, part in parts.items()]
    (folder / "RESULTS.md").write_text("\n".join([_HEAD, _missed(parts), *sections]))


def _missed(parts: dict[str, Any]) -> str:
    figures = [(part, Figure(**each)) for part in parts.values() for each in part["figures"]]
    judged = [figure for _, figure in figures if figure.aim is not None]
    missed = [(part["title"], figure) for part, figure in figures if figure.is_missed]
    lines = [f"{len(judged) - len(missed)} of {len(judged)} aims are reached.", ""]
    if missed:
        lines = [f"{lines[0]} Missed:", ""]
        lines += [
            f"- {title}: {figure.what}{f' against {figure.against}' if figure.against else ''}:"
            f" {_shown(figure.judged)}{'' if figure.others else f' {figure.unit}'}, aim"
            f" {_aim(figure)}"
            for title, figure in missed
        ]
        lines.append("")
    return "\n".join(lines)


def _section_text(folder: Path, name: str, part: dict[str, Any]) -> str:
    versions = ", ".join(f"{library} {its}" for library, its in part["versions"].items())
    busy = "" if part["load"] is None else f", load {part['load']:.1f} at the end"
    head = f"{part['measured']}, in {part['seconds']} s; {part['machine']}{busy}."
    lines = [f"## {part['title']}", "", f"`python -m benchmarks {name}`: {part['notes']}", ""]
    lines += ["**A quick run: these figures mean nothing.**", ""] if part["quick"] else []
    lines += [f"{head} Python {part['python']}, {versions}.", ""]
    figures = [Figure(**each) for each in part["figures"]]
    lines += ["| | measured | against | its figure | ratio | aim |", "|---|---|---|---|---|---|"]
    lines += [_row(figure) for figure in figures]
    lines.append("")
    for each in part["curves"]:
        curve = Curve(**each)
        file = folder / "curves" / f"{name}-{curve.title.replace(' ', '-').replace(',', '')}.svg"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(_svg(curve))
        lines += [f"![{curve.title}](curves/{file.name})", ""]
    return "\n".join(lines)


def _row(figure: Figure) -> str:
    cells = [figure.what, _spread(figure.values, figure.unit), figure.against, "", "", ""]
    if figure.others:
        cells[3:5] = [_spread(figure.others, figure.unit), f"**{_spread(figure.ratios, '')}**"]
    if figure.aim is not None:
        cells[5] = f"{_aim(figure)}: {'**missed**' if figure.is_missed else 'reached'}"
    return f"| {' | '.join(cells)} |"


def _aim(figure: Figure) -> str:
    unit = "" if figure.others else f" {figure.unit}"
    return f"{'at least' if figure.at_least else 'at most'} {figure.aim:,g}{unit}"


def _spread(values: Sequence[float], unit: str) -> str:
    shown = f"{_shown(statistics.median(values))} {unit}".strip()
    if len(values) == 1:
        return shown
    return f"{shown} ({_shown(min(values))} to {_shown(max(values))})"


def _shown(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.2g}"


def _svg(curve: Curve) -> bytes:
    """The curve. Its sizes grow by factors, so they stand at equal distances."""
    # Only where it draws: it puts a finder into the process that others stumble over.
    import pygal
    from pygal.style import Style

    chart = pygal.Line(
        width=720,
        height=400,
        title=curve.title,
        x_title=curve.size,
        y_title=curve.cost,
        js=(),
        show_legend=len(curve.lines) > 1,
        legend_at_bottom=True,
        style=Style(background="white", plot_background="white", font_family="sans-serif"),
        no_prefix=True,
        min_scale=4,
        range=(0, 1.1 * max(y for points in curve.lines.values() for _, y in points)),
        value_formatter=_shown,
    )
    chart.uuid = "curve"  # not a new one in every run
    chart.x_labels = [f"{x:,}" for x, _ in next(iter(curve.lines.values()))]
    for name, points in curve.lines.items():
        chart.add(name, [y for _, y in points])
    svg: bytes = chart.render()
    return svg
