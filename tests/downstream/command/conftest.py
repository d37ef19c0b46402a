import click.testing
import pytest
from command import wait


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setenv("DIGITALOCEAN_ACCESS_TOKEN", "any")
    runner = click.testing.CliRunner()
    return lambda *arguments: runner.invoke(wait, arguments)


@pytest.fixture
def job(indexjob_simulator, indexjob_clock, request):
    return indexjob_simulator.start(request.param)
