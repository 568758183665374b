"""Cuts a FHIRPath expression into tokens."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from mayo_data.errors import ConfigError

LONGEST = 10_000  # characters of one expression

_TOKEN = re.compile(
    r"""
    (?P<space>\s+|//[^\n]*|/\*.*?\*/)
  | (?P<moment>@T?\d[\d:.TZ+-]*)
  | (?P<number>\d+(?:\.\d+)?)
  | (?P<text>'(?:[^'\\]|\\.)*')
  | (?P<quoted>`(?:[^`\\]|\\.)*`)
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<special>\$(?:this|index|total))
  | (?P<constant>%(?:[A-Za-z_][A-Za-z0-9_]*|`[^`\\]*`|'[^'\\]*'))
  | (?P<symbol>!=|!~|<=|>=|[-+*/&|=~<>.,()\[\]{}])
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(.))", re.DOTALL)
_ESCAPED = {"r": "\r", "n": "\n", "t": "\t", "f": "\f"}
_PLAIN = frozenset("'\"`\\/")


class Token(NamedTuple):
    """A word of an expression.

    Attributes:
        kind: `name`, `text`, `number`, `moment`, `special`, `constant`, `symbol` or `end`.
        value: What it says, without quotes and escapes.
        at: Its first character in the expression, from 0.
    """

    kind: str
    value: str
    at: int


def tokens(expression: str) -> list[Token]:
    r"""Cut an expression into tokens; the last one is `end`.

    Raises:
        ConfigError: It is too long, or holds something that is no token.

    >>> [token.value for token in tokens("name.where(use = 'it\\'s')")]
    ['name', '.', 'where', '(', 'use', '=', "it's", ')', '']
    """
    if len(expression) > LONGEST:
        raise ConfigError(f"the expression is longer than {LONGEST} characters", hint="split the view")
    return [*_cut(expression), Token("end", "", len(expression))]


def _cut(expression: str) -> Iterator[Token]:
    at = 0
    while at < len(expression):
        found = _TOKEN.match(expression, at)
        if found is None:
            raise ConfigError(f"character {at + 1} of the expression cannot be read", hint="is a quote missing?")
        kind, value = found.lastgroup or "", found[0]
        if kind == "text":
            yield Token("text", unescape(value[1:-1], at), at)
        elif kind == "quoted":
            yield Token("name", unescape(value[1:-1], at), at)
        elif kind == "constant":
            yield Token("constant", value[1:].strip("`'"), at)
        elif kind != "space":
            yield Token(kind, value, at)
        at = found.end()


def unescape(body: str, at: int = 0) -> str:
    r"""Return the body of a FHIRPath string without its escapes.

    Raises:
        ConfigError: An escape is not one of FHIRPath.

    >>> unescape("a\\nb")
    'a\nb'
    """

    def plain(found: re.Match[str]) -> str:
        if found[1]:
            return chr(int(found[1], 16))
        if found[2] in _ESCAPED:
            return _ESCAPED[found[2]]
        if found[2] in _PLAIN:
            return found[2]
        raise ConfigError(f"the text at character {at + 1} has an unknown escape", hint="write \\\\ for a backslash")

    made = _ESCAPE.sub(plain, body)
    try:  # two escapes can be one character of UTF-16
        return made.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise ConfigError(f"the text at character {at + 1} holds half a character", hint="check its escapes") from None
