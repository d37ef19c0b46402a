"""Which clients are patched, and when: those that are imported, as soon as they are imported.

A client that is loaded when a test starts is patched then. One that the code under test imports
later is patched as its module has been executed and before the importing code sees it: a finder
stands first in ``sys.meta_path`` for the length of the test and hands each of these modules to its
own loader, then patches it. So a test loads no client that its code does not use.
"""

from __future__ import annotations

import importlib
import importlib.abc
import sys
import threading
from types import FunctionType
from typing import TYPE_CHECKING, Any

from pytest_indexjob.replacements import Patch, Replacements, original

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    from pytest_indexjob.interception.interception import Interception


# Modules, and by which function of which module of this package they are patched, once they are
# imported. All of http.client is patched from the start.
CLIENTS = {
    "urllib3.connection": ("connections", "patches"),
    "httplib2": ("connections", "httplib2_patches"),
    "httpx": ("httpx_transports", "patches"),
    "httpx2": ("httpx_transports", "patches"),
    "httpcore": ("httpcore_streams", "patches"),
    "httpcore2": ("httpcore_streams", "patches"),
    "aiohttp": ("aiohttp_connectors", "patches"),
    "uvloop": ("foreign_sockets", "uvloop_patches"),
    "curl_cffi": ("foreign_sockets", "curl_cffi_patches"),
    "pycurl": ("foreign_sockets", "pycurl_patches"),
    "primp": ("foreign_sockets", "primp_patches"),
    "pycares": ("foreign_sockets", "pycares_patches"),
    "grpc._channel": ("foreign_sockets", "grpc_patches"),
    "grpc.aio._channel": ("foreign_sockets", "grpc_patches"),
    "tornado.simple_httpclient": ("foreign_sockets", "tornado_patches"),
    "niquests.adapters": ("foreign_sockets", "niquests_patches"),
}
_VCRPY = "vcr.patch"


class ClientPatches:
    """The patches of one test. Safe beside imports in any thread."""

    def __init__(self, interception: Interception) -> None:
        self._interception = interception
        self._replacements = Replacements()
        self._originals: dict[Any, Any] = {}
        self._finder = _Finder((*CLIENTS, _VCRPY), self._imported)
        self._active = False
        self._lock = threading.RLock()

    def start(self, others: Iterable[Patch]) -> None:
        """Patch what is imported, and what will be. ``others`` are put in place as well."""
        # Nearly every client loads http.client, so it is not waited for.
        from pytest_indexjob.interception import connections

        self._active = True
        sys.meta_path.insert(0, self._finder)
        # Where another thread is still importing a module, this waits for its end.
        there = [importlib.import_module(name) for name in CLIENTS if name in sys.modules]
        # All are made before the first is in place, so that none takes another for the original.
        patches = [patch for module in there for patch in self._patches_of(module)]
        self._put([*connections.http_client_patches(self._interception), *patches, *others])

    def stop(self) -> None:
        """Put the originals back."""
        with self._lock:
            self._active = False
            if self._finder in sys.meta_path:
                sys.meta_path.remove(self._finder)
            self._replacements.put_back()
            self._originals.clear()

    def _imported(self, module: ModuleType) -> None:
        if module.__name__ == _VCRPY:
            self._show_originals(module)
        else:
            self._put(list(self._patches_of(module)))

    def _patches_of(self, module: ModuleType) -> Iterator[Patch]:
        room, name = CLIENTS[module.__name__]
        patches = importlib.import_module(f"pytest_indexjob.interception.{room}")
        made: Iterator[Patch] = getattr(patches, name)(self._interception, module)
        return made

    def _put(self, patches: Iterable[Patch]) -> None:
        with self._lock:
            if self._active:
                for patch in patches:
                    self._originals[patch.replacement] = original(patch.owner, patch.name)
                    self._replacements.put(*patch)

    def _show_originals(self, module: ModuleType) -> None:
        """Let vcrpy find the real functions: what it finds as it is imported, it takes for them."""
        for name, value in dict(vars(module)).items():
            if isinstance(value, FunctionType) and value in self._originals:
                setattr(module, name, self._originals[value])


class _Finder(importlib.abc.MetaPathFinder):
    """Finds some modules as the other finders do, and calls a function once each is executed."""

    def __init__(self, names: Iterable[str], executed: Callable[[ModuleType], None]) -> None:
        self._names = frozenset(names)
        self._executed = executed

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self._names:
            return None
        others = [finder for finder in sys.meta_path if finder is not self]
        found = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((spec for spec in found if spec is not None), None)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self._executed)
        return spec


class _Loader(importlib.abc.Loader):
    """Executes a module by its own loader, which then stands in its place again."""

    def __init__(self, loader: Any, executed: Callable[[ModuleType], None]) -> None:
        self._loader = loader
        self._executed = executed

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._executed(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)
