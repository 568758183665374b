"""One tree of errors, one exit code a cause, and the docstring tells the truth."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

from mayo_data import errors

LINE = re.compile(r"^ {4}([│ ├└─]*)(\w+Error)\s+(\d+)\s+\S", re.MULTILINE)
CLASSES: dict[str, type[Any]] = {
    name: found for name, found in vars(errors).items() if inspect.isclass(found) and issubclass(found, Exception)
}


def test_the_tree_in_the_docstring_is_the_tree_of_classes() -> None:
    assert errors.__doc__
    drawn, above = {}, {}
    for indent, name, code in LINE.findall(errors.__doc__):
        depth = len(indent) // 4
        above[depth] = name
        drawn[name] = (above[depth - 1] if depth else "Exception", int(code))
    built = {name: (found.__mro__[1].__name__, found.exit_code) for name, found in CLASSES.items()}
    assert drawn == built


def test_every_error_is_at_the_front() -> None:
    import mayo_data as md

    assert set(CLASSES) <= set(md.__all__)


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_an_error_carries_a_hint(name: str) -> None:
    error = CLASSES[name]("what is wrong", hint="what to do")
    assert (str(error), error.hint) == ("what is wrong", "what to do")
    assert CLASSES[name]("what is wrong").hint == ""
