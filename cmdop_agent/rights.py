"""Touching files with somebody else's rights, where the agent runs as root for an account (Linux).

The kernel keeps the rights for files apart from those of the process, for each thread. So for as long as one block
without any waiting runs, this thread opens, makes and renames files as that account would, and nothing else changes.
"""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from cmdop_agent.environment import Account

# Raw system calls: the C library's own functions would change every thread.
_SETGROUPS = {"x86_64": 116, "aarch64": 159, "riscv64": 159, "ppc64le": 81, "s390x": 206}
_SETFSUID = {"x86_64": 122, "aarch64": 151, "riscv64": 151, "ppc64le": 138, "s390x": 215}
_SETFSGID = {"x86_64": 123, "aarch64": 152, "riscv64": 152, "ppc64le": 139, "s390x": 216}


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def can_act() -> bool:
    """Tell whether this process can take another account's rights: Linux, root, a processor we know."""
    return sys.platform == "linux" and os.geteuid() == 0 and os.uname().machine in _SETGROUPS


@contextmanager
def acting_as(account: Account | None) -> Iterator[None]:
    """Touch files with the rights of ``account`` inside; ``None`` changes nothing. No awaiting in there."""
    if account is None:
        yield
        return
    own_groups = os.getgroups()
    try:
        _set(account.groups, account.gid, account.uid)
        yield
    finally:
        _set(tuple(own_groups), os.getegid(), os.geteuid())


def _set(groups: tuple[int, ...], gid: int, uid: int) -> None:
    machine, libc = os.uname().machine, _libc()
    listed = (ctypes.c_uint32 * len(groups))(*groups)
    if libc.syscall(_SETGROUPS[machine], len(groups), listed) != 0:
        raise OSError(ctypes.get_errno(), "cannot take the account's groups")
    libc.syscall(_SETFSGID[machine], gid)
    libc.syscall(_SETFSUID[machine], uid)
    # Neither of the two reports a failure; asking for the impossible returns what holds now.
    if libc.syscall(_SETFSUID[machine], -1) != uid or libc.syscall(_SETFSGID[machine], -1) != gid:
        raise OSError("cannot take the account's rights")
