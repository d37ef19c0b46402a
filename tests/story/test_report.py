"""The report: what is written, and how the page works in a real browser."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import os
import re
import shutil
import sys

import pytest
from conftest import COMPLETED, JOB_URL, RUNNING, job_answer

from pytest_indexjob.api.errors import IndexJobError
from pytest_indexjob.exchange import Exchange, Request, Response, TransportFault
from pytest_indexjob.secrecy.redaction import Redaction
from pytest_indexjob.story.page import write_report
from pytest_indexjob.story.record import record_test

pytest.importorskip("jinja2", reason="needs Jinja2: pip install '.[test]'")

JSON = (("Content-Type", "application/json"),)
LIMITED = Response(
    429, (*JSON, ("retry-after", "2")), b'{"id": "too_many_requests", "message": "slow down"}'
)
MISSING = Response(404, JSON, b'{"id": "not_found", "message": "no such job"}')
COVERAGE = {"matrix": {"COMPLETED": {"SUCCEEDED": 3}, "NEW": {"ODD": 1}}, "other": {"timeout": 2}}
HOSTILE = (
    "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked=1'><!-- \u2028 &"
    " {{ 7*7 }}"
)


def polls(*answers, every=5.0, method="GET", url=JOB_URL):
    return [
        (
            Exchange(Request(method, url), None, answer, every * at)
            if isinstance(answer, Exception)
            else Exchange(Request(method, url), answer, None, every * at)
        )
        for at, answer in enumerate(answers)
    ]


def files(indexed, total):
    source = {
        "indexed_file_count": str(indexed),
        "total_file_count": str(total),
        "failed_item_count": "1",
    }
    return job_answer(
        status="INDEX_JOB_STATUS_IN_PROGRESS",
        phase="BATCH_JOB_PHASE_RUNNING",
        total_tokens="18446744073709551615",
        tokens=9007199254740993,
        data_source_jobs=[source],
    )


def database(status, name="manuals", **fields):
    body = {"knowledge_base": {"uuid": "b", "name": name, **fields}, "database_status": status}
    return Response(200, JSON, json.dumps(body).encode())


PROVISIONED = polls(
    database("CREATING"),
    database("CREATING"),
    database("ONLINE"),
    database("ONLINE", last_indexing_job=json.loads(RUNNING.body)["job"]),
    every=60,
    url="https://api.digitalocean.com/v2/gen-ai/knowledge_bases/b",
)


LIFE = polls(
    *[RUNNING] * 4, files(2, 5), LIMITED, TransportFault("timeout"), files(2, 5), MISSING, COMPLETED
)


def record(nodeid="tests/test_a.py::test_life", outcome="passed", exchanges=LIFE, sleeps=()):
    return record_test(nodeid, outcome, 0.5, exchanges, sleeps, redact=Redaction().redact_text)


def records():
    return [
        record("tests/test_a.py::test_one"),
        record("tests/test_a.py::test_two", "failed"),
        record("tests/test_b.py::TestB::test_three[a-b::c]", "skipped", []),
        record("tests/test_b.py::test_four", "error", polls(MISSING, every=0)),
        record("tests/test_b.py::test_five"),
    ]


def data_of(page):
    return json.loads(re.search(r'id="records">(.*?)</script>', page, re.DOTALL)[1])


# What is written.


def test_one_file_with_its_policy(tmp_path):
    path = tmp_path / "report.html"
    write_report(path, records(), coverage=COVERAGE, title="Run <7>")
    page = path.read_bytes().decode()
    assert [each.name for each in path.parent.iterdir()] == ["report.html"]
    assert "<title>Run &lt;7&gt;</title>" in page
    for name in ("script", "style"):
        (text,) = re.findall(rf"<{name}>(.*?)</{name}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in page
    assert "default-src 'none'" in page
    assert not re.search(
        r"<(link|img|iframe)|\son\w+=| style=|https?://(?!www\.w3\.org/2000/svg|api\.)", page
    )


def test_failures_come_first_and_all_are_there(tmp_path):
    write_report(tmp_path / "report.html", records())
    page = (tmp_path / "report.html").read_text()
    assert re.findall(r'<div role="listitem" data-outcome="(\w+)"', page) == [
        "failed",
        "error",
        "passed",
        "passed",
        "skipped",
    ]
    assert [test[0].rpartition("::test_")[2] for test in data_of(page)["tests"]][:3] == [
        "two",
        "four",
        "one",
    ]
    assert (
        '<span class="module">tests/test_b.py::TestB::</span><span class="own">test_three[a-b::c]'
        in page
    )
    assert 'class="card coverage"' not in page


def test_each_body_is_there_once_and_whole(tmp_path):
    write_report(tmp_path / "report.html", [record(str(at)) for at in range(50)])
    bodies = data_of((tmp_path / "report.html").read_text())["bodies"]
    assert len(bodies) == 6 - 1
    assert any('"tokens":9007199254740993' in body for body in bodies)


@pytest.mark.parametrize("text", [HOSTILE, "\ud800\x00", "]]>", "<!--<script>"])
def test_hostile_text_is_text(tmp_path, text):
    answer = job_answer(status=text, phase=text, uuid=text, error_details=text)
    raw = Response(502, (), text.encode("utf-8", "replace"), reason=text)
    exchanges = [
        *polls(answer, raw, OSError(text)),
        *polls(COMPLETED, url=f"{JOB_URL}/{text}", method=text),
    ]
    written = record(f"t.py::test[{text}]", text, exchanges)
    write_report(
        tmp_path / "report.html",
        [written],
        title=text,
        coverage={"matrix": {text: {text: 1}}, "other": {text: 1}},
    )
    page = (tmp_path / "report.html").read_bytes().decode()
    assert page.count("<script") == page.count("</script>") == 2
    assert "<img" not in page
    assert "<!--" not in page
    assert "\u2028" not in page.partition('id="records">')[2].partition("</script>")[0]


def test_without_jinja_one_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(IndexJobError) as caught:
        write_report(tmp_path / "report.html", [])
    assert str(caught.value) == "the report needs Jinja2: pip install 'pytest-indexjob[report]'"
    assert list(tmp_path.iterdir()) == []


def test_a_report_that_fails_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")
    monkeypatch.setattr(
        "pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full"))
    )
    with pytest.raises(OSError, match="disk full"):
        write_report(path, records())
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]


@pytest.fixture(scope="module")
def two_thousand():
    """Tests of which no body is like another's."""
    made = []
    for at in range(2_000):
        running = {
            "status": "INDEX_JOB_STATUS_IN_PROGRESS",
            "phase": "BATCH_JOB_PHASE_RUNNING",
            "test": f"{at}",
        }
        ended = {
            "status": "INDEX_JOB_STATUS_COMPLETED",
            "phase": "BATCH_JOB_PHASE_SUCCEEDED",
            "test": f"{at}",
        }
        life = [job_answer(**running, poll=poll) for poll in range(6)]
        changes = [files(indexed, 5) for indexed in range(6)]
        answers = polls(*life, *changes, LIMITED, job_answer(**ended, text="x" * 600))
        made.append(
            record(
                f"tests/test_{at // 40}.py::test_{at}",
                "failed" if at % 40 == 7 else "passed",
                answers,
            )
        )
    return made


