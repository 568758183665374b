"""How names that people chose become safe in a document: one line, no control characters, no markup."""

from __future__ import annotations

import re
from typing import Any

import orjson

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]+")
_MARKUP = re.compile(
    r"[\\`*\[\]<>#|~&$@]|(?<![0-9A-Za-z])_|_(?![0-9A-Za-z])"  # a word with_a_line in it is no emphasis
    r"|^[-+=]|(?<=^\d)[.)](?=\s)|:(?=//)|(?<=www)\."  # lists, headings, links
)
_LONGEST = 200


def line(value: object, longest: int = _LONGEST) -> str:
    r"""Return a value as one line of plain text: no control or direction characters, at most so many characters.

    >>> line(" a\r\n\tb ")
    'a b'
    """
    text = str(value)
    if not (text.isascii() and text.isalnum()):  # a digest or a number is one line
        text = " ".join(_CONTROL.sub(" ", text).split())
    return text if len(text) <= longest else text[: longest - 1] + "…"


def markdown(value: object, longest: int = 2000) -> str:
    """Return a value as plain text for Markdown: what would be markup, HTML or a link becomes character references.

    >>> markdown("<script>a|b</script>")
    '&#60;script&#62;a&#124;b&#60;/script&#62;'
    """
    return _MARKUP.sub(lambda found: f"&#{ord(found[0])};", line(value, longest))


def encoded(value: Any, *, indent: bool = True) -> str:
    r"""Return a value as JSON with sorted keys and an end of line: the same value, the same bytes.

    >>> encoded({"b": 1, "a": 2}, indent=False)
    '{"a":2,"b":1}\n'
    """
    options = orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE | (orjson.OPT_INDENT_2 if indent else 0)
    return orjson.dumps(value, option=options).decode()


def lines(values: list[Any]) -> str:
    r"""Return values as JSON lines.

    >>> lines([{"a": 1}, {}])
    '{"a":1}\n{}\n'
    """
    return "".join(encoded(value, indent=False) for value in values)
