"""Causes outside the program, told apart from its bugs: a full disk, a store that is read-only, too little memory."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from mayo_data.errors import MayoDataError, StoreError

_DISK = frozenset([errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM])
_SQLITE = {"SQLITE_FULL": errno.ENOSPC, "SQLITE_IOERR": errno.EIO, "SQLITE_READONLY": errno.EROFS}
_AGAIN = "run again: finished parts are kept"


@contextmanager
def told() -> Iterator[None]:
    """Say what the system refused, and what helps, in place of an error that reads like a bug.

    Raises:
        StoreError: A disk is full, read-only or broken. The message has no path.
        MayoDataError: There was not enough memory.

    >>> with told():
    ...     raise OSError(errno.ENOSPC, "somewhere")
    Traceback (most recent call last):
    mayo_data.errors.StoreError: a file cannot be written: No space left on device
    """
    try:
        yield
    except MemoryError as error:
        raise MayoDataError("out of memory", hint=f"use fewer --workers, and {_AGAIN}") from error
    except sqlite3.OperationalError as error:
        name = next((name for name in _SQLITE if (error.sqlite_errorname or "").startswith(name)), None)
        if name is None:
            raise
        raise _refused(_SQLITE[name]) from error
    except OSError as error:
        if error.errno not in _DISK:
            raise
        raise _refused(error.errno) from error


def _refused(number: int) -> StoreError:
    return StoreError(
        f"a file cannot be written: {os.strerror(number)}",
        hint=f"check space and rights of the store, the PHI zone and the folder for temporary files; {_AGAIN}",
    )