@pytest.mark.slow
def test_two_thousand_tests_stay_under_the_limit(tmp_path, two_thousand):
    write_report(tmp_path / "report.html", two_thousand, coverage=COVERAGE)
    assert (tmp_path / "report.html").stat().st_size < 10_000_000


@pytest.mark.slow
def test_beyond_the_limits_ends_of_stories_are_kept(tmp_path):
    big = [files(at, 9_999) for at in range(400)]
    one = record(exchanges=polls(*big))
    made = [{**one, "nodeid": f"test_{at}"} for at in range(200)]
    write_report(tmp_path / "report.html", made)
    assert (tmp_path / "report.html").stat().st_size < 10_000_000
    tests = data_of((tmp_path / "report.html").read_text())["tests"]
    assert len(tests[0][4]) == 400
    assert (len(tests[-1][4]), tests[-1][2], tests[-1][3]) == (10, 390, 5)


@pytest.fixture(scope="module")
def large():
    """Tests whose bodies are more than a report holds."""
    return [
        record(f"test_{at}", exchanges=polls(job_answer(text=f"{at} of many " * 1_000)))
        for at in range(1_000, 1_600)
    ]


@pytest.mark.slow
def test_beyond_the_limits_bodies_are_left_out(tmp_path, large):
    write_report(tmp_path / "report.html", large)
    assert (tmp_path / "report.html").stat().st_size < 10_000_000
    tests = data_of((tmp_path / "report.html").read_text())["tests"]
    assert (tests[0][4][0][-2], tests[-1][4][0][-2]) == (0, -2)


# In the browser.

if importlib.util.find_spec("selenium"):
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
DRIVER = shutil.which("chromedriver")


