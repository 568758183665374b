"""Where an expression is evaluated, and what its parts may ask of the compiler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from mayo_data.views.elements import Types
from mayo_data.views.syntax import Node
from mayo_data.views.values import Nodes, Value


@dataclass(frozen=True)
class Scope:
    """Where an expression is evaluated.

    Attributes:
        this: The focus.
        root: The whole resource.
        row: SQL of `%rowIndex`.
        index: SQL of `$index`, or empty outside of a function.
        place: Where in the view, for messages.
    """

    this: Nodes
    root: Nodes
    row: str = "0"
    index: str = ""
    place: str = ""


class Compiles(Protocol):
    """What a function needs in order to compile its arguments."""

    types: Types

    def compile(self, node: Node, scope: Scope) -> Value:
        """Return the SQL of an expression."""
        ...

    def nodes(self, node: Node | None, scope: Scope) -> Nodes:
        """Compile what must be elements; None is the focus."""
        ...

    def fresh(self) -> str:
        """Return a name for a lambda's parameter that nothing else has."""
        ...
