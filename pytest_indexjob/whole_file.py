"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path


def write_whole(path: Path, content: bytes, temporary: Path | None = None) -> None:
    """Replace a file's content, so that the file is always the old one or the whole new one.

    The content is first written to ``temporary``, a file in the same folder that nobody else writes
    to; without it, to a new file there.

    Raises ``OSError`` where the content can't be written. The error names ``path``, and the old
    file is as it was.
    """
    try:
        if temporary is None:
            handle, name = tempfile.mkstemp(
                prefix=f".{path.stem[:40]}-", suffix=".tmp", dir=path.parent
            )
            temporary = Path(name)
        else:
            _remove(temporary)  # a writer that was killed left it
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # The temporary file is private. The new file gets the old one's mode, or the usual one.
        temporary.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        _remove(temporary)
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None
    except BaseException:
        _remove(temporary)
        raise
    _sync_folder(path.parent)


def writing_problem(path: Path) -> str:
    """Why a file can't be written, and the way out; ``""`` where it can.

    Asked before long work, whose result the file is to hold. No folder is made for it: a misspelt
    folder is told at once.
    """
    if path.exists() and not path.is_file():
        return "it is not a file: name a file"
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}: make it first"
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            return ""
    except OSError as error:
        return error.strerror or str(error)


def _remove(temporary: Path | None) -> None:
    with suppress(OSError):
        if temporary is not None:
            temporary.unlink()


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    # The new name is on the disk only with its folder; some systems can't open a folder.
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
