"""Landlock: this process may open nothing but the listed paths. It needs no privileges, only Linux 5.13 or newer."""

import ctypes
import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from toolorchestra.tools.python.jail.kernel import (
    LANDLOCK_ADD_RULE,
    LANDLOCK_CREATE_RULESET,
    LANDLOCK_RESTRICT_SELF,
    Kernel,
)

_WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE, _IOCTL_DEVICE = 1 << 1, 1 << 2, 1 << 3, 1 << 14, 1 << 15
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_FILE, _MAKE_SYMLINK, _REFER = (1 << bit for bit in (4, 5, 7, 8, 12, 13))
_READ: Final = _READ_FILE | _READ_DIR
_WORK: Final = _READ | _WRITE_FILE | _TRUNCATE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_FILE | _MAKE_SYMLINK | _REFER
_FILE_RIGHTS: Final = _READ_FILE | _WRITE_FILE | _TRUNCATE | _IOCTL_DEVICE
_FILESYSTEM_BITS: Final = {1: 13, 2: 14, 3: 15, 4: 15}  # by version; from 5 on sixteen
_ALL_BITS: Final = 16
_NETWORK_SINCE, _SCOPES_SINCE = 4, 6
_BIND_AND_CONNECT_TCP: Final = 0b11
_ABSTRACT_SOCKETS_AND_SIGNALS: Final = 0b11
_VERSION_FLAG: Final = 1
_PATH_BENEATH: Final = 1


def restrict(kernel: Kernel, *, read: Iterable[Path], work: Path) -> int:
    """Allow reading below ``read`` and everything below ``work``; returns the version of Landlock found.

    Raises KernelError where the kernel has no Landlock. TCP is refused too where the version knows it.
    """
    version = kernel.syscall(LANDLOCK_CREATE_RULESET, None, 0, _VERSION_FLAG)
    handled = (1 << _FILESYSTEM_BITS.get(version, _ALL_BITS)) - 1
    ruleset = _create(kernel, version, handled)
    for path in read:
        _allow(kernel, ruleset, path, _READ & handled)
    for device in ("/dev/null", "/dev/zero"):
        _allow(kernel, ruleset, Path(device), (_READ_FILE | _WRITE_FILE) & handled)
    _allow(kernel, ruleset, work, _WORK & handled)
    kernel.syscall(LANDLOCK_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)
    return version


def _create(kernel: Kernel, version: int, handled: int) -> int:
    attributes = struct.pack("Q", handled)
    if version >= _NETWORK_SINCE:
        attributes += struct.pack("Q", _BIND_AND_CONNECT_TCP)
    if version >= _SCOPES_SINCE:
        attributes += struct.pack("Q", _ABSTRACT_SOCKETS_AND_SIGNALS)
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    return kernel.syscall(LANDLOCK_CREATE_RULESET, buffer, len(attributes), 0)


def _allow(kernel: Kernel, ruleset: int, path: Path, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what is not there or not reachable needs no permission
    if not path.is_dir():
        rights &= _FILE_RIGHTS
    rule = ctypes.create_string_buffer(struct.pack("=Qi", rights, descriptor), 12)
    try:
        kernel.syscall(LANDLOCK_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)
    finally:
        os.close(descriptor)
