"""The rules by which cassettes on disk are audited: each fires, and none does on what is as it
should be."""

from __future__ import annotations

import base64
import gzip
import itertools
import json
import os
from pathlib import Path

import pytest
import yaml
from conftest import COMPLETED, JOB_URL, JOB_UUID, RUNNING, cassette_text, job_answer
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_indexjob import CassetteCorruptError, CassetteError
from pytest_indexjob.exchange import Interaction, Request, Response
from pytest_indexjob.recording.cassette import dump, load
from pytest_indexjob.recording.library import shipped_folder
from pytest_indexjob.upkeep.audit import audit, findings_json, findings_text
from pytest_indexjob.upkeep.drift import mismatches

TOKEN = "dop_v1_" + "0123456789abcdef" * 4
SECRET = "a secret that only its owner knows"
NOW = 1_762_000_000.0  # 2025-11-01T12:26:40Z
GOOD = cassette_text(RUNNING, COMPLETED)


@pytest.fixture
def write(tmp_path):
    def write(content, name="it.yaml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def told(findings):
    """The findings in short, each of which must name its file, its rule and the mend."""
    findings = list(findings)
    for finding in findings:
        assert isinstance(finding.path, Path)
        assert finding.severity in ("error", "warning", "info")
        assert finding.problem
        assert finding.mend
    text = findings_text(findings) + findings_json(findings)
    assert TOKEN not in text
    assert SECRET not in text
    return [(it.rule, it.line, it.severity) for it in findings]


def with_provenance(**provenance):
    return dump([Interaction(Request("GET", JOB_URL), COMPLETED)], provenance)


def test_a_good_cassette_has_no_findings(write):
    assert audit([write(GOOD)], secrets=[SECRET, ""]) == []


def test_the_shipped_cassettes_break_the_contract_only_where_that_is_their_point():
    findings = audit([shipped_folder()])
    assert len(list(shipped_folder().glob("*.yaml"))) > 20
    assert sorted(
        (it.path.stem, it.rule, it.line, it.severity, it.problem.split()[0]) for it in findings
    ) == [
        ("future-status", "unknown-value", 2, "warning", "$.job.data_source_jobs[].status"),
        ("future-status", "unknown-value", 2, "warning", "$.job.phase"),
        ("future-status", "unknown-value", 2, "warning", "$.job.status"),
        ("missing-job", "unknown-value", 2, "error", "$.job"),
    ]


# secret


def test_a_secret_in_the_text_is_told_with_its_line(write):
    lines = GOOD.splitlines()
    lines.insert(5, f"    # {TOKEN}")
    assert told(audit([write("\n".join([*lines, ""]))])) == [("secret", 6, "error")]
    answer = job_answer(data_source_jobs=[{"error_msg": SECRET}])
    path = write(cassette_text(answer))
    [line] = [at for at, it in enumerate(path.read_text().splitlines(), 1) if SECRET in it]
    assert told(audit([path], secrets=[SECRET])) == [("secret", line, "error")]
    assert told(audit([path])) == []


@pytest.mark.parametrize("way", ["base64", "escaped", "gzip", "binary request"])
def test_a_secret_that_yaml_hides_is_told_with_its_line(write, way):
    body = json.dumps({"job": {"uuid": JOB_UUID}, "signed_url": TOKEN}).encode()
    answer, asked = Response(200, (), body), b""
    if way == "gzip":
        answer = Response(200, (("content-encoding", "gzip"),), gzip.compress(body))
    elif way == "binary request":
        answer, asked = COMPLETED, b"\xff" + TOKEN.encode()
    text = dump(
        [
            Interaction(Request("GET", JOB_URL), RUNNING),
            Interaction(Request("GET", JOB_URL, (), asked), answer),
        ]
    )
    if way == "base64":
        text = text.replace(f"'{body.decode()}'", f"!!binary {base64.b64encode(body).decode()}")
    elif way == "escaped":
        quoted = "".join(f"\\x{byte:02x}" for byte in body)
        text = text.replace(f"'{body.decode()}'", f'"{quoted}"')
    assert TOKEN not in text
    second = [at for at, line in enumerate(text.splitlines(), 1) if line.startswith("- request")][1]
    # The request's body stands on the first line after its start, the answer's on the seventh.
    assert ("secret", second + (1 if way == "binary request" else 7), "error") in told(
        audit([write(text)])
    )


def test_a_damaged_cassette_is_searched_for_secrets_too(write):
    path = write(GOOD.replace("version: 1", f"<<<<<<< HEAD\n# {TOKEN}\n=======\n>>>>>>> x\n"))
    assert {rule for rule, *_ in told(audit([path]))} == {"secret", "corrupt"}


def test_a_secret_is_told_by_no_other_rule(write):
    answer = job_answer(status="OPENSESAME", **{TOKEN[:40]: 1, "opensesame": 2})
    findings = audit([write(cassette_text(answer))], secrets=["OPENSESAME", "opensesame"])
    assert {it.rule for it in findings} == {"secret", "unknown-value"}
    assert "opensesame" not in findings_text(findings).lower()
    assert "not shown as it may hold a secret" in findings_text(findings)


# corrupt


def test_a_damaged_cassette_is_told_with_its_line(write):
    path = write(GOOD.replace("code: 200", "code: x", 1))
    [finding] = audit([path])
    assert told([finding]) == [("corrupt", 2, "error")]
    assert finding.problem == "interaction 1 is not as vcrpy writes it: `code` is of type str"
    assert finding.mend == "restore it from version control, or delete it and record it again"


@pytest.mark.skipif(
    not yaml.__with_libyaml__, reason="this PyYAML has one parser; another version has both"
)
def test_what_only_one_of_the_two_yaml_parsers_takes_is_damaged(write):
    text = "interactions:\n- request:\n    a: b\n    c:\t!\n    d: e\nversion: 1\n"
    assert told(audit([write(text)])) == [("corrupt", 2, "error")]


def test_what_is_no_cassette_is_said_to_be_passed_over_by_name_and_in_a_folder(write, tmp_path):
    other = write("services: {web: {interactions: 3}}\n", "compose.yaml")
    for paths in ([other], [tmp_path], [tmp_path, other], [other, tmp_path]):
        [finding] = audit(paths)
        assert finding.problem == "it is no cassette, so it was passed over"
        assert (finding.path, finding.rule, finding.severity) == (other, "passed-over", "info")
    empty = write(f"# {TOKEN}\n", "empty.yml")
    assert told(audit([empty])) == [("passed-over", None, "info")]


def test_what_looks_like_a_cassette_is_damaged(write, tmp_path):
    for at, text in enumerate(("interactions: [", '{"interactions": [')):
        write(text, f"cut{at}.yml")
    assert [rule for rule, *_ in told(audit([tmp_path]))] == ["corrupt", "corrupt"]


# Each would keep PyYAML busy for minutes, or hold gigabytes.
STORMS = {
    "items": b"interactions:\n" + b"- a\n" * 2_000_000,
    "keys": b"interactions:\n" + b"".join(b"k%d: 1\n" % n for n in range(500_000)),
    "comment": b"interactions: # " + b"x" * 50_000_000,
    "comments": b"interactions: []\n" + b"# x\n" * 1_000_000 + b"version: 1\n",
    "merge keys": b"interactions: []\na0: &a0 {a: 1}\n"
    + b"".join(b"a%d: &a%d {<<: [%s]}\n" % (n, n, b"*a%d, " % (n - 1) * 9) for n in range(1, 12)),
    "base 60": b"interactions: 1" + b":00" * 1_000_000 + b"\nversion: 1\n",
    "base 60 by its tag": b"interactions: !!int '1" + b":00" * 1_000_000 + b"'\nversion: 1\n",
    "depth": b"interactions: " + b"[" * 1_000_000,
}


@pytest.mark.parametrize("content", STORMS.values(), ids=STORMS)
def test_a_file_that_takes_too_long_to_read_is_damaged(write, content):
    path = write(content)
    [finding] = audit([path])
    assert (finding.rule, finding.line, finding.severity) == ("corrupt", None, "error")
    assert finding.problem.startswith(("it has ", "it holds ", "it nests deeper"))
    with pytest.raises(CassetteCorruptError, match="Restore it"):
        load(path)


@pytest.mark.parametrize("value", ["!!bool x", "!!timestamp x", "!!int x", "!!float 1:1:x", "=\t"])
def test_whatever_a_loader_raises_is_an_error_of_ours(write, value):
    path = write(f"interactions: {value}\nversion: 1\n")
    assert [rule for rule, *_ in told(audit([path]))] == ["corrupt"]
    with pytest.raises(CassetteError):
        load(path)


def test_a_folder_and_a_name_that_no_file_can_have_are_errors_of_ours(tmp_path):
    folder, long = tmp_path / "x.yaml", tmp_path / f"{'a' * 300}.yaml"
    folder.mkdir()
    for path, problem in ((folder, "it is no file"), (long, "name too long")):
        with pytest.raises(CassetteError, match=f"(?i){problem}"):
            load(path)
    assert audit([folder]) == []
    assert told(audit([long])) == [("corrupt", None, "error")]


def test_what_is_not_there_or_no_file_is_told(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    (tmp_path / "a.yaml").mkdir()
    assert audit([tmp_path]) == []
    paths = [
        tmp_path / "none.yaml",
        tmp_path / "pipe.yaml",
        tmp_path / "loop.yaml",
        Path("a\0b.yaml"),
    ]
    assert told(audit(paths)) == [("corrupt", None, "error")] * 4


def test_folders_are_searched_to_their_depth_but_never_left(write, tmp_path):
    bad = cassette_text(job_answer(tokens="1"))
    outside = write(bad, "outside/a.yaml")
    inside = write(bad, "inside/deep/er/b.YML")
    write(bad, "inside/c.txt")
    (tmp_path / "inside" / "file.yaml").symlink_to(outside)
    (tmp_path / "inside" / "folder").symlink_to(outside.parent)
    (tmp_path / "inside" / "again.yaml").symlink_to(inside)
    folder = tmp_path / "inside"
    assert [it.path.resolve() for it in audit([folder, folder, inside])] == [inside]
    assert [it.path for it in audit([tmp_path / "inside" / "file.yaml"])] == [
        tmp_path / "inside" / "file.yaml"
    ]


def test_a_relative_folder(write, tmp_path, monkeypatch):
    write(cassette_text(job_answer(tokens="1")), "cassettes/a/b.yaml")
    monkeypatch.chdir(tmp_path)
    assert [it.path for it in audit([Path("cassettes")])] == [Path("cassettes/a/b.yaml")]


# unended


def test_a_life_cut_short_is_told_once_a_job_with_the_line_of_its_last_answer(write):
    path = write(cassette_text(RUNNING, RUNNING, RUNNING))
    [finding] = audit([path])
    assert told([finding]) == [("unended", [*starts(path)][2], "warning")]
    assert (
        finding.problem
        == f"it polls the job {JOB_UUID} 3 times but ends before the job does, at IN_PROGRESS"
    )


def starts(path):
    return [
        at
        for at, line in enumerate(path.read_text().splitlines(), 1)
        if line.startswith("- request")
    ]


def test_a_life_that_ends_and_a_single_moment_are_no_finding(write):
    failed = Response(500, (), b'{"id": "server_error", "message": "x"}')
    assert audit([write(cassette_text(RUNNING, COMPLETED))]) == []
    assert audit([write(cassette_text(RUNNING))]) == []
    assert audit([write(cassette_text(failed, COMPLETED))]) == []
    assert audit([write(cassette_text(failed, failed))]) == []
    assert (
        audit([write(cassette_text(RUNNING, RUNNING, url=JOB_URL + "/cancel", method="PUT"))]) == []
    )


def test_a_life_that_ends_in_errors_or_says_that_it_is_whole(write):
    failed = Response(500, (), b'{"id": "server_error", "message": "x"}')
    assert told(audit([write(cassette_text(RUNNING, failed))])) == [("unended", 2, "warning")]
    whole = dump([Interaction(Request("GET", JOB_URL), RUNNING)], {"whole_life": True})
    [finding] = audit([write(whole)])
    assert "once but ends" in finding.problem


def test_each_job_has_its_own_life(write):
    urls = [JOB_URL, JOB_URL.replace("5c0e", "6d1f"), JOB_URL.rpartition("/")[0] + "/%22a%22"]
    odd = job_answer(status="INDEX_JOB_STATUS_ARCHIVED")
    polls = [(url, answer) for answer in (RUNNING, odd) for url in urls] + [(urls[0], COMPLETED)]
    path = write(dump(Interaction(Request("GET", url), answer) for url, answer in polls))
    problems = [it.problem for it in audit([path]) if it.rule == "unended"]
    assert problems == [
        (
            f"it polls the job 6d1f{JOB_UUID[4:]} 2 times but ends before the job does, at a status"
            " that the contract does not know"
        ),
        (
            "it polls the job (an identifier not shown) 2 times but ends before the job does, at a"
            " status that the contract does not know"
        ),
    ]


# unknown-value


@pytest.mark.parametrize(
    ("answer", "severity", "part"),
    [
        (
            job_answer(phase="BATCH_JOB_PHASE_COMPLETED"),
            "warning",
            "the nearest is BATCH_JOB_PHASE_SUCCEEDED",
        ),
        (job_answer(total_items_failed="3"), "warning", "$.job.total_items_failed"),
        (job_answer(created_at=None), "warning", "$.job.created_at"),
        (
            job_answer(total_tokens=3),
            "error",
            "a string of format uint64 was expected, not an integer",
        ),
        (Response(200, (), b"<html>"), "error", "JSON was expected"),
        (Response(200, (), b""), "error", "JSON was expected, not an empty body"),
        (Response(502, (), b"<html>"), "warning", "JSON was expected"),
    ],
)
def test_what_the_contract_does_not_know(write, answer, severity, part):
    [finding] = audit([write(cassette_text(COMPLETED, answer, COMPLETED))])
    assert told([finding]) == [("unknown-value", 16, severity)]
    assert part in finding.problem


def test_calls_of_other_services_and_empty_lists_are_no_finding(write):
    assert (
        audit([write(cassette_text(Response(200, (), b"hello"), url="https://example.com/a"))])
        == []
    )
    assert (
        audit([write(cassette_text(Response(200, (), b"{}"), url=JOB_URL + "/data_sources"))]) == []
    )


# age


def test_what_is_too_old_is_told(write):
    path = write(with_provenance(recorded_at="2025-10-31T12:26:40Z"))
    assert audit([path], max_age_days=1, now=NOW) == []
    assert audit([path]) == []
    [finding] = audit([path], max_age_days=1, now=NOW + 9 * 86_400)
    assert told([finding]) == [("age", None, "error")]
    assert finding.problem == "it was recorded 10 days ago; the oldest allowed is 1"
    assert told(audit([path], max_age_days=0)) == [("age", None, "error")]


@pytest.mark.parametrize(
    ("given", "rules"),
    [
        ("2025-11-01T14:26:40.5+02:00", []),
        ("2025-11-01 12:26:40", ["age"]),  # a string without an offset
        ("yesterday", ["age"]),
        ("", ["age"]),
        (7, ["age"]),
        ({"a": []}, ["age"]),
        ("9999-12-31T23:59:59-23:59", []),
        ("0001-01-01T00:00:00+23:59", ["age"]),
    ],
)
def test_when_it_was_recorded_may_be_given_in_any_way_or_none(write, given, rules):
    findings = audit([write(with_provenance(recorded_at=given))], max_age_days=1, now=NOW)
    assert [rule for rule, *_ in told(findings)] == rules


def test_a_time_that_yaml_reads_by_itself(write):
    for time in ("2025-11-01T12:00:00Z", "2025-11-01 12:00:00", "2025-11-01T12:00:00+00:30"):
        path = write(GOOD + f"provenance: {{recorded_at: {time}}}\n")
        assert audit([path], max_age_days=1, now=NOW) == []
    for other in ("2025-11-01", "[2]", "null"):
        path = write(GOOD + f"provenance: {{recorded_at: {other}}}\n")
        assert told(audit([path], max_age_days=1, now=NOW)) == [("age", None, "warning")]


def test_no_time_at_all_is_told_only_if_age_matters(write):
    assert audit([write(GOOD)]) == []
    [finding] = audit([write(GOOD)], max_age_days=365)
    assert told([finding]) == [("age", None, "warning")]
    assert finding.problem == "its provenance does not say when it was recorded"
    for wrong in (-1, float("nan")):
        with pytest.raises(ValueError, match="a number of days"):
            audit([], max_age_days=wrong)


# unused


def test_what_no_test_played_is_told(write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    played, other = write(GOOD, "a.yaml"), write(GOOD, "b.yaml")
    damaged = write("interactions: [", "c.yaml")
    assert audit([played, other]) == []
    findings = audit([tmp_path], used={Path("a.yaml")})
    assert [(it.path, it.rule, it.severity) for it in findings] == [
        (other, "unused", "warning"),
        (damaged, "corrupt", "error"),
        (damaged, "unused", "warning"),
    ]
    assert [it.path for it in audit([played, other], used=())] == [played, other]


# The reports


def test_the_reports(write, tmp_path):
    path = write(
        cassette_text(job_answer(tokens="1")),
        "a\n\x1b\ud800.yaml".encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape"),
    )
    findings = audit([path, tmp_path / "none.yaml"])
    text = findings_text(findings)
    assert [line.isprintable() for line in text.splitlines()] == [True] * 4
    text.encode()
    assert ".yaml:2: error: unknown-value: $.job.tokens of GET" in text
    assert text.splitlines()[1].startswith("    mend: ")
    assert [sorted(it) for it in json.loads(findings_json(findings))] == [
        ["line", "mend", "path", "problem", "rule", "severity"]
    ] * 2
    assert findings_text([]) == "no findings"
    assert findings_json([]) == "[]"


def test_interactions_that_are_one_node_are_told_once(write):
    one = cassette_text(job_answer(tokens="1")).replace("- request", "- &a\n  request", 1)
    path = write(one.replace("version: 1", "- *a\n- *a\nversion: 1"))
    assert [rule for rule, *_ in told(audit([path]))] == ["unended", "unknown-value"]


bodies = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda it: (
        st.lists(it)
        | st.dictionaries(st.sampled_from(["job", "uuid", "status", "data_source_jobs"]), it)
    ),
    max_leaves=8,
).map(lambda it: json.dumps(it).encode())


@settings(deadline=None)  # it writes files
@given(
    body=bodies | st.binary(),
    status=st.integers(100, 599),
    encoding=st.sampled_from(["", "gzip", "br"]),
)
def test_no_body_whatever_raises(tmp_path_factory, body, status, encoding):
    path = tmp_path_factory.mktemp("any") / "it.yaml"
    answer = Response(status, (("Content-Encoding", encoding),) if encoding else (), body)
    path.write_text(cassette_text(answer, answer))
    told(audit([path], max_age_days=1, used=()))


@settings(deadline=None)  # it writes files
@given(
    content=st.binary()
    | st.text().map(str.encode)
    | st.integers(0, len(GOOD)).map(lambda at: GOOD[:at].encode())
)
def test_no_file_whatever_raises(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("any") / "it.yaml"
    path.write_bytes(content)
    told(audit([path]))
    told(audit([path.parent]))


def test_equal_interactions_are_compared_once(tmp_path, monkeypatch):
    compared = []

    def counted(interaction):
        compared.append(interaction)
        return mismatches(interaction)

    monkeypatch.setattr("pytest_indexjob.upkeep.audit.mismatches", counted)
    text = dump([Interaction(Request("GET", "https://example.com/x"), Response(200, (), b"{}"))])
    text = text.replace("- request:", "- &a\n  request:")
    text = text.replace("\nversion", "\n- *a" * 500 + "\nversion")
    path = tmp_path / "many.yaml"
    path.write_text(text)
    assert len(load(path).interactions) == 501
    audit([path])
    assert len(compared) == 1


@pytest.mark.slow
def test_a_file_with_very_many_findings_tells_some(tmp_path):
    words = itertools.islice(itertools.product("ABCDEFGHIJKL", repeat=3), 1200)
    jobs = [{"status": f"INDEX_JOB_STATUS_{''.join(word)}"} for word in words]
    items = [
        Interaction(Request("GET", JOB_URL), Response(200, (), json.dumps({"job": job}).encode()))
        for job in jobs
    ]
    path = tmp_path / "many.yaml"
    path.write_text(dump(items))
    found = audit([path])
    assert len(found) == 1001
    assert found[-1].problem == "it has more findings than the 1000 that are told"


@pytest.mark.slow
@pytest.mark.parametrize("text", ["a", "%41", "&amp;", "QUJD", "\\u0041"])
def test_a_file_that_takes_too_long_to_search_is_told(tmp_path, text):
    body = json.dumps({"job": {"error_details": text * (5 * 2**20 // len(text))}}).encode()
    path = tmp_path / "large.yaml"
    path.write_text(dump([Interaction(Request("GET", JOB_URL), Response(200, (), body))]))
    told = [it.problem for it in audit([path]) if it.rule == "secret"]
    assert told == ["it is too large to be searched for secrets"]
