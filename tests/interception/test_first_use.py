"""A test loads no client that its code does not use, and one that it loads itself is answered."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

CLIENTS = "aiohttp", "httpx", "vcr", "requests"
URL = "https://api.digitalocean.com/v2/gen-ai/indexing_jobs"
HEADERS = {"Authorization": "Bearer any"}


def run(folder, source, *options):
    """Run a test module in a fresh process, with no other plugin; gives what it printed."""
    head = f"import sys\nURL, HEADERS = {URL!r}, {HEADERS!r}\n"
    folder.joinpath("test_it.py").write_text(head + textwrap.dedent(source))
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider"]
    command += ["-p", "pytest_indexjob.plugin", "-W", "error", *options, "test_it.py"]
    environment = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


LOADED = f"print('LOADED', *(name for name in sys.modules if name in {(*CLIENTS,)!r}))"


def loaded(output):
    line = next(line for line in output.splitlines() if "LOADED" in line)
    return set(line.partition("LOADED")[2].split())


@pytest.mark.slow
def test_a_simulated_test_loads_only_the_client_that_it_uses(tmp_path):
    source = f"""
        def test_it(indexjob_simulator, indexjob_clock):
            import requests
            job = indexjob_simulator.start()
            assert requests.get(f"{{URL}}/{{job.uuid}}", headers=HEADERS).ok
            {LOADED}
    """
    assert loaded(run(tmp_path, source)) == {"requests"}
    assert loaded(run(tmp_path, source.replace("requests", "httpx").replace(".ok", ""))) == {
        "httpx"
    }


def test_a_recorded_answer_is_played_without_importing_vcrpy(tmp_path):
    source = f"""
        import pytest, urllib.request

        @pytest.mark.indexjob_cassette("completed")
        def test_it(indexjob_cassette):
            assert urllib.request.urlopen(f"{{URL}}/{{indexjob_cassette.job_uuid}}").status == 200
            {LOADED}
    """
    assert loaded(run(tmp_path, source)) == set()


IMPORTED_BY = """
    import threading

    def use(client, uuid):
        if client == "httpx":
            from httpx import get
            return get(f"{URL}/{uuid}", headers=HEADERS).status_code
        if client == "requests":
            from requests import get
            return get(f"{URL}/{uuid}", headers=HEADERS).status_code
        if client == "urllib":
            from urllib.request import Request, urlopen
            return urlopen(Request(f"{URL}/{uuid}", headers=HEADERS)).status
        import asyncio, aiohttp

        async def ask():
            async with aiohttp.ClientSession(headers=HEADERS) as session:
                async with session.get(f"{URL}/{uuid}") as answer:
                    return answer.status

        return asyncio.run(ask())

    def test_in_its_body(indexjob_simulator):
        assert CLIENT not in sys.modules
        assert use(CLIENT, indexjob_simulator.start().uuid) == 200

    def test_in_a_thread(indexjob_simulator):
        for name in [*sys.modules]:
            if name.partition(".")[0] in (CLIENT, "urllib3"):
                del sys.modules[name]
        got = []
        work = lambda: got.append(use(CLIENT, indexjob_simulator.start().uuid))
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert got == [200] * 4
"""


@pytest.mark.slow
def test_a_client_that_the_test_imports_is_answered(tmp_path):
    for client in ("httpx", "requests"):
        assert "2 passed" in run(tmp_path, f"CLIENT = {client!r}\n" + textwrap.dedent(IMPORTED_BY))
    for client in ("aiohttp", "urllib"):  # aiohttp's C parts are loaded once a process
        only = ("-k", "body") if client == "aiohttp" else ("-k", "thread")
        run(tmp_path, f"CLIENT = {client!r}\n" + textwrap.dedent(IMPORTED_BY), *only)


def test_a_client_that_a_test_imported_is_as_it_was_made_afterwards(tmp_path):
    run(
        tmp_path,
        """
        finders = [*sys.meta_path]

        def places():
            import aiohttp, httpx, http.client, urllib3.connection
            classes = [
                httpx.HTTPTransport, httpx.AsyncHTTPTransport, aiohttp.BaseConnector,
                http.client.HTTPConnection, urllib3.connection.HTTPSConnection,
            ]
            return [value for each in classes for value in vars(each).values()]

        def ours():
            return [
                place.__module__ for place in places()
                if str(getattr(place, "__module__", "")).startswith("pytest_indexjob")
            ]

        def test_imports_them(indexjob_simulator):
            assert "httpx" not in sys.modules
            assert len(ours()) == 6

        def test_without_the_plugin():
            assert ours() == []
            assert sys.meta_path == finders
            import httpx
            assert httpx.__loader__ is httpx.__spec__.loader
            assert type(httpx.__loader__).__module__ == "_frozen_importlib_external"
    """,
    )


@pytest.mark.slow
def test_vcrpy_first_imported_in_a_test_finds_the_real_functions(tmp_path):
    run(
        tmp_path,
        """
        def test_it(indexjob_simulator):
            import httpx, vcr
            with vcr.use_cassette("x.yaml"):
                pass
            import vcr.patch
            real = vcr.patch._HttpxHttpTransport_handle_request
            assert real.__module__.startswith("httpx")
            assert httpx.HTTPTransport.handle_request is not real
            job = indexjob_simulator.start()
            assert httpx.get(f"{URL}/{job.uuid}", headers=HEADERS).status_code == 200

        def test_without_the_plugin():
            import httpx
            assert httpx.HTTPTransport.handle_request.__module__.startswith("httpx")
    """,
    )
