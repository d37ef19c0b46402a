"""The page of a large run, written and opened in a browser: ``python benchmarks/report.py``."""

from __future__ import annotations

import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from pytest_indexjob import Simulator, VirtualClock, scenarios
from pytest_indexjob.api.calls import API_URL, JOBS_PATH
from pytest_indexjob.exchange import Exchange, Request
from pytest_indexjob.secrecy.redaction import Redaction
from pytest_indexjob.story.page import write_report
from pytest_indexjob.story.record import record_test
from pytest_indexjob.story.text import story_text

TESTS = 2_000
POLLS = 6_000
ROUNDS = 5
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


def records() -> list[dict[str, Any]]:
    names = [scenario.name for scenario in scenarios.outcomes()]
    return [
        record_test(
            f"tests/test_module_{number // 40}.py::test_case_{number}",
            "passed" if number % 40 else "failed",
            0.01,
            life(names[number % len(names)], 13, number),
            redact=REDACT,
        )
        for number in range(TESTS)
    ]


def record(name: str, exchanges: list[Exchange]) -> dict[str, Any]:
    return record_test(name, "failed", 1.0, exchanges, redact=REDACT)


def median(work: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def main() -> None:
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    browser = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    stuck = life("stuck", POLLS)
    changing = changing_life(POLLS)
    print(
        f"the story of {POLLS} polls as text:"
        f" {1000 * median(lambda: story_text(changing, redact=REDACT)):.0f} ms"
    )
    print(f"their record: {1000 * median(lambda: record('test_changing', changing)):.0f} ms")
    pages = {
        f"{TESTS} tests of 13 polls": records(),
        f"{POLLS} equal polls": [record("test_stuck", stuck)],
        f"{POLLS} polls that all differ": [record("test_changing", changing)],
    }
    try:
        with tempfile.TemporaryDirectory() as folder:
            for name, tests in pages.items():
                page = Path(folder, "page.html")
                written = median(lambda page=page, tests=tests: write_report(page, tests))

                def open_page(page: Path = page) -> None:
                    browser.get(page.as_uri())
                    browser.execute_async_script(TWO_FRAMES)

                opened = median(open_page)
                print(
                    f"{name}: written in {written:.2f} s, opened in {opened:.2f} s,"
                    f" {page.stat().st_size / 1e6:.2f} MB"
                )
    finally:
        browser.quit()


if __name__ == "__main__":
    main()
