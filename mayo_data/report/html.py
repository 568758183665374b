"""Writes HTML that cannot be broken by what it holds: every text is escaped unless it is `Html` already."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape

_VOID = frozenset(["meta", "link", "br", "hr"])
# What no HTML document may hold, and lone surrogates, which no encoding takes.
_NEVER = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff\u202a-\u202e\u2066-\u2069]"
)


class Html(str):
    """Markup that is written as it is.

    >>> text("a <b>") + Html("<i>")
    'a &lt;b&gt;<i>'
    """

    __slots__ = ()


def text(value: object) -> Html:
    r"""Return a value as markup: escaped, with what no document may hold replaced.

    Args:
        value: Anything; its `str` is shown.

    >>> text("<script>\x00")
    '&lt;script&gt;\ufffd'
    """
    return value if isinstance(value, Html) else Html(escape(_NEVER.sub("\ufffd", str(value)), quote=True))


def join(parts: Iterable[object]) -> Html:
    """Return parts one after the other, each escaped unless it is markup; None is nothing."""
    return Html("".join(text(part) for part in parts if part is not None))


def tag(name: str, /, *children: object, **attributes: object) -> Html:
    """Return an element.

    Args:
        name: Its name.
        children: What it holds; None is nothing.
        attributes: Its attributes: `class_` is class, `aria_label` is aria-label; None and False are left out.

    >>> tag("p", "1 < 2", class_="lead", hidden=False)
    '<p class="lead">1 &lt; 2</p>'
    """
    said = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{text(value)}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    return (
        Html(f"<{name}{said}>") if name in _VOID and not children else Html(f"<{name}{said}>{join(children)}</{name}>")
    )
