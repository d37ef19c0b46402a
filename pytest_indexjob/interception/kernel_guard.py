"""The kernel's guard: a run that has no network but this machine's own addresses.

The run moves into a network namespace of its own, in which there is nothing but loopback. Linux
holds every process that the run starts in it, so neither a library of C nor a child process leads
out, and nothing has to be known about them.
"""

from __future__ import annotations

import ctypes
import errno
import importlib
import os
import socket
import struct
import sys
from pathlib import Path

import pytest

_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000  # CLONE_NEWUSER, CLONE_NEWNET
_GET_FLAGS, _SET_FLAGS = 0x8913, 0x8914  # SIOCGIFFLAGS, SIOCSIFFLAGS
_IS_UP, _IS_LOOPBACK = 0x1, 0x8  # IFF_UP, IFF_LOOPBACK
_INTERFACE = struct.Struct("16sh14x")  # the name and the flags of an `ifreq`
_CAPABILITIES_VERSION = 0x20080522


def close_network() -> None:
    """Take every network but loopback from this process and from those that it will start.

    It can't be undone. Raises ``pytest.UsageError`` where the system does not allow it.
    """
    if sys.platform != "linux":
        raise _refusal(f"it needs Linux's network namespaces, and this is {sys.platform}")
    if is_closed():  # by the run that started this worker, or by a container without a network
        return
    # Other threads would keep the network that they have.
    threads = len(list(Path("/proc/self/task").iterdir()))
    if threads > 1:
        raise _refusal(
            f"{threads} threads run already, and only a process of a single thread can leave its"
            " network. Something that pytest loads before this plugin starts a thread"
        )
    user, group = os.geteuid(), os.getegid()
    try:
        _unshare(_NEW_NETWORK)
    except PermissionError:
        _enter_own_users(user, group)
    _start_loopback()
    if not is_closed():
        raise _refusal("the new namespace has a network of its own")


def is_closed() -> bool:
    """Whether loopback is up, and no other interface."""
    flags = [_flags(name) for _, name in socket.if_nameindex()]
    up = [flag for flag in flags if flag & _IS_UP]
    return bool(up) and all(flag & _IS_LOOPBACK for flag in up)


def _refusal(reason: str) -> pytest.UsageError:
    return pytest.UsageError(f"--indexjob-offline=strict can't be had here: {reason}")


def _enter_own_users(user: int, group: int) -> None:
    """Leave the network as a user who is not root may: in a namespace of users as well."""
    try:
        _unshare(_NEW_USER | _NEW_NETWORK)
        # The user stays who it was.
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{user} {user} 1"),
            ("gid_map", f"{group} {group} 1"),
        ):
            Path("/proc/self", name).write_text(text)
    except OSError as error:
        raise _refusal(
            f"the kernel refuses a network namespace ({error.strerror}). A container may need"
            " --security-opt seccomp=unconfined, or can be started with --network=none"
        ) from None


def _unshare(what: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(what):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _start_loopback() -> None:
    _ask("lo", _SET_FLAGS, _flags("lo") | _IS_UP)
    if os.geteuid():
        _drop_capabilities()


def _drop_capabilities() -> None:
    """Give up what the owner of a new namespace may do, which would open files of no permission."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = struct.pack("Ii", _CAPABILITIES_VERSION, 0)
    if libc.capset(header, bytes(24)):
        raise _refusal(f"capset failed ({errno.errorcode.get(ctypes.get_errno(), '')})")


def _flags(name: str) -> int:
    return _ask(name, _GET_FLAGS, 0)


def _ask(name: str, call: int, flags: int) -> int:
    fcntl = importlib.import_module("fcntl")  # which Windows does not have
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        # The kernel writes a whole `ifreq` of 40 bytes.
        asked = _INTERFACE.pack(name.encode(), flags).ljust(40, b"\0")
        answer: int = _INTERFACE.unpack_from(fcntl.ioctl(sock, call, asked))[1]
    return answer
