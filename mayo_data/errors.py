"""Every error this library raises on purpose, each with the exit code of the command line.

    MayoDataError                 1   a bug, when raised bare
    ├── ConfigError               2   the pipeline file, the policy, an option
    │   └── KeyMissingError       2   no key, or one that cannot be used
    ├── SourceError               3   the input cannot be read
    ├── GateError                 4   a quality gate said stop
    ├── LeakError                 5   PHI was found where none may be; nothing was committed
    └── StoreError                3   a store that is missing, damaged or of another generation

Messages carry locators (file number, line, element path) and a hint. They never carry a value of the PHI zone.
"""

from __future__ import annotations


class MayoDataError(Exception):
    """Base of all errors of this library.

    >>> MayoDataError("the seal is broken", hint="run again").hint
    'run again'
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(MayoDataError):
    """The pipeline file, policy or options do not make sense."""

    exit_code = 2


class KeyMissingError(ConfigError):
    """There is no usable key, and nothing is ever scrubbed without one."""


class SourceError(MayoDataError):
    """The input cannot be read, or `--strict` met a bad row."""

    exit_code = 3


class StoreError(MayoDataError):
    """The store is missing, damaged, or made with another key."""

    exit_code = 3


class GateError(MayoDataError):
    """A quality gate stopped the run; nothing was committed."""

    exit_code = 4


class LeakError(MayoDataError):
    """An identifier of a subject was found in that subject's output; nothing was committed."""

    exit_code = 5
