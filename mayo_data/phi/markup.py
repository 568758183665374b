"""Markup whose words are scrubbed and whose form stays: HTML and XHTML in attachments and narratives.

The words are read as one text, as a person reads them, so that a name is found across its tags. What is written back
has tags of a short list, without attributes (but for the span of a table cell), every one of them closed: well-formed
XHTML, and valid as HTML too. Scripts, styles, comments, links and images are gone.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import NamedTuple

from mayo_data.phi.text import Scrubbed

XHTML = "http://www.w3.org/1999/xhtml"

_MARKUP = re.compile(  # a tag ends behind its attributes, whose quoted values may hold anything; else at the next >
    r"""<!--|<(script|style)\b[^<>]*>|</?[a-z](?:[^<>"']++|"[^"]{0,2000}"|'[^']{0,2000}'){0,200}+>|<[^<>]*>""",
    re.IGNORECASE,
)
_CLOSING = {
    "<!--": re.compile("-->"),
    "script": re.compile(r"</script\s*>", re.IGNORECASE),
    "style": re.compile(r"</style\s*>", re.IGNORECASE),
}
_BREAK = re.compile(r"<(?:br|/p|/div|/tr|/li|/h[1-6])(?![\w:-])", re.IGNORECASE)
_TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9]{0,9})(?![\w:-])")
_SPAN = re.compile(r"\s(colspan|rowspan)\s*=\s*[\"']?([1-9]\d?)(?!\d)", re.IGNORECASE)

# FHIR R4, Narrative: the formatting elements of HTML 4.0, chapters 7 to 11 and 15.
_KEPT = frozenset(
    """p div span br hr h1 h2 h3 h4 h5 h6 b strong i em u s tt big small sub sup q blockquote pre code
    ul ol li dl dt dd table caption thead tbody tfoot tr th td""".split()  # noqa: SIM905
)
_VOID = frozenset(["br", "hr"])
_NEXT = frozenset(["p", "li", "dt", "dd", "tr", "th", "td"])  # which end where the next of their kind begins
_DEEPEST = 100  # open tags; a hostile document has more


class Markup(NamedTuple):
    """A document taken apart.

    Attributes:
        text: Its words, with a line break where a block ends.
        tags: Of each tag that stays: offset in `text`, `/` where it closes, name, spans of a table cell.
    """

    text: str
    tags: list[tuple[int, str, str, str]]


def parse(document: str) -> Markup:
    r"""Take a document apart: HTML, XHTML, or what calls itself so.

    Args:
        document: The document; anything, in one pass, whatever is left open.

    >>> parse("<p onclick='x'>a &amp; b</p><script>c</script>")
    Markup(text='a & b\n', tags=[(0, '', 'p', ''), (6, '/', 'p', '')])
    """
    pieces: list[str] = []
    tags: list[tuple[int, str, str, str]] = []
    never_closed: set[str] = set()
    at = size = 0
    while (match := _MARKUP.search(document, at)) is not None:
        piece = html.unescape(document[at : match.start()])
        at = match.end()
        tag = match.group()
        if _BREAK.match(tag):
            piece += "\n"
        pieces.append(piece)
        size += len(piece)
        what = match[1].lower() if match[1] else tag
        if what not in _CLOSING:
            found = _TAG.match(tag)
            if found is not None and (name := found[2].lower()) in _KEPT:
                spans = (
                    "".join(f' {key.lower()}="{n}"' for key, n in _SPAN.findall(tag)) if name in ("td", "th") else ""
                )
                tags.append((size, found[1], name, spans))
        elif what not in never_closed:
            closing = _CLOSING[what].search(document, at)
            if closing is None:
                never_closed.add(what)  # nor will a later one be
            else:
                at = closing.end()
    pieces.append(html.unescape(document[at:]))
    return Markup("".join(pieces), tags)


def write(markup: Markup, made: Scrubbed) -> str:
    """Put a document together again from its scrubbed words: the inside of a body, well-formed.

    Args:
        markup: The document.
        made: What the scrub made of `markup.text`.

    >>> document = parse("<ul><li>Ms. <b>Roe</b> &lt; 3<li>well")
    >>> write(document, Scrubbed(document.text, [], []))
    '<ul><li>Ms. <b>Roe</b> &lt; 3</li><li>well</li></ul>'
    """
    out: list[str] = []
    opened: list[str] = []
    at = 0
    for place, (_, closes, name, spans) in zip(_moved(markup, made), markup.tags, strict=True):
        out.append(escaped(made.text[at:place]))
        at = place
        if name in _VOID:
            out.append(f"<{name}/>")
        elif closes:
            if name in opened:
                while (last := opened.pop()) != name:
                    out.append(f"</{last}>")
                out.append(f"</{name}>")
        elif len(opened) < _DEEPEST:
            if opened and name in _NEXT and opened[-1] == name:
                out.append(f"</{opened.pop()}>")
            opened.append(name)
            out.append(f"<{name}{spans}>")
    out.append(escaped(made.text[at:]))
    out += [f"</{name}>" for name in reversed(opened)]
    return "".join(out)


def escaped(text: str) -> str:
    """Return a text as XHTML has it, without characters that XML forbids."""
    return html.escape("".join(char for char in text if _printable(char)), quote=False)


def _moved(markup: Markup, made: Scrubbed) -> Iterator[int]:
    """Yield where each tag stands in the scrubbed text; a tag within what was replaced stands behind it."""
    replaced = 0  # spans that begin before the tag
    for offset, *_ in markup.tags:
        while replaced < len(made.decisions) and made.decisions[replaced].start < offset:
            replaced += 1
        if replaced == 0:
            yield offset
            continue
        start, size, _ = made.moves[replaced - 1]
        yield start + size + max(offset - made.decisions[replaced - 1].end, 0)


def _printable(char: str) -> bool:
    return (char >= " " and not "\ud800" <= char <= "\udfff" and char < "\ufffe") or char > "\uffff" or char in "\t\n\r"
