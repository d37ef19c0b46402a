"""Reads hostile cassettes of some megabytes: ``python tests/endurance/hostile.py [NAME]``.

``NAME`` is a part of the names of those to read.

Each is loaded, audited and compared with the contract; each of these has to take less processor
time than ``BOUND`` seconds. What they answer is up to the tests; none may raise another error than
``CassetteError``.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from pathlib import Path

from pytest_indexjob import CassetteError
from pytest_indexjob.recording.cassette import Playback, load
from pytest_indexjob.upkeep.audit import audit
from pytest_indexjob.upkeep.drift import drift

BOUND = 6.0  # seconds; on an idle machine 2 are meant

HEAD = r"""interactions:
- request:
    body: null
    headers: {}
    method: GET
    uri: https://api.digitalocean.com/v2/gen-ai/indexing_jobs/x
  response:
    body:
      string: '%s'
    headers: {}
    status: {code: 200, message: OK}
"""
ITEM = HEAD.removeprefix("interactions:\n")


def one(body='{"job":{}}'):
    return HEAD % body


M = 2**20


def deep(n):
    return '{"a":' * n + "1" + "}" * n


CASES = {
    "50MB list items": lambda: "interactions:\n" + "- a\n" * (50 * M // 4) + "version: 1\n",
    "15MB list items": lambda: "interactions:\n" + "- a\n" * (15 * M // 4) + "version: 1\n",
    "flow list 15MB": lambda: "interactions: [" + "a," * (7 * M) + "]\nversion: 1\n",
    "99k list items under other key": lambda: one() + "x:\n" + "- a\n" * 99_000 + "version: 1\n",
    "key storm 15MB": lambda: (
        one() + "".join(f"k{n}: 1\n" for n in range(1_100_000)) + "version: 1\n"
    ),
    "key storm 45k": lambda: one() + "".join(f"k{n}: 1\n" for n in range(45_000)) + "version: 1\n",
    "header storm 45k": lambda: (
        one().replace(
            "headers: {}",
            "headers:\n" + "".join(f"      k{n}: v\n" for n in range(24_000)).rstrip("\n"),
        )
        + "version: 1\n"
    ),
    "same key 45k": lambda: one() + "k: 1\n" * 45_000 + "version: 1\n",
    "comments 15MB": lambda: one() + "# a comment\n" * (15 * M // 12) + "version: 1\n",
    "one comment 15MB": lambda: one() + "# " + "a" * (15 * M) + "\nversion: 1\n",
    "one comment 250k": lambda: one() + "# " + "password=%41&amp;\\\\" * 14_000 + "\nversion: 1\n",
    "many comments 250k": lambda: one() + "# a\n" * 60_000 + "version: 1\n",
    "blank lines 15MB": lambda: one() + "\n" * (15 * M) + "version: 1\n",
    "deep flow": lambda: one() + "x: " + "[" * 200_000 + "]" * 200_000 + "\nversion: 1\n",
    "deep 49": lambda: one() + "x: " + ("[" * 45 + "]" * 45 + "\n") + "version: 1\n",
    "alias bomb": lambda: (
        one()
        + "a0: &a0 [x,x]\n"
        + "".join(f"a{n}: &a{n} [" + f"*a{n - 1}," * 9 + "]\n" for n in range(1, 30))
        + "version: 1\n"
    ),
    "alias interactions": lambda: (
        one().replace("- request", "- &i\n  request", 1) + "- *i\n" * 90_000 + "version: 1\n"
    ),
    "alias big body": lambda: (
        one()
        .replace("string: '", "string: &b '", 1)
        .replace('{"job":{}}', '{"job":{"a":"' + "x" * M + '"}}')
        + "".join(ITEM.replace("'%s'", "*b") for _ in range(4000))
        + "version: 1\n"
    ),
    "alias key storms": lambda: (
        one()
        + "m: &m {"
        + ",".join(f"k{n}: 1" for n in range(20000))
        + "}\n"
        + "l: ["
        + "*m," * 60000
        + "]\nversion: 1\n"
    ),
    "scalar 15MB": lambda: one("a" * (15 * M)) + "version: 1\n",
    "scalar 15MB json": lambda: one('{"job":{"x":"' + "a b" * (5 * M) + '"}}') + "version: 1\n",
    "scalar 10MB percents": lambda: one("%41" * (10 * M // 3)) + "version: 1\n",
    "scalar 10MB amp": lambda: one("&amp;" * (10 * M // 5)) + "version: 1\n",
    "scalar 10MB backslash": lambda: one("\\\\u0041" * (10 * M // 7)) + "version: 1\n",
    "scalar 15MB base64": lambda: one("QUJD" * (15 * M // 4)) + "version: 1\n",
    "scalar 15MB base64 words": lambda: one("QUJDREVG " * (15 * M // 9)) + "version: 1\n",
    "scalar 15MB hex": lambda: one("4142434445 " * (15 * M // 11)) + "version: 1\n",
    "scalar plain folded": lambda: one() + "x: " + "a\n  " * (2 * M) + "\nversion: 1\n",
    "dquoted escapes 15MB": lambda: one() + 'x: "' + "\\x41" * (15 * M // 4) + '"\nversion: 1\n',
    "binary 15MB": lambda: one() + "x: !!binary " + "QUJD" * (15 * M // 4) + "\nversion: 1\n",
    "json deep body": lambda: one(deep(100_000)) + "version: 1\n",
    "json list body": lambda: (
        one('{"jobs":[' + '{"uuid":"x"},' * 400_000 + "{}]}") + "version: 1\n"
    ),
    "json key storm body": lambda: (
        one('{"job":{' + ",".join(f'"k{n}":1' for n in range(800_000)) + "}}") + "version: 1\n"
    ),
    "json bad enums": lambda: (
        one(
            '{"jobs":['
            + '{"status":"INDEX_JOB_STATUS_COMPLETEDX","phase":"BATCH_X"},' * 100_000
            + "{}]}"
        )
        + "version: 1\n"
    ),
    "json bad types": lambda: (
        one(
            '{"jobs":[' + '{"status":1,"phase":2,"uuid":3,"data_source_jobs":4},' * 100_000 + "{}]}"
        )
        + "version: 1\n"
    ),
    "small interactions 8300": lambda: "interactions:\n" + (ITEM % "{}") * 4_500 + "version: 1\n",
    "json interactions": lambda: (
        "interactions:\n"
        + (
            ITEM
            % ('{"job":{"uuid":"x","status":"NO","data_source_jobs":[' + '{"a":1},' * 150 + "{}]}}")
        )
        * 4_500
        + "version: 1\n"
    ),
    "distinct interactions": lambda: (
        "interactions:\n"
        + "".join(
            (ITEM % '{"job":{"uuid":"%d"}}' % n).replace("jobs/x", f"jobs/{n}")
            for n in range(4_500)
        )
        + "version: 1\n"
    ),
    "uri 15MB": lambda: one().replace("jobs/x", "jobs/" + "x%2" * (5 * M)) + "version: 1\n",
    "uri query storm": lambda: one().replace("jobs/x", "jobs?" + "a=b&" * (3 * M)) + "version: 1\n",
    "uri placeholders": lambda: (
        one().replace("jobs/x", "jobs/" + "REDACTED" * (1 * M)) + "version: 1\n"
    ),
    "number sexagesimal": lambda: one() + "x: " + "1:" * 500_000 + "1\nversion: 1\n",
    "number": lambda: one() + "x: " + "1" * 5_000_000 + "\nversion: 1\n",
    "timestamp": lambda: one() + "x: 2001-01-01 " + " " * 1_000_000 + "1:1:1\nversion: 1\n",
    "conflict": lambda: one() + ("<" * 7 + " a\n") * 1_000_000 + "version: 1\n",
    "tags": lambda: one() + "x: !!python/object:os.system a\n" * 20_000 + "version: 1\n",
    "no cassette 15MB text": lambda: "hello world \n" * (15 * M // 13),
    "tabs": lambda: one() + "\t" * (15 * M) + "\nversion: 1\n",
    "documents": lambda: one() + "---\n" * (3 * M),
    "directives": lambda: "%YAML 1.1\n" * (1 * M) + "---\n" + one() + "version: 1\n",
    "question keys": lambda: one() + "? " * 40_000 + "\nversion: 1\n",
    "eyJ storm": lambda: one("eyJ" * (5 * M)) + "version: 1\n",
    "user@ storm": lambda: one("a://b:" * (2 * M)) + "version: 1\n",
    "bearer storm": lambda: one("bearer " * (2 * M)) + "version: 1\n",
    "begin key storm": lambda: one("-----BEGIN A " * (1 * M)) + "version: 1\n",
    "basic storm": lambda: one("basic QTpC " * (1 * M)) + "version: 1\n",
    "gzip storm": lambda: one() + "x: !!binary " + "H4sIAAAA" * (M) + "\nversion: 1\n",
    "nonascii": lambda: one("é%41&amp;" * (M)) + "version: 1\n",
    "deflate-like": lambda: one() + 'x: "' + "\\x4b\\xff\\x80" * (M) + '"\nversion: 1\n',
}


def read(path):
    """The recording, as a test would play it."""
    recording = load(path)
    Playback([recording])
    return recording


WAYS = {
    "load": read,
    "audit": lambda path: audit([path]),
    "drift": lambda path: drift([load(path)]),
}


def seconds(way, path):
    """How long a way of reading a file takes; what it raises of its own is an answer."""
    begin = time.process_time()
    with contextlib.suppress(CassetteError):
        WAYS[way](path)
    return time.process_time() - begin


def main(part):
    slow = []
    with tempfile.TemporaryDirectory() as folder:
        for name, make in CASES.items():
            if part not in name:
                continue
            path = Path(folder, "a.yaml")
            path.write_text(make())
            taken = {way: seconds(way, path) for way in WAYS}
            told = ", ".join(f"{way} {took:.2f} s" for way, took in taken.items())
            print(f"{name:32} {told}", flush=True)
            slow += [(name, way) for way, took in taken.items() if took > BOUND]
    print("too slow:", slow or "none")
    return bool(slow)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ""))
