"""The part of FHIRPath that rules for anonymising use: paths, filters, comparisons, a few functions on strings.

Source: HL7 FHIRPath 2.0. What is not understood is a ConfigError where the policy is read, never a rule that is passed
over in silence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from mayo_data.errors import ConfigError
from mayo_data.phi.elements import elements

_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^'\\]|\\.)*')|(?P<date>@[0-9T:.Z+-]+)|(?P<number>\d+(?:\.\d+)?)"
    r"|(?P<name>[$%]?[A-Za-z_][A-Za-z0-9_]*|`[^`]+`)|(?P<op><=|>=|!=|[=~<>+\-*/|.,()\[\]&]))"
)
_LEVELS: list[tuple[str, ...]] = [
    ("implies",), ("or", "xor"), ("and",), ("in", "contains"), ("=", "~", "!="), ("<", "<=", ">", ">="), ("|",),
    ("is", "as"), ("+", "-", "&"), ("*", "/"),
]  # fmt: skip
_PRIMITIVE = (str, int, Decimal, bool)
ANY = frozenset(["Resource", "DomainResource"])


@dataclass(eq=False)
class Node:
    """A place in a resource: what holds it, under which key, and its FHIR type.

    Attributes:
        holder: The dict or list that holds the value.
        key: Key or index in the holder.
        name: Name of the element, without the type of a choice.
        type: FHIR type, or empty where FHIR R4 knows none.
        children: Elements, in order; a contained resource is none.
    """

    holder: Any
    key: Any
    name: str
    type: str
    children: list[Node] = field(default_factory=list)

    @property
    def value(self) -> Any:
        """The value at the place."""
        return self.holder[self.key]

    def below(self) -> Iterator[Node]:
        """Yield all nodes below, depth first."""
        for child in self.children:
            yield child
            yield from child.below()


def tree(resource: dict[str, Any]) -> Node:
    """Return the nodes of a resource, as far as it reaches: contained resources and entries are trees of their own.

    >>> [node.name for node in tree({"resourceType": "Patient", "deceasedBoolean": True}).below()]
    ['deceased']
    """
    root = Node([resource], 0, str(resource.get("resourceType", "")), str(resource.get("resourceType", "")))
    _grow(root, resource, root.type)
    return root


def _grow(node: Node, value: dict[str, Any], kind: str) -> None:
    shape = elements(kind)
    for name, inner in value.items():
        if name == "resourceType":
            continue
        element = shape.get(name.removeprefix("_"))
        shown = (element.choice if element else "") or name.removeprefix("_")
        what = element.type if element else ""
        if what == "Resource":
            continue
        held = inner if isinstance(inner, list) else value
        places: list[Any] = list(range(len(inner))) if isinstance(inner, list) else [name]
        for key in places:
            one = held[key]
            if one is None:
                continue
            child = Node(held, key, shown, what if not name.startswith("_") else "")
            if isinstance(one, dict):
                _grow(child, one, what if not name.startswith("_") else "Element")
            node.children.append(child)


Values = list[Any]
Expression = Callable[[Values, Node], Values]


def compiled(text: str) -> Expression:
    """Return an expression as a function of the nodes or values it looks at, and of the root.

    Raises:
        ConfigError: It cannot be understood.

    >>> root = tree({"resourceType": "Patient", "name": [{"family": "Doe", "use": "official"}]})
    >>> [node.value for node in compiled("Patient.name.where(use='official').family")([root], root)]
    ['Doe']
    >>> compiled("$this.substring(0,3) + '**'")(["12345"], root)
    ['123**']
    """
    parser = _Parser(text)
    found = parser.level(0)
    if parser.tokens:
        raise parser.fault()
    return found


class _Parser:
    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, str]] = []
        at, text = 0, text.strip()
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise self.fault()
            self.tokens.append((str(match.lastgroup), match[str(match.lastgroup)]))
            at = match.end()

    def fault(self) -> ConfigError:
        return ConfigError("a rule's FHIRPath is not understood", hint="see mayo_data/phi/fhirpath.py for what is")

    def peek(self) -> str:
        return self.tokens[0][1] if self.tokens else ""

    def take(self, wanted: str = "") -> tuple[str, str]:
        if not self.tokens or (wanted and self.tokens[0][1] != wanted):
            raise self.fault()
        return self.tokens.pop(0)

    def level(self, depth: int) -> Expression:
        if depth == len(_LEVELS):
            return self.chain()
        left = self.level(depth + 1)
        while self.tokens and self.tokens[0][0] in ("op", "name") and self.peek() in _LEVELS[depth]:
            sign = self.take()[1]
            if sign in ("as", "is"):
                kind = self.take()[1]
                left = _typed(left, kind) if sign == "as" else _is(left, kind)
            else:
                left = _binary(sign, left, self.level(depth + 1))
        return left

    def chain(self) -> Expression:
        found = self.term()
        while self.peek() in (".", "["):
            if self.take()[1] == "[":
                index = int(self.take()[1])
                self.take("]")
                found = _indexed(found, index)
            else:
                found = self.step(self.take(), found)
        return found

    def term(self) -> Expression:
        if self.peek() == "(":
            self.take()
            inner = self.level(0)
            self.take(")")
            return inner
        kind, text = self.take()
        if kind == "text":
            said = re.sub(r"\\(.)", r"\1", text[1:-1])
            return lambda focus, root: [said]
        if kind == "number":
            number = Decimal(text)
            return lambda focus, root: [number]
        if kind == "date":
            return lambda focus, root: [text[1:]]
        if text in ("true", "false"):
            return lambda focus, root: [text == "true"]
        if text == "$this":
            return lambda focus, root: focus
        if kind != "name" or text.startswith(("$", "%")):
            raise self.fault()
        return self.step((kind, text), None)

    def step(self, token: tuple[str, str], before: Expression | None) -> Expression:
        """A name or a function, of what stands before it; at the beginning of a path, of the focus."""
        kind, name = token[0], token[1].strip("`")
        if kind != "name":
            raise self.fault()
        came: Expression = before or (lambda focus, root: focus)
        if self.peek() != "(":
            if before is None and name[:1].isupper():
                return lambda focus, root: [root] if root in focus and (name in ANY or root.type == name) else []
            return lambda focus, root: [child for child in _children(came(focus, root)) if child.name == name]
        self.take("(")
        arguments: list[Expression] = []
        while self.peek() != ")":
            if name in ("ofType", "as", "is") and not arguments:
                arguments.append(_said(self.take()[1]))
            else:
                arguments.append(self.level(0))
            if self.peek() == ",":
                self.take()
        self.take(")")
        function = _FUNCTIONS.get(name)
        if function is None:
            raise self.fault()
        return lambda focus, root: function(came(focus, root), arguments, root)


def _said(text: str) -> Expression:
    return lambda focus, root: [text]


def plain(value: Any) -> Any:
    """The value of a node, or the value itself."""
    return value.value if isinstance(value, Node) else value


def truth(values: Values) -> bool:
    """Whether a result holds: true, or anything that is there."""
    return bool(values) and plain(values[0]) is not False


def _binary(sign: str, left: Expression, right: Expression) -> Expression:
    def evaluate(focus: Values, root: Node) -> Values:
        one, other = [plain(v) for v in left(focus, root)], [plain(v) for v in right(focus, root)]
        match sign:
            case "|":
                return [*one, *(value for value in other if value not in one)]
            case "and":
                return [truth(one) and truth(other)]
            case "or":
                return [truth(one) or truth(other)]
            case "xor":
                return [truth(one) != truth(other)]
            case "implies":
                return [not truth(one) or truth(other)]
            case "in":
                return [bool(one) and all(value in other for value in one)]
            case "contains":
                return [bool(other) and all(value in one for value in other)]
            case "=" | "~":
                return [one == other] if one and other else []
            case "!=":
                return [one != other] if one and other else []
        if not one or not other:
            return []
        first, second = one[0], other[0]
        if sign in ("+", "&") and isinstance(first, str):
            return [first + str(second)]
        if sign in ("<", "<=", ">", ">="):
            return [_compare(sign, first, second)]
        first, second = Decimal(first), Decimal(second)
        if sign == "/":
            return [first / second] if second else []
        return [first + second if sign == "+" else first - second if sign == "-" else first * second]

    return evaluate


def _compare(sign: str, first: Any, second: Any) -> bool:
    if isinstance(first, str) != isinstance(second, str):
        return False
    if isinstance(first, str):  # dates of unequal precision: as far as both say something
        size = min(len(first), len(second))
        first, second = first[:size], second[:size]
    if sign == "<":
        return bool(first < second)
    if sign == ">":
        return bool(first > second)
    return bool(first <= second if sign == "<=" else first >= second)


def _typed(left: Expression, kind: str) -> Expression:
    return lambda focus, root: [one for one in left(focus, root) if isinstance(one, Node) and one.type == kind]


def _is(left: Expression, kind: str) -> Expression:
    return lambda focus, root: [any(isinstance(one, Node) and one.type == kind for one in left(focus, root))]


def _indexed(found: Expression, index: int) -> Expression:
    return lambda focus, root: found(focus, root)[index : index + 1]


def _children(came: Values) -> Iterator[Node]:
    for one in came:
        if isinstance(one, Node):
            yield from one.children


def _nodes(came: Values) -> Iterator[Node]:
    for one in came:
        if isinstance(one, Node):
            yield from one.below()


def _by(attribute: str) -> Callable[[Values, list[Expression], Node], Values]:
    def select(came: Values, arguments: list[Expression], root: Node) -> Values:
        wanted = plain(arguments[0]([], root)[0])
        found = [node for node in _nodes(came) if getattr(node, attribute) == wanted]
        return list(dict.fromkeys(found))

    return select


def _string(make: Callable[..., Any]) -> Callable[[Values, list[Expression], Node], Values]:
    def call(came: Values, arguments: list[Expression], root: Node) -> Values:
        given = [plain(value) for argument in arguments for value in argument(came, root)[:1]]
        found = [plain(value) for value in came[:1]]
        return [make(str(found[0]), *given)] if found and isinstance(found[0], _PRIMITIVE) else []

    return call


def _substring(text: str, start: Any, length: Any = None) -> str:
    return text[int(start) : None if length is None else int(start) + int(length)]


_FUNCTIONS: dict[str, Callable[[Values, list[Expression], Node], Values]] = {
    "nodesByType": _by("type"),
    "nodesByName": _by("name"),
    "descendants": lambda came, arguments, root: list(_nodes(came)),
    "children": lambda came, arguments, root: list(_children(came)),
    "where": lambda came, arguments, root: [one for one in came if truth(arguments[0]([one], root))],
    "exists": lambda came, arguments, root: [
        bool([one for one in came if truth(arguments[0]([one], root))] if arguments else came)
    ],
    "empty": lambda came, arguments, root: [not came],
    "not": lambda came, arguments, root: [not truth(came)],
    "count": lambda came, arguments, root: [len(came)],
    "first": lambda came, arguments, root: came[:1],
    "last": lambda came, arguments, root: came[-1:],
    "ofType": lambda came, arguments, root: _typed(lambda focus, _: came, arguments[0]([], root)[0])([], root),
    "as": lambda came, arguments, root: _typed(lambda focus, _: came, arguments[0]([], root)[0])([], root),
    "is": lambda came, arguments, root: _is(lambda focus, _: came, arguments[0]([], root)[0])([], root),
    "startsWith": _string(lambda text, said: text.startswith(said)),
    "endsWith": _string(lambda text, said: text.endswith(said)),
    "contains": _string(lambda text, said: said in text),
    "matches": _string(lambda text, said: re.search(said, text) is not None),
    "substring": _string(_substring),
    "replace": _string(lambda text, said, new: text.replace(said, new)),
    "length": _string(len),
    "upper": _string(lambda text: text.upper()),
    "lower": _string(lambda text: text.lower()),
    "toString": _string(lambda text: text),
    "toInteger": _string(lambda text: int(text) if re.fullmatch(r"[+-]?\d{1,18}", text) else None),
    "toDecimal": _string(lambda text: Decimal(text) if re.fullmatch(r"[+-]?\d{1,18}(\.\d{1,18})?", text) else None),
}
