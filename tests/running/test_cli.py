"""The command line, each command as a user runs it."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest
import yaml

from pytest_indexjob import LoopbackServer, Simulator, VirtualClock
from pytest_indexjob.cli import main
from pytest_indexjob.recording.cassette import load
from pytest_indexjob.recording.library import shipped_folder, shipped_names

SHIPPED = shipped_folder()
TOKEN = "dop_v1_" + "0123456789abcdef" * 4
JOBS = "/v2/gen-ai/indexing_jobs"


@pytest.fixture
def run(capsys):
    """Runs a command: ``run("audit", path)`` gives the exit status, what it printed and its
    errors."""

    def call(*arguments):
        try:
            status = main([str(each) for each in arguments])
        except SystemExit as stopped:
            status = stopped.code
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return call


def test_help_says_what_there_is_with_examples(run):
    status, text, _ = run("--help")
    assert status == 0
    for command in ("list", "serve", "record", "show", "audit", "drift", "coverage"):
        assert command in text
        status, own, _ = run(command, "--help")
        assert (
            status,
            f"example:\n    pytest-indexjob {command}" in own,
            "exit status: 0" in own,
        ) == (0, True, True)
    assert run("--version")[1].startswith("pytest-indexjob ")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["audit"],
        ["record", "x"],
        ["coverage", "combine", "x"],
        ["serve", "--port", "x"],
    ],
)
def test_a_usage_error_is_2_and_no_traceback(run, arguments):
    status, _, told = run(*arguments)
    assert status == 2
    assert "Traceback" not in told


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "partial", "--html"),
        ("serve", "--log"),
        ("record", "5c0e1d52-b5f6-11f0-9c3a-0a58a9feac02", "--output"),
        ("coverage", "combine", "none.json", "--output"),
    ],
)
def test_no_command_makes_a_folder_for_what_it_writes(run, tmp_path, arguments):
    path = tmp_path / "new" / "file"
    status, _, told = run(*arguments, path)
    problem = f"can't be written: there is no folder {path.parent}: make it first"
    assert (status, told) == (2, f"pytest-indexjob: {arguments[-1]} {path} {problem}\n")
    assert not path.parent.exists()


def test_the_module_and_the_command_are_the_same():
    for command in (
        [sys.executable, "-m", "pytest_indexjob"],
        [Path(sys.executable).with_name("pytest-indexjob")],
    ):
        done = subprocess.run(
            [*command, "audit", SHIPPED / "completed.yaml"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout.strip()) == (0, "no findings")


# audit and drift


def test_audit_finds_and_says_so_by_its_status(run, tmp_path):
    path = tmp_path / "mine.yaml"
    text = (SHIPPED / "completed.yaml").read_text()
    path.write_text(text)
    assert run("audit", tmp_path)[0] == 0
    path.write_text(
        text.replace(
            "Accept:\n      - application/json", f"Authorization:\n      - Bearer {TOKEN}", 1
        )
    )
    status, told, _ = run("audit", tmp_path)
    assert status == 1
    assert f"{path}:6" in told
    assert TOKEN not in told
    status, told, _ = run("audit", path, "--json")
    finding = json.loads(told)[0]
    assert (status, finding["rule"], finding["line"]) == (1, "secret", 6)
    assert run("audit", tmp_path / "nothing")[0] == 2
    (tmp_path / "empty").mkdir()
    assert run("audit", tmp_path / "empty")[0] == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "text", ["", "[1]", "{}", "5", "[" * 100_000, "9" * 5000, '"x"'], ids=lambda text: text[:9]
)
def test_a_list_of_used_files_that_is_none_is_told(run, tmp_path, text):
    used = tmp_path / "used.json"
    used.write_text(text)
    status, _, told = run("audit", SHIPPED / "completed.yaml", "--used", used)
    assert status == 2
    said = "used.json is no list of used recordings: pytest --indexjob-used-file=FILE writes such"
    assert said in told


@pytest.mark.usefixtures("installed_plugins")
def test_audit_knows_the_files_that_no_test_used(run, tmp_path, pytester):
    folder = pytester.path / "cassettes"
    folder.mkdir()
    for name in ("used", "unused"):
        (folder / f"{name}.yaml").write_text((SHIPPED / "completed.yaml").read_text())
    pytester.makepyfile(
        "import pytest\n@pytest.mark.indexjob_cassette('used')\ndef test_it(): pass\n"
    )
    pytester.runpytest("-p", "no:cacheprovider", "--indexjob-used-file=used.json", "-n", "2")
    status, told, _ = run("audit", folder, "--used", pytester.path / "used.json")
    assert status == 1
    assert "unused.yaml" in told
    assert "/used.yaml" not in told


def test_drift_tells_by_severity(run, tmp_path):
    assert run("drift", SHIPPED / "completed.yaml")[0] == 0
    status, told, _ = run("drift", SHIPPED / "future-status.yaml", "--json")
    assert status == 1
    assert {each["kind"] for each in json.loads(told)} == {"unknown-value"}
    assert run("drift")[0] == 2
    assert run("drift", tmp_path)[0] == 2
    assert run("drift", tmp_path / "none.yaml")[0] == 2


def test_drift_compares_with_a_document_of_ones_own(run):
    document = Path(__file__).parents[1] / "data" / "openapi-excerpt.yaml"
    assert run("drift", SHIPPED / "completed.yaml", "--spec", document)[0] in (0, 1)
    assert run("drift", SHIPPED / "completed.yaml", "--spec", SHIPPED / "completed.yaml")[0] == 2


# record, and drift against a live service: a loopback server stands for it


@pytest.fixture
def service(monkeypatch):
    simulator = Simulator(VirtualClock(), token=TOKEN, requests_per_minute=None)
    server = LoopbackServer(simulator.handle, clock=simulator.clock, step_per_poll=30.0).start()
    monkeypatch.setenv("DIGITALOCEAN_ACCESS_TOKEN", TOKEN)
    yield simulator, server
    server.stop()


def record_command(uuid, output, server):
    where = ("-o", output, "--base-url", server.url)
    return ("record", uuid, *where, "--poll-interval", "0.001")


def test_record_polls_a_job_to_its_end(run, service, tmp_path):
    simulator, server = service
    job = simulator.start("partial")
    output = tmp_path / "mine.yaml"
    command = record_command(job.uuid, output, server)
    status, told, _ = run(*command)
    assert status == 0
    assert "PARTIAL SUCCEEDED 4/5 files, 1 failed" in told
    assert told.endswith(f"{output}: 12 polls, ended PARTIAL\n")
    recording = load(output)
    assert recording.provenance["whole_life"] is True
    assert TOKEN not in output.read_text()
    assert [path.name for path in output.parent.iterdir()] == ["mine.yaml"]
    assert run("audit", output)[0] == 0
    asked = len(simulator.journal)
    assert run(*command)[0] == 0
    assert len(simulator.journal) == asked  # it is whole: nothing is asked again


def test_record_keeps_of_a_long_life_what_a_cassette_can_hold(run, service, tmp_path, monkeypatch):
    monkeypatch.setattr("pytest_indexjob.recording.life._MOST_POLLS", 20)  # 1500 would take minutes
    simulator, server = service
    job = simulator.start("partial", duration=3600)
    output = tmp_path / "mine.yaml"
    options = ("-o", output, "--base-url", server.url, "--poll-interval", "0.0001")
    status, told, _ = run("record", job.uuid, *options)
    assert status == 0
    recording = load(output)
    assert len(recording.interactions) <= 20
    left_out = recording.provenance["polls_left_out"]
    assert len(recording.interactions) + left_out == len(simulator.journal) > 100
    said = f"{len(recording.interactions)} polls ({left_out} more were left out), ended PARTIAL"
    assert told.splitlines()[-1] == f"{output}: {said}"
    asked = [json.loads(each.response.body)["job"] for each in simulator.journal.exchanges]
    kept = [json.loads(each.response.body)["job"] for each in recording.interactions]
    assert (kept[0], kept[-1]) == (asked[0], asked[-1])

    def stands(jobs):
        each = ((job["status"], job["phase"]) for job in jobs)
        return [stand for stand, _ in itertools.groupby(each)]

    assert stands(kept) == stands(asked)
    assert run("audit", output)[0] == 0


def test_record_goes_on_where_it_was_interrupted(run, service, tmp_path, monkeypatch):
    simulator, server = service
    job = simulator.start("partial")
    output = tmp_path / "mine.yaml"
    command = record_command(job.uuid, output, server)
    handle, asked, has_stopped = simulator.handle, [], threading.Event()
    # A shell has a command that it runs in the background ignore the signal.
    heard = signal.signal(signal.SIGINT, signal.default_int_handler)

    def interrupted(request):
        asked.append(request)
        if len(asked) == 5:
            os.kill(os.getpid(), signal.SIGINT)
            # The command waits for this answer, so that is where the signal meets it.
            has_stopped.wait(60)
        return handle(request)

    server.answer = interrupted
    try:
        status, told, _ = run(*command)
    finally:
        has_stopped.set()
        signal.signal(signal.SIGINT, heard)
    assert status == 130
    assert "run the same command again to resume" in told
    part = output.with_name("mine.yaml.part")
    part.write_text(part.read_text() + '"cut')
    status, told, _ = run(*command)
    assert status == 0
    assert re.search(r"resuming after [45] polls of an earlier run", told)
    recorded = load(output).interactions
    seen = [json.loads(item.response.body)["job"]["updated_at"] for item in recorded]
    assert seen == sorted(seen)
    assert len(recorded) in (11, 12)  # the answer to the poll that was interrupted may be lost
    assert not part.exists()


def test_record_refuses_another_jobs_file_and_a_missing_token(run, service, tmp_path, monkeypatch):
    simulator, server = service
    first, second = simulator.start("completed").uuid, simulator.start("completed").uuid
    output = tmp_path / "mine.yaml"
    arguments = ("-o", output, "--base-url", server.url, "--poll-interval", "0.001")
    assert run("record", first, *arguments)[0] == 0
    before = output.read_bytes()
    status, _, told = run("record", second, *arguments)
    assert (status, "holds another recording" in told, output.read_bytes()) == (2, True, before)
    monkeypatch.delenv("DIGITALOCEAN_ACCESS_TOKEN")
    status, _, told = run("record", first, "-o", tmp_path / "other.yaml")
    assert (status, "set DIGITALOCEAN_ACCESS_TOKEN" in told) == (2, True)


def test_drift_asks_the_live_service(run, service):
    simulator, server = service
    job = simulator.start("future-status")
    assert run("drift", "--live", job.uuid, "--base-url", server.url)[0] == 0
    simulator.clock.advance(400)
    status, told, _ = run("drift", "--live", job.uuid, "--base-url", server.url)
    assert status == 1
    assert "unknown-value" in told
    assert run("drift", "--live", "unknown", "--base-url", server.url)[0] == 2


# show


def test_show_tells_a_cassettes_story(run, tmp_path):
    status, told, _ = run("show", SHIPPED / "partial.yaml")
    assert status == 0
    assert "2/3 files · 1 failed" in told
    record = json.loads(run("show", SHIPPED / "partial.yaml", "--json")[1])
    assert record["outcome"] == "recorded"
    page = tmp_path / "page.html"
    assert run("show", SHIPPED / "partial.yaml", "--html", page)[1].strip() == str(page)
    assert "<!doctype html>" in page.read_text()[:200].lower()


def test_show_says_what_is_no_cassette(run, tmp_path):
    path = tmp_path / "other.yaml"
    path.write_text("a: 1\n")
    status, _, told = run("show", path)
    assert (status, "it is YAML, but no cassette" in told) == (2, True)
    assert run("show", tmp_path / "nothing.yaml")[0] == 2


# coverage


def test_coverage_adds_up_shards(run, tmp_path, pytester):
    pytester.makepyfile("""
        def test_one(indexjob_client, indexjob_simulator):
            indexjob_client.wait(indexjob_simulator.start("partial").uuid)
        def test_two(indexjob_client, indexjob_simulator):
            indexjob_client.wait(indexjob_simulator.start("failed").uuid)
    """)
    for name in ("one", "two"):
        pytester.runpytest(
            "-p", "no:cacheprovider", "-k", name, f"--indexjob-coverage-file={name}.json"
        )
    files = [pytester.path / "one.json", pytester.path / "two.json"]
    status, told, _ = run("coverage", "combine", *files, "-o", tmp_path / "all.json")
    assert (status, "2 tests" in told) == (0, True)
    status, told, _ = run("coverage", "report", tmp_path / "all.json", "--fail-under", "90")
    assert status == 1
    assert re.search(r"PARTIAL +seen by 1 test", told)
    assert run("coverage", "report", tmp_path / "all.json", "--fail-under", "101")[0] == 2
    broken = tmp_path / "broken.json"
    broken.write_text(files[0].read_text()[:50])
    status, _, told = run("coverage", "combine", *files, broken, "-o", tmp_path / "all.json")
    assert (status, str(broken) in told) == (2, True)
    status, _, told = run(
        "coverage", "combine", *files, broken, "-o", tmp_path / "all.json", "--skip-broken"
    )
    assert (status, "left out" in told) == (0, True)


# serve


class Served:
    def __init__(self, *arguments):
        command = [sys.executable, "-m", "pytest_indexjob", "serve", *arguments]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.first = self.process.stdout.readline()
        self.url = re.search(r"http://127\.0\.0\.1:\d+", self.first).group()
        self.variables = dict(
            self.process.stdout.readline().split(" ", 1)[1].strip().split("=", 1) for _ in range(3)
        )

    def ask(self, method, path, body=None, token="any"):
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def stop(self, number=signal.SIGINT):
        self.process.send_signal(number)
        printed, told = self.process.communicate(timeout=20)
        return self.process.returncode, printed, told


@pytest.fixture
def serve():
    started = []

    def start(*arguments):
        started.append(Served(*arguments))
        return started[-1]

    yield start
    for served in started:
        if served.process.poll() is None:
            served.process.kill()
            served.process.communicate()


def test_serve_simulates_and_obeys_its_control_api(serve):
    served = serve("--scenario", "partial", "--step-per-poll", "50")
    assert served.variables["GRADIENT_BASE_URL"] == served.url
    assert "_indexjob" in served.first
    _, created = served.ask("POST", JOBS, {"knowledge_base_uuid": "base"})
    path = f"{JOBS}/{created['job']['uuid']}"
    polls = [served.ask("GET", path)[1]["job"]["status"] for _ in range(7)]
    assert polls[-1] == "INDEX_JOB_STATUS_PARTIAL"

    status, started = served.ask("POST", "/_indexjob/jobs", {"scenario": "failed", "files": 7})
    assert status == 200
    served.ask("POST", "/_indexjob/faults", {"fault": "server-error", "times": 1, "on": "get"})
    path = f"{JOBS}/{started['job']['uuid']}"
    assert served.ask("GET", path)[0] == 500
    assert served.ask("POST", "/_indexjob/clock", {"advance": 400})[1]["elapsed"] >= 750
    job = served.ask("GET", path)[1]["job"]
    assert (job["status"], job["data_source_jobs"][0]["failed_item_count"]) == (
        "INDEX_JOB_STATUS_FAILED",
        "7",
    )
    journal = served.ask("GET", "/_indexjob/journal")[1]["exchanges"]
    assert [each["status"] for each in journal] == [*[200] * 8, 500, 200]
    served.ask("POST", "/_indexjob/plan", {"scenario": "no-changes"})
    served.ask("POST", "/_indexjob/reset")
    assert served.ask("GET", path)[0] == 404
    assert served.ask("GET", "/_indexjob/journal")[1]["exchanges"][-1]["status"] == 404
    assert "stuck" in served.ask("GET", "/_indexjob")[1]["scenarios"]
    for order, body in (
        ("jobs", {"scenario": "nonsense"}),
        ("jobs", {"files": -1}),
        ("jobs", {"scenario": 3}),
        ("faults", {}),
        ("faults", {"fault": "server-error", "times": "x"}),
        ("clock", {"advance": -1}),
        ("clock", {}),
        ("jobs", [1]),
    ):
        status, told = served.ask("POST", f"/_indexjob/{order}", body)
        assert (status, told["id"], bool(told["message"])) == (400, "invalid_argument", True)
    assert served.ask("GET", "/_indexjob/nonsense")[0] == 404
    status, printed, told = served.stop()
    assert (status, told) == (0, "")
    assert f"GET {served.url}{path} 500" in printed


def test_serve_documented_example_answers_any_call(serve):
    served = serve("--documented-example")
    for method, path in (
        ("GET", f"{JOBS}/anything"),
        ("GET", f"{JOBS}/x/data_sources"),
        ("GET", f"{JOBS}/x/details_signed_url"),
        ("GET", JOBS),
        ("POST", JOBS),
        ("PUT", f"{JOBS}/x/cancel"),
        ("GET", "/v2/gen-ai/knowledge_bases/x/indexing_jobs"),
    ):
        status, body = served.ask(method, path, {} if method != "GET" else None, token="whatever")
        assert (status, "example string" in json.dumps(body)) == (200, True)
    assert served.ask("GET", "/v2/other")[0] == 404
    assert served.stop(signal.SIGTERM)[0] == 0


def test_serve_logs_where_it_is_told_and_no_secret(serve, tmp_path):
    log = tmp_path / "log.txt"
    served = serve("--token", TOKEN, "--log", str(log))
    assert served.ask("GET", f"{JOBS}?token=HUSH")[0] == 401
    assert served.ask("GET", JOBS, token=TOKEN)[0] == 200
    _, printed, _ = served.stop()
    assert log.read_text().splitlines() == [
        f"GET {served.url}{JOBS}?token=REDACTED 401",
        f"GET {served.url}{JOBS} 200",
    ]
    assert TOKEN not in log.read_text() + printed + served.first + str(served.variables)


def test_serve_refuses_what_it_can_not_do(serve, run):
    served = serve()
    port = served.url.rpartition(":")[2]
    status, _, told = run("serve", "--port", port)
    assert (status, f"port {port} of 127.0.0.1 is in use" in told) == (2, True)
    status, _, told = run("serve", "--scenario", "partil")
    assert (status, "Did you mean partial" in told) == (2, True)
    assert run("serve", "--step-per-poll", "-1")[0] == 2
    assert run("serve", "--log", "/proc/nowhere/log")[0] == 2


def test_cassettes_of_record_are_plain_yaml(run, service, tmp_path):
    simulator, server = service
    job = simulator.start("completed")
    output = tmp_path / "mine.yaml"
    run(*record_command(job.uuid, output, server))
    content = yaml.safe_load(output.read_text())
    assert content["version"] == 1
    assert content["provenance"]["recorded_at"][:4] == str(time.gmtime().tm_year)


# list, and names instead of files


@pytest.mark.parametrize(
    ("kind", "some"),
    [
        ("recordings", "partial "),
        ("scenarios", "succeeded-but-failed "),
        ("faults", "reset-midway "),
        ("calls", "jobs.create "),
    ],
)
def test_what_there_is_is_listed(run, kind, some):
    status, text, _ = run("list", kind)
    assert status == 0
    assert any(line.startswith(some) and len(line) > len(some) for line in text.splitlines())


def test_every_shipped_recording_is_listed(run):
    names = [line.split()[0] for line in run("list", "recordings")[1].splitlines()]
    assert names == shipped_names()


def test_a_shipped_name_stands_for_its_file(run):
    assert run("show", "partial")[1] == run("show", SHIPPED / "partial.yaml")[1]
    assert run("audit", "completed") == run("audit", SHIPPED / "completed.yaml")
    assert run("drift", "completed") == run("drift", SHIPPED / "completed.yaml")
    for command in ("show", "audit", "drift"):
        status, _, told = run(command, "complete")
        assert status == 2
        assert "there is no cassette 'complete'" in told


@pytest.mark.parametrize(
    ("scenario", "last"), [("partial", "PARTIAL "), ("stuck", "IN_PROGRESS "), ("pending", "COMPL")]
)
def test_a_scenario_is_shown(run, scenario, last):
    status, text, _ = run("show", "--scenario", scenario)
    assert status == 0
    story = text.partition("\n\n")[0].splitlines()
    assert last in story[-1]
    assert json.loads(run("show", "--scenario", scenario, "--json")[1])["nodeid"] == (
        f"scenario {scenario}"
    )


def test_a_scenario_that_is_none(run):
    status, _, told = run("show", "--scenario", "partail")
    assert status == 2
    assert "partial" in told


def test_a_reader_that_has_enough_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest_indexjob", "show", "partial", "--verbose"],
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


# completion, and what a terminal sees


def completed(words, script):
    """What bash offers for the last of the words."""
    code = (
        'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1));'
        ' COMP_LINE="$*"; COMP_POINT=${#COMP_LINE};'
        ' name=$(complete -p pytest-indexjob | sed -E "s/.*-F ([^ ]+).*/\\1/");'
        ' "$name" "$1" "${@: -1}" "${@: -2:1}"; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", code, "bash", str(script), "pytest-indexjob", *words],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_bash_completes_commands_options_names_and_files(run, tmp_path):
    pytest.importorskip("shtab", reason="needs shtab: pip install '.[completion]'")
    if shutil.which("bash") is None:
        pytest.skip("needs bash")
    status, text, _ = run("--print-completion", "bash")
    assert status == 0
    script = tmp_path / "completion.bash"
    script.write_text(text)
    assert completed(["se"], script) == ["serve"]
    assert completed(["audit", "--max"], script) == ["--max-age"]
    assert completed(["list", "scen"], script) == ["scenarios"]
    assert completed(["serve", "--scenario", "part"], script) == ["partial"]
    (tmp_path / "mine.yaml").touch()
    mine = str(tmp_path / "mine.yaml")
    assert completed(["show", mine[:-6]], script) == [mine]


def test_completion_without_its_library_names_the_way_out(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    status, _, told = run("--print-completion", "zsh")
    assert (status, "pip install 'pytest-indexjob[completion]'" in told) == (2, True)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("command", ["audit", "drift"])
def test_a_terminal_sees_how_many_files_are_done(command, tmp_path):
    import pty

    for name in ("one", "two", "three"):
        (tmp_path / f"{name}.yaml").write_text((SHIPPED / "completed.yaml").read_text())
    words = [sys.executable, "-m", "pytest_indexjob", command, str(tmp_path)]
    terminal, end = pty.openpty()
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=end, check=False)
    os.close(end)
    seen = os.read(terminal, 10_000).decode()
    os.close(terminal)
    assert "\r2 of 3 files" in seen
    assert seen.endswith(f"\r{' ' * len('2 of 3 files')}\r")  # the line is gone in the end
    piped = subprocess.run(words, capture_output=True, check=False)
    assert (piped.stdout, piped.stderr) == (done.stdout, b"")


@pytest.mark.parametrize(
    ("what", "outcome"), [(("partial",), "recorded"), (("--scenario", "stuck"), "simulated")]
)
def test_the_page_of_a_recording_or_a_scenario_speaks_of_no_tests(run, tmp_path, what, outcome):
    pytest.importorskip("jinja2", reason="needs Jinja2: pip install '.[report]'")
    page = tmp_path / "page.html"
    assert run("show", *what, "--html", page)[0] == 0
    text = page.read_text()
    assert f'<span class="chip wait">{outcome}</span>' in text
    assert "<h2 hidden>Tests</h2>" in text
    assert re.search(r'<p class="sum">\d+ calls</p>', text)
    assert "0.00 s</span>" not in text
