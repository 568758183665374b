"""The tree of a FHIRPath expression, and the parser that grows it.

The grammar is FHIRPath 2.0 without `|`, `in`, `contains`, quantities and the collection literal: what SQL on FHIR asks
for, and a little more. What is known to FHIRPath and not to this parser is refused by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mayo_data.errors import ConfigError
from mayo_data.views.lexer import Token, tokens

DEEPEST = 40  # levels of brackets
LONGEST = 40  # steps in a row: a.b.c
MOST = 200  # operators in a row: a or b or c


@dataclass(frozen=True)
class Literal:
    """A value that stands in the expression.

    Attributes:
        kind: `string`, `integer`, `decimal`, `boolean`, `date`, `dateTime` or `time`.
        value: Its text.
    """

    kind: str
    value: str


@dataclass(frozen=True)
class Constant:
    """`%name`."""

    name: str


@dataclass(frozen=True)
class Special:
    """`$this` or `$index`."""

    name: str


@dataclass(frozen=True)
class Member:
    """`of.name`; without `of`, a child of the focus."""

    of: Node | None
    name: str


@dataclass(frozen=True)
class Call:
    """`of.name(arguments)`."""

    of: Node | None
    name: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True)
class Index:
    """`of[at]`."""

    of: Node
    at: Node


@dataclass(frozen=True)
class Binary:
    """`left operator right`."""

    operator: str
    left: Node
    right: Node


@dataclass(frozen=True)
class Negative:
    """`-of`."""

    of: Node


Node = Literal | Constant | Special | Member | Call | Index | Binary | Negative

# From the loosest to the tightest, as FHIRPath orders them.
_LEVELS: Sequence[frozenset[str]] = (
    frozenset({"implies"}),
    frozenset({"or", "xor"}),
    frozenset({"and"}),
    frozenset({"=", "!="}),
    frozenset({"<", "<=", ">", ">="}),
    frozenset({"+", "-", "&"}),
    frozenset({"*", "/", "div", "mod"}),
)
_REFUSED = {"|", "~", "!~", "in", "contains", "is", "as"}
_KEYWORDS = frozenset({"and", "or", "xor", "implies", "div", "mod"})


def parse(expression: str) -> Node:
    """Parse a FHIRPath expression.

    Raises:
        ConfigError: It cannot be parsed, uses what is not supported, or is nested too deeply.

    >>> parse("name[0]")
    Index(of=Member(of=None, name='name'), at=Literal(kind='integer', value='0'))
    """
    return _Parser(tokens(expression)).whole()


class _Parser:
    def __init__(self, words: list[Token]) -> None:
        self.words = words
        self.at = 0
        self.depth = 0

    @property
    def here(self) -> Token:
        return self.words[self.at]

    def sees(self, *symbols: str) -> bool:
        return self.here.kind in ("symbol", "name") and self.here.value in symbols

    def take(self) -> Token:
        token = self.here
        self.at += token.kind != "end"
        return token

    def need(self, symbol: str) -> None:
        if not self.sees(symbol):
            raise self.wrong(f"{symbol} is missing")
        self.take()

    def wrong(self, what: str) -> ConfigError:
        where = "at its end" if self.here.kind == "end" else f"at character {self.here.at + 1}"
        return ConfigError(f"the expression cannot be read {where}: {what}", hint="see the FHIRPath subset in README")

    def whole(self) -> Node:
        if self.here.kind == "end":
            raise ConfigError("the expression is empty", hint="$this is the element itself")
        node = self.level(0)
        if self.here.kind != "end":
            raise self.wrong("this is one word too many")
        return node

    def inside(self) -> Node:
        """Parse what stands in brackets."""
        self.depth += 1
        if self.depth > DEEPEST:
            raise ConfigError(f"the expression has more than {DEEPEST} levels of brackets", hint="split it")
        node = self.level(0)
        self.depth -= 1
        return node

    def level(self, level: int) -> Node:
        if level == len(_LEVELS):
            return self.signed()
        node = self.level(level + 1)
        count = 0
        while self.sees(*_LEVELS[level]):
            count = self.counted(count, MOST)
            operator = self.take().value
            node = Binary(operator, node, self.level(level + 1))
        if self.sees(*_REFUSED):
            raise ConfigError(f"the operator {self.here.value} is not supported", hint="see the subset in README")
        return node

    def counted(self, count: int, most: int) -> int:
        if count >= most:
            raise ConfigError(f"the expression has more than {most} steps or operators in a row", hint="split it")
        return count + 1

    def signed(self) -> Node:
        if self.sees("+", "-"):
            sign = self.take().value
            if self.sees("+", "-"):
                raise self.wrong("one sign is enough")
            node = self.steps()
            return Negative(node) if sign == "-" else node
        return self.steps()

    def steps(self) -> Node:
        node = self.term()
        count = 0
        while self.sees(".", "["):
            count = self.counted(count, LONGEST)
            if self.take().value == ".":
                node = self.invocation(node)
            else:
                node = Index(node, self.inside())
                self.need("]")
        return node

    def term(self) -> Node:
        token = self.here
        match token.kind:
            case "text":
                return Literal("string", self.take().value)
            case "number":
                return Literal("decimal" if "." in token.value else "integer", self.take().value)
            case "moment":
                return self.moment()
            case "constant":
                return Constant(self.take().value)
            case "special":
                return self.special()
            case "name" if token.value in ("true", "false"):
                return Literal("boolean", self.take().value)
            case "name":
                return self.invocation(None)
        if self.sees("("):
            self.take()
            node = self.inside()
            self.need(")")
            return node
        if self.sees("{"):
            raise ConfigError("the empty collection {} is not supported", hint="use empty() or exists()")
        raise self.wrong("an element, a function or a value is missing")

    def special(self) -> Node:
        if self.here.value == "$total":
            raise ConfigError("$total is not supported", hint="aggregate in SQL")
        return Special(self.take().value)

    def moment(self) -> Node:
        value = self.take().value[1:]
        if value.startswith("T"):
            return Literal("time", value[1:])
        return Literal("dateTime" if "T" in value else "date", value.removesuffix("T"))

    def invocation(self, of: Node | None) -> Node:
        token = self.take()
        if token.kind == "special" and of is not None and token.value == "$this":
            return of
        if token.kind != "name" or (of is None and token.value in _KEYWORDS):
            self.at -= 1 if token.kind != "end" else 0
            raise self.wrong("the name of an element or a function is missing")
        if not self.sees("("):
            return Member(of, token.value)
        self.take()
        arguments: list[Node] = []
        while not self.sees(")"):
            if arguments:
                self.need(",")
            arguments.append(self.inside())
        self.need(")")
        return Call(of, token.value, tuple(arguments))
