"""Finding cassettes: the project's own first, then the shipped ones."""

from __future__ import annotations

import difflib
import hashlib
import re
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from pytest_indexjob.api.calls import API_URL
from pytest_indexjob.api.errors import CassetteNotFoundError
from pytest_indexjob.recording.cassette import Playback, load

if TYPE_CHECKING:
    from collections.abc import Sequence

_NAME = re.compile(r"\w[\w.\- \[\]]*(?:/\w[\w.\- \[\]]*)*", re.ASCII)
# Well under the 255 bytes that file systems allow, with room for the suffix of a temporary file.
_LONGEST_NAME = 120
_LONGEST_WORD = 200


def shipped_folder() -> Path:
    """The folder of the shipped cassettes: in the package of a wheel, beside it in a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "cassettes"
    return inside if inside.is_dir() else package.parent / "cassettes"


def shipped_names() -> list[str]:
    """The names of the shipped cassettes, sorted."""
    return sorted(path.stem for path in shipped_folder().glob("*.yaml"))


def locate(name: str, folder: Path) -> Path:
    """Where the project's own cassette of that name is, or would be, in ``folder``.

    Raises ``CassetteNotFoundError`` for a text that can't be a name, or leads out of the folder.
    """
    path = folder / f"{name}.yaml"
    is_name = _NAME.fullmatch(name) and max(map(len, name.split("/"))) <= _LONGEST_WORD
    if not is_name or not path.resolve().is_relative_to(folder.resolve()):
        raise CassetteNotFoundError(
            f"{name!r} can't be a cassette's name. A name has letters, digits, '-', '_' and '.' in"
            f" words of at most {_LONGEST_WORD} characters, with '/' between them, and does not"
            f" lead out of {folder}",
            name=name,
            near=(),
        )
    return path


def folder_of(module: Path) -> Path:
    """Where the cassettes of the tests of a file are."""
    return module.parent / "cassettes"


def find(name: str, folder: Path) -> Path:
    """The file of the cassette of that name: in ``folder``, else a shipped one.

    Raises ``CassetteNotFoundError``, with the names most like it, where there is none.
    """
    own = locate(name, folder)
    candidates = (own, shipped_folder() / f"{name}.yaml")
    found = next((path for path in candidates if path.is_file()), None)
    if found is not None:
        return found
    there = [
        path.relative_to(folder).with_suffix("").as_posix()
        for path in sorted(folder.rglob("*.yaml"))
    ]
    near = _near(name, [*there, *shipped_names()])
    raise CassetteNotFoundError(
        f"there is no cassette {name!r}: there is no file {own}, and no shipped recording has that"
        " name. "
        + (f"Did you mean {' or '.join(near)}? " if near else "")
        + f"Shipped: {', '.join(shipped_names())}",
        name=name,
        near=tuple(near),
        path=own,
    )


def find_file(cassette: Path | str) -> Path:
    """The file of a cassette that is given by its path, or by the name of a shipped one.

    Raises ``CassetteNotFoundError`` where there is none.
    """
    path = Path(cassette)
    if path.is_file():
        return path
    if str(cassette) in shipped_names():
        return shipped_folder() / f"{cassette}.yaml"
    near = _near(str(cassette), shipped_names())
    raise CassetteNotFoundError(
        f"there is no cassette {str(cassette)!r}: no file has that path, and no shipped recording"
        " has that name. "
        + (f"Did you mean {' or '.join(near)}? " if near else "")
        + f"Shipped: {', '.join(shipped_names())}",
        name=str(cassette),
        near=tuple(near),
        path=path,
    )


def _near(name: str, names: Sequence[str]) -> list[str]:
    """The names most like a name, or like that of a file whose path was given in its place."""
    of_file = PurePath(name).name.removesuffix(".yaml")
    if of_file != name and of_file in names:
        return [of_file]
    return difflib.get_close_matches(name, names, n=3, cutoff=0.6)


def open_cassettes(
    names: Sequence[str],
    folder: Path,
    *,
    base_url: str = API_URL,
    record_command: str = "",
    missing_ok: bool = False,
) -> Playback:
    """The cassettes of these names, to be played one after the other.

    Raises a ``CassetteError`` for a cassette that can't be played.

    With ``missing_ok`` a cassette that is not there yet is passed over. A miss names
    ``record_command`` as the way to record what is missing.
    """
    recordings = []
    for name in names:
        try:
            recordings.append(load(find(name, folder)))
        except CassetteNotFoundError as error:
            if missing_ok and error.path is not None:
                continue
            # What can't be a name can't be recorded either.
            can_be_recorded = record_command and error.path is not None
            advice = f" To record it: {record_command}" if can_be_recorded else ""
            raise CassetteNotFoundError(
                f"{error}.{advice}", name=name, near=error.near, path=error.path
            ) from None
    return Playback(recordings, base_url=base_url, record_command=record_command)


def name_for_test(module: str, test: str) -> str:
    """A test's own cassette name: a file for the test in a folder for its module.

    Names that a file system may confuse or refuse (other characters, capitals, great length) are
    told apart by a hash.
    """
    return f"{_file_name(module)}/{_file_name(test)}"


def _file_name(name: str) -> str:
    plain = re.sub(r"[^a-z0-9_.\-]+", "-", name, flags=re.ASCII | re.IGNORECASE).strip("-.")[
        :_LONGEST_NAME
    ]
    if plain == name and name == name.lower():
        return name
    return f"{plain or 'test'}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
