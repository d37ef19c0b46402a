"""Page."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from benchmarks.figures import Curve, Figure, seconds
from pytest_indexjob import Simulator, VirtualClock, scenarios
from pytest_indexjob.api.calls import API_URL, JOBS_PATH
from pytest_indexjob.exchange import Exchange, Request
from pytest_indexjob.secrecy.redaction import Redaction
from pytest_indexjob.story.page import write_report
from pytest_indexjob.story.record import record_test
from pytest_indexjob.story.text import story_text

LIBRARIES = ("Jinja2", "selenium")
NOTES = (
    "the page of many tests of 13 polls each, and of one test of many polls, written and opened in"
    " Chromium (headless)."
)
REDACT = Redaction().redact_text
TWO_FRAMES = (
    "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => done()))"
)


def life(scenario: str, polls: int, number: int = 0) -> list[Exchange]:
    """A test's exchanges: the job asked for every 5 s, with an answer of 503 among them."""
    clock = VirtualClock()
    simulator = Simulator(clock)
    job = (
        simulator.start(scenario, files=20 + number, duration=polls * 5.0)
        if number
        else simulator.start(scenario)
    )
    ask = Request("GET", f"{API_URL}{JOBS_PATH}/{job.uuid}", (("Authorization", "Bearer any"),))
    simulator.inject("server-error")
    for _ in range(polls):
        simulator.handle(ask)
        clock.sleep(5)
    return simulator.journal.exchanges


def changing_life(polls: int) -> list[Exchange]:
    """A test's exchanges, in each of which one more file is indexed than before."""
    template = life("stuck", 2)[-1]
    job = json.loads(template.response.body)["job"]
    exchanges = []
    for indexed in range(polls):
        counts = {"indexed_file_count": str(indexed), "total_file_count": str(polls)}
        body = json.dumps({"job": {**job, "data_source_jobs": [counts]}})
        response = template.response._replace(body=body.encode())
        exchanges.append(template._replace(response=response, at=5.0 * indexed))
    return exchanges


def records(tests: int) -> list[dict[str, Any]]:
    names = [scenario.name for scenario in scenarios.outcomes()]
    return [
        record_test(
            f"tests/test_module_{number // 40}.py::test_case_{number}",
            "passed" if number % 40 else "failed",
            0.01,
            life(names[number % len(names)], 13, number),
            redact=REDACT,
        )
        for number in range(tests)
    ]


def record(name: str, exchanges: list[Exchange]) -> dict[str, Any]:
    return record_test(name, "failed", 1.0, exchanges, redact=REDACT)


def browser() -> webdriver.Chrome:
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    return webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))


def written_and_opened(
    chrome: webdriver.Chrome, tests: list[dict[str, Any]], rounds: int
) -> tuple[list[float], list[float], float]:
    """Seconds to write and to open the page of the tests in each round, and its megabytes."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "page.html")

        def open_page() -> None:
            chrome.get(page.as_uri())
            chrome.execute_async_script(TWO_FRAMES)

        written = [seconds(lambda: write_report(page, tests)) for _ in range(rounds)]
        opened = [seconds(open_page) for _ in range(rounds)]
        return written, opened, page.stat().st_size / 1e6


def measure(*, quick: bool) -> Iterator[Figure | Curve]:
    sizes, polls, rounds = ((10, 20), 50, 1) if quick else ((20, 200, 2_000), 6_000, 5)
    changing = changing_life(polls)
    told = [seconds(lambda: story_text(changing, redact=REDACT)) for _ in range(rounds)]
    yield Figure(f"the story of {polls:,} polls that all differ, as text", "s", told)
    gathered = [seconds(lambda: record("test_changing", changing)) for _ in range(rounds)]
    yield Figure("the same, gathered for the page", "s", gathered)
    chrome = browser()
    lines: dict[str, list[tuple[float, float]]] = {"written": [], "opened": []}
    try:
        tests = records(sizes[-1])
        for size in sizes:
            written, opened, megabytes = written_and_opened(chrome, tests[:size], rounds)
            lines["written"].append((size, min(written)))
            lines["opened"].append((size, min(opened)))
        page = f"the page of {size:,} tests"
        yield Figure(f"{page}, written", "s", written, aim=3)
        yield Figure(f"{page}, opened", "s", opened, aim=2)
        yield Figure(f"{page}, size", "MB", [megabytes], aim=10)
        yield Curve("The page of many tests", "tests", "seconds", lines)
        for what, exchanges in (("equal", life("stuck", polls)), ("all different", changing)):
            one = [record("test_it", exchanges)]
            written, opened, megabytes = written_and_opened(chrome, one, rounds)
            page = f"the page of one test of {polls:,} polls, {what}"
            yield Figure(f"{page}, written", "s", written)
            yield Figure(f"{page}, opened", "s", opened)
            yield Figure(f"{page}, size", "MB", [megabytes])
    finally:
        chrome.quit()