@pytest.fixture(scope="module")
def chromium():
    """One headless Chromium for all tests of the module."""
    if not importlib.util.find_spec("selenium"):
        pytest.skip("selenium is not installed: pip install 'pytest-indexjob[browser]'")
    if not CHROMIUM or not DRIVER:
        pytest.skip("needs chromium and chromedriver on the PATH: apt-get install chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


class Page:
    """A report in the browser. Whatever a test does to it, the console stays empty and no
    request leaves it."""

    def __init__(self, driver, folder):
        self.driver = driver
        self.folder = folder

    def open(self, made, fragment="", **options):
        path = self.folder / "report.html"
        write_report(path, made, **options)
        self.driver.get("about:blank")
        self.driver.get(path.as_uri() + fragment)
        return self

    def look(self, *, theme="light", width=1280, media=""):
        emulation = {"media": media, "features": [{"name": "prefers-color-scheme", "value": theme}]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", emulation)
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        return self

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector):
        return WebDriverWait(self.driver, 10).until(lambda _: next(iter(self.all(selector)), None))

    def until(self, condition):
        return WebDriverWait(self.driver, 10).until(lambda _: condition())

    def js(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def keys(self, *keys):
        for key in keys:
            ActionChains(self.driver).send_keys(key).perform()

    def unfold(self, index=0):
        self.one(f"#t{index} > summary").click()
        return self.one(f"#t{index} .panel")

    def names(self):
        return self.js(
            "return [...document.querySelectorAll('.own')].filter(e => e.checkVisibility()).map(e"
            " => e.textContent)"
        )

    def panel(self):
        return self.one(".panel").text

    def requests(self):
        messages = (
            json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")
        )
        urls = [
            each["params"]["request"]["url"]
            for each in messages
            if each["method"] == "Network.requestWillBeSent"
        ]
        return {
            url
            for url in urls
            if not url.startswith((self.folder.as_uri(), "about:", "data:text/html"))
        }


@pytest.fixture
def page(chromium, tmp_path):
    chromium.get_log("browser")
    chromium.get_log("performance")
    page = Page(chromium, tmp_path).look()
    yield page
    assert chromium.get_log("browser") == []
    assert page.requests() == set()


@pytest.mark.slow
def test_filter_by_outcome(page):
    page.open(records())
    buttons = {button.text: button for button in page.all(".tools button")}
    assert list(buttons) == ["all 5", "failed 1", "error 1", "passed 2", "skipped 1"]
    buttons["passed 2"].click()
    assert page.names() == ["test_one", "test_five"]
    assert [button.get_attribute("aria-pressed") for button in buttons.values()] == [
        *["false"] * 3,
        "true",
        "false",
    ]
    assert page.one(".found").text == "2 of 5 tests"
    buttons["all 5"].click()
    assert len(page.names()) == 5


@pytest.mark.slow
def test_search_by_words(page):
    page.open(records())
    search = page.one("#search")
    search.send_keys("TEST_B four")
    assert page.names() == ["test_four"]
    search.clear()
    search.send_keys("nothing like it")
    assert page.names() == []
    assert page.one("#none").is_displayed()
    search.clear()
    search.send_keys("completed")
    page.all(".tools button")[1].click()
    assert page.names() == ["test_two"]


@pytest.mark.slow
def test_a_picture_is_drawn_when_a_test_is_opened(page):
    page.open(records())
    assert page.all("main svg") == []
    page.unfold()
    assert len(page.all("#t0 svg[role=img] .band")) == 2 + 2
    assert [label.text for label in page.all("#t0 .band text")] == [
        "IN_PROGRESS",
        "COMPLETED",
        "RUNNING",
        "SUCCEEDED",
    ]
    # Four equal polls, then a change, 429, no answer, a retry, 404 and the end.
    kinds = [mark.get_attribute("class").split()[1] for mark in page.all("#t0 .picture .mark")]
    assert kinds == ["ok", "ok", "fault", "fault", "retry", "error", "ok"]
    described = page.js("return document.querySelector('#t0 svg[role=img] desc').textContent")
    assert described == "Status IN_PROGRESS from 0 s, COMPLETED from 45 s. Files indexed: 2 of 5."
    assert page.all("#t1 svg") == []


@pytest.mark.slow
def test_a_database_has_a_band_of_its_own(page):
    others = [
        Exchange(each.request, database(HOSTILE, name), None, each.at + 7)
        for name in ("a", HOSTILE, "c")
        for each in PROVISIONED[:1]
    ]
    page.open(
        [
            record("a", exchanges=PROVISIONED),
            record("b", exchanges=[*PROVISIONED, *others]),
            record("c", exchanges=PROVISIONED[:3]),
        ]
    )
    page.unfold()
    bands = page.all("#t0 svg[role=img] .band")
    classes = [band.get_attribute("class") for band in bands]
    assert classes == ["band run", "band good", "band run", "band run"]
    assert [band.text for band in bands[:2]] == ["CREATING", "ONLINE"]
    described = page.js("return document.querySelector('#t0 svg[role=img] desc').textContent")
    told = "Database of manuals: CREATING from 0 s, ONLINE from 2 min."
    assert described == f"{told} Status IN_PROGRESS from 3 min."
    chips = [chip.text for chip in page.all(".test > summary .chip")]
    assert chips == ["passed", "IN_PROGRESS", "passed", "IN_PROGRESS", "passed", "ONLINE"]
    labels = [label.text for label in page.all("#t0 svg[role=group] .small")]
    assert labels == ["knowledge_bases", "get"]
    page.unfold(1)
    picture = page.one("#t1 svg[role=img]").text
    assert "knowledge base manuals" in picture
    assert "and 1 more databases" in picture
    assert page.js("return window.hacked") is None


@pytest.mark.slow
def test_exchanges_are_folded_and_show_their_bodies(page):
    page.open(records())
    page.unfold()
    exchanges = page.all("#t0 .exchange")
    assert len(exchanges) == 7
    assert "0 s to 15 s" in exchanges[0].text
    assert "× 4" in exchanges[0].text  # noqa: RUF001
    exchanges[1].click()
    body = page.one("#t0 .exchange pre").text
    assert '"tokens": 9007199254740993' in body
    assert json.loads(body)["job"]["data_source_jobs"][0]["failed_item_count"] == "1"


@pytest.mark.slow
def test_pointing_at_a_call_shows_it(page):
    page.open(records())
    page.unfold()
    assert "Point at a call above, tap it" in page.panel()
    ActionChains(page.driver).move_to_element(page.all("#t0 .picture .mark .head")[2]).perform()
    page.until(lambda: "429 too_many_requests" in page.panel())
    assert "GET /v2/gen-ai/indexing_jobs/5c0e1d52… → 429" in page.panel()
    assert "25 s · fault: rate limit, retry-after 2 s" in page.panel()


@pytest.mark.slow
def test_the_keyboard_alone_is_enough(page):
    page.open(records())
    page.js("document.querySelector('#search').focus()")
    page.keys(Keys.TAB, Keys.ENTER)
    page.one("#t0 .panel")
    page.keys(Keys.TAB)
    page.until(lambda: "0 s to 15 s, 4 times" in page.panel())
    page.keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    page.until(lambda: "→ timeout" in page.panel())
    label = page.js("return document.activeElement.getAttribute('aria-label')")
    assert label.startswith(
        "Call 4 of 7: GET /v2/gen-ai/indexing_jobs/5c0e1d52…, fault timeout, 30 s"
    )
    page.keys(Keys.END, Keys.ARROW_RIGHT)
    page.until(lambda: "COMPLETED" in page.panel())
    page.keys(Keys.HOME, Keys.ARROW_LEFT, Keys.ARROW_DOWN, Keys.ENTER)
    assert page.one("#t0 .exchange[open] pre").is_displayed()
    assert page.js(
        "return document.activeElement.parentElement === document.querySelectorAll('#t0"
        " .exchange')[1]"
    )
    # One stop for all marks: a tab goes on to the list.
    assert len(page.all("#t0 .mark[tabindex='0']")) == 1


@pytest.mark.slow
def test_a_link_opens_its_test_and_a_lone_test_is_open(page):
    page.open(records(), fragment="#t2")
    assert page.one("#t2[open] .panel").is_displayed()
    page.open([record()])
    assert page.one("#t0[open] .panel").is_displayed()


@pytest.mark.slow
def test_no_time_no_calls_and_two_jobs(page):
    other = [
        Exchange(Request("GET", f"{JOB_URL[:-1]}9"), each.response, None, each.at)
        for each in polls(RUNNING, COMPLETED)
    ]
    two = job_answer(uuid="", status="INDEX_JOB_STATUS_PENDING", phase="BATCH_JOB_PHASE_PENDING")
    page.open(
        [
            record("a", exchanges=[]),
            record("b", exchanges=polls(RUNNING, COMPLETED, every=0)),
            record("c", exchanges=[*other, *polls(two)]),
        ]
    )
    page.one("#t0 > summary").click()
    assert "made no calls" in page.one("#t0 .story").text
    page.unfold(1)
    assert "call no." in page.one("#t1 .picture").text
    page.unfold(2)
    assert "job 5c0e1d52" in page.one("#t2 .picture").text
    assert "job without uuid" in page.one("#t2 .picture").text


@pytest.mark.slow
def test_what_is_left_out_is_said(page):
    page.open([record(exchanges=polls(*[files(at, 700) for at in range(700)]))])
    assert page.one("#t0 .gap").text == "… 200 changes left out …"
    assert len(page.all("#t0 .exchange")) == 500


@pytest.mark.slow
def test_a_body_that_was_left_out_is_said(page, large):
    page.open(large, fragment="#t599")
    page.one("#t599 .exchange > summary").click()
    assert page.one("#t599 .absent").text.startswith("Left out")


@pytest.mark.slow
def test_hostile_text_runs_nothing(page):
    answer = job_answer(status=HOSTILE, phase=HOSTILE, uuid=HOSTILE, error_details=HOSTILE)
    raw = Response(502, (), HOSTILE.encode())
    hostile = record(f"t.py::test[{HOSTILE}]", HOSTILE, polls(answer, raw, OSError(HOSTILE)))
    page.open(
        [hostile],
        title=HOSTILE,
        coverage={"matrix": {HOSTILE: {HOSTILE: 1}}, "other": {HOSTILE: 1}},
    )
    for exchange in page.all("#t0 .exchange"):
        page.js("arguments[0].open = true", exchange)
    page.until(lambda: len(page.all("#t0 pre")) == 2)
    assert page.all("img") == []
    assert "<img src=x onerror='window.hacked=1'>" in page.all("#t0 pre")[1].text
    assert page.js("return window.hacked") is None
    page.look(theme="light")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.slow
@pytest.mark.parametrize("width", [400, 1280])
def test_it_fits_and_is_accessible(page, theme, width):
    axe = pytest.importorskip(
        "axe_selenium_python", reason="needs axe-selenium-python: pip install '.[browser]'"
    )
    shown = [*records(), record("tests/test_c.py::test_database", exchanges=PROVISIONED)]
    page.look(theme=theme, width=width).open(shown, coverage=COVERAGE)
    page.unfold()
    page.unfold(4)
    page.all("#t0 .exchange")[2].click()
    page.keys(Keys.SHIFT + Keys.TAB)
    assert page.js(
        "return document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    )
    dark = page.js("return getComputedStyle(document.body).backgroundColor") == "rgb(19, 22, 25)"
    assert dark == (theme == "dark")
    # The package comes with an old axe-core; the variable names the file of a newer one.
    newer = os.environ.get("AXE_CORE")
    rules = axe.Axe(page.driver, newer) if newer else axe.Axe(page.driver)
    rules.inject()
    found = rules.run()["violations"]
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == []


@pytest.mark.slow
def test_it_prints_in_light_colors_without_its_tools(page):
    page.open(records()).look(theme="dark", media="print")
    assert page.js("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.one(".tools").is_displayed()
    assert page.driver.execute_cdp_cmd("Page.printToPDF", {})["data"]


@pytest.mark.slow
def test_two_thousand_tests_open_and_filter_at_once(page, two_thousand):
    page.open(two_thousand, coverage=COVERAGE)
    page.one("#search").send_keys("test_1999")
    assert page.names() == ["test_1999"]
    page.js("document.querySelector('#t1999').open = true")
    assert page.one("#t1999 .mark").is_displayed()


@pytest.mark.slow
def test_six_thousand_polls_are_drawn_as_few_shapes(page):
    page.open([record(exchanges=polls(*[RUNNING] * 6_000))])
    page.one("#t0 .mark")
    assert page.js("return document.querySelectorAll('#t0 svg *').length") < 100


@pytest.mark.slow
def test_long_stories_are_told_in_hours_and_days(page):
    life = [*polls(RUNNING, RUNNING, every=5400.0), polls(COMPLETED)[0]._replace(at=172_860.0)]
    page.open([record_test("test_days", "passed", 75.4, life, redact=Redaction().redact_text)])
    assert "1 min 15 s" in page.one("#t0 summary").text
    assert [row.text.splitlines()[0] for row in page.all("#t0 .exchange .at")] == [
        "0 s to 1 h 30 min",
        "2 days 1 min",
    ]
    labels = [label.text for label in page.all("#t0 svg[role=group] text")]
    assert {"0 s", "12 h", "1 day", "2 days"} <= set(labels)


@pytest.mark.slow
def test_a_run_without_tests_says_so(page):
    page.open([], coverage={"matrix": {}, "other": {}})
    assert page.one("#none").text == "No test of this run used the plugin."
    assert not page.one(".tools").is_displayed()
    assert page.all(".coverage") == []
