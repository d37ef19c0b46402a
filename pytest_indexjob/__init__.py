"""Test code that runs DigitalOcean knowledge base indexing jobs, offline and in milliseconds."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from pytest_indexjob import strategies as strategies
    from pytest_indexjob.api.client import IndexingJobClient as IndexingJobClient
    from pytest_indexjob.api.errors import ApiError as ApiError
    from pytest_indexjob.api.errors import AuthenticationError as AuthenticationError
    from pytest_indexjob.api.errors import BadRequestError as BadRequestError
    from pytest_indexjob.api.errors import CassetteCorruptError as CassetteCorruptError
    from pytest_indexjob.api.errors import CassetteError as CassetteError
    from pytest_indexjob.api.errors import CassetteExhaustedError as CassetteExhaustedError
    from pytest_indexjob.api.errors import CassetteLeakError as CassetteLeakError
    from pytest_indexjob.api.errors import CassetteMissError as CassetteMissError
    from pytest_indexjob.api.errors import CassetteNotFoundError as CassetteNotFoundError
    from pytest_indexjob.api.errors import ConflictError as ConflictError
    from pytest_indexjob.api.errors import DecodeError as DecodeError
    from pytest_indexjob.api.errors import IndexJobError as IndexJobError
    from pytest_indexjob.api.errors import NetworkBlockedError as NetworkBlockedError
    from pytest_indexjob.api.errors import NotFoundError as NotFoundError
    from pytest_indexjob.api.errors import PermissionDeniedError as PermissionDeniedError
    from pytest_indexjob.api.errors import RateLimitError as RateLimitError
    from pytest_indexjob.api.errors import ServerError as ServerError
    from pytest_indexjob.api.errors import TransportError as TransportError
    from pytest_indexjob.api.errors import UnknownCallError as UnknownCallError
    from pytest_indexjob.api.errors import WaitTimeoutError as WaitTimeoutError
    from pytest_indexjob.api.knowledge_bases import DatabaseStatus as DatabaseStatus
    from pytest_indexjob.api.knowledge_bases import KnowledgeBase as KnowledgeBase
    from pytest_indexjob.api.knowledge_bases import (
        KnowledgeBaseDataSource as KnowledgeBaseDataSource,
    )
    from pytest_indexjob.api.models import IndexedDataSource as IndexedDataSource
    from pytest_indexjob.api.models import IndexingJob as IndexingJob
    from pytest_indexjob.api.models import IndexingJobPage as IndexingJobPage
    from pytest_indexjob.api.outcomes import DataSourceStatus as DataSourceStatus
    from pytest_indexjob.api.outcomes import IndexingJobPhase as IndexingJobPhase
    from pytest_indexjob.api.outcomes import IndexingJobStatus as IndexingJobStatus
    from pytest_indexjob.api.settings import IndexJobSettings as IndexJobSettings
    from pytest_indexjob.checking.assertions import assert_consistent as assert_consistent
    from pytest_indexjob.checking.assertions import assert_counts as assert_counts
    from pytest_indexjob.checking.assertions import (
        assert_data_source_status as assert_data_source_status,
    )
    from pytest_indexjob.checking.assertions import (
        assert_database_status as assert_database_status,
    )
    from pytest_indexjob.checking.assertions import assert_finished as assert_finished
    from pytest_indexjob.checking.assertions import assert_phase as assert_phase
    from pytest_indexjob.checking.assertions import assert_status as assert_status
    from pytest_indexjob.checking.assertions import assert_transitions as assert_transitions
    from pytest_indexjob.exchange import Exchange as Exchange
    from pytest_indexjob.exchange import Journal as Journal
    from pytest_indexjob.recording.cassette import Playback as Playback
    from pytest_indexjob.running.one_test import CassetteWarning as CassetteWarning
    from pytest_indexjob.simulation import faults as faults
    from pytest_indexjob.simulation import scenarios as scenarios
    from pytest_indexjob.simulation.faults import Fault as Fault
    from pytest_indexjob.simulation.scenarios import Scenario as Scenario
    from pytest_indexjob.simulation.scenarios import Step as Step
    from pytest_indexjob.simulation.server import LoopbackServer as LoopbackServer
    from pytest_indexjob.simulation.simulator import Simulator as Simulator
    from pytest_indexjob.virtual_time.clock import VirtualClock as VirtualClock

# Where each public name lives. Loaded when first asked for, so that an unused plugin costs nothing.
_HOMES = {
    "api.client": "IndexingJobClient",
    "api.errors": (
        "ApiError AuthenticationError BadRequestError CassetteCorruptError CassetteError"
        " CassetteExhaustedError CassetteLeakError CassetteMissError CassetteNotFoundError"
        " ConflictError DecodeError IndexJobError NetworkBlockedError NotFoundError"
        " PermissionDeniedError RateLimitError ServerError TransportError UnknownCallError"
        " WaitTimeoutError"
    ),
    "api.models": "IndexedDataSource IndexingJob IndexingJobPage",
    "api.outcomes": "DataSourceStatus IndexingJobPhase IndexingJobStatus",
    "api.settings": "IndexJobSettings",
    "api.knowledge_bases": "DatabaseStatus KnowledgeBase KnowledgeBaseDataSource",
    "checking.assertions": (
        "assert_consistent assert_counts assert_data_source_status assert_database_status"
        " assert_finished assert_phase"
        " assert_status assert_transitions"
    ),
    "exchange": "Exchange Journal",
    "recording.cassette": "Playback",
    "running.one_test": "CassetteWarning",
    "virtual_time.clock": "VirtualClock",
    "simulation.faults": "Fault",
    "simulation.scenarios": "Scenario Step",
    "simulation.server": "LoopbackServer",
    "simulation.simulator": "Simulator",
}
_HOME = {name: home for home, names in _HOMES.items() for name in names.split()}
# Modules whose names are public.
_MODULES = {
    "faults": "simulation.faults",
    "scenarios": "simulation.scenarios",
    "strategies": "strategies",
}

# The tables above are the one list of names. `strategies` needs Hypothesis, so `import *` goes
# without it.
__all__ = sorted({"__version__", *_HOME, *_MODULES} - {"strategies"})  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        try:
            value: Any = importlib.import_module(f"{__name__}.{_MODULES[name]}")
        except ImportError as error:
            # So that `hasattr`, `help` and pydoc work where an extra is not installed.
            raise AttributeError(str(error)) from None
    elif name in _HOME:
        value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    optional = ["strategies"] if importlib.util.find_spec("hypothesis") else []
    return sorted([*__all__, *optional])
