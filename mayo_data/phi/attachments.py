"""Turns an attachment into plain text that can be scrubbed: text, HTML and RTF; anything else has no text here."""

from __future__ import annotations

import base64
import binascii
import html
import re

_CHARSET = re.compile(r"charset=\"?([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)
_MARKUP = re.compile(r"<!--|<(?:(script|style)\b)?[^<>]*>", re.IGNORECASE)
_CLOSING = {
    "<!--": re.compile("-->"),
    "script": re.compile(r"</script\s*>", re.IGNORECASE),
    "style": re.compile(r"</style\s*>", re.IGNORECASE),
}
_BREAK = re.compile(r"<(?:br|/p|/div|/tr|/li|/h[1-6])\b[^<>]*>", re.IGNORECASE)
_RTF = re.compile(
    r"\\'([0-9a-fA-F]{2})|\\u(-?\d{1,6}) ?\??|\\(par|line|tab|row|cell)\b ?|\\[a-zA-Z]{1,32}-?\d{0,10} ?"
    r"|\\([{}\\])|[\r\n]|([{}])"
)
_RTF_HIDDEN = re.compile(
    r"\{\\\*?\\?(?:fonttbl|colortbl|stylesheet|info|pict|generator)\b(?:[^{}]|\{[^{}]*\})*\}|\{\\\*(?:[^{}]|\{[^{}]*\})*\}"
)


def text_of(content_type: str, data: str) -> str | None:
    r"""Decode a FHIR Attachment.

    Args:
        content_type: MIME type, with or without a charset.
        data: base64.

    Returns:
        The text, or None where the content is not text (PDF, image) or not base64.

    >>> text_of("text/html; charset=utf-8", base64.b64encode(b"<p>a &amp; b</p>").decode())
    'a & b\n'
    """
    kind = content_type.split(";", 1)[0].strip().lower()
    if not (kind.startswith("text/") or kind in ("application/rtf", "application/xhtml+xml", "application/xml", "")):
        return None
    try:
        raw = base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError):
        return None
    text = _decode(raw, content_type)
    if kind in ("text/rtf", "application/rtf") or text.startswith("{\\rtf"):
        return _rtf(text)
    if kind in ("text/html", "application/xhtml+xml", "text/xml", "application/xml"):
        return html.unescape(_without_markup(_BREAK.sub("\n", text)))
    return text


def _decode(raw: bytes, content_type: str) -> str:
    found = _CHARSET.search(content_type)
    for charset in (found.group(1) if found else "utf-8", "utf-8-sig"):
        try:
            return raw.decode(charset)
        except (LookupError, UnicodeError):
            continue
    return raw.decode("cp1252", "replace")


def _without_markup(text: str) -> str:
    """Take away tags, comments, scripts and styles; in one pass, whatever is left open."""
    out: list[str] = []
    open_ended: set[str] = set()
    at = 0
    while (match := _MARKUP.search(text, at)) is not None:
        out.append(text[at : match.start()])
        at = match.end()
        what = match[1].lower() if match[1] else match[0]
        if what in _CLOSING and what not in open_ended:
            closing = _CLOSING[what].search(text, at)
            if closing is None:
                open_ended.add(what)  # nor will a later one be closed
            else:
                at = closing.end()
    out.append(text[at:])
    return "".join(out)


def _rtf(text: str) -> str:
    def plain(match: re.Match[str]) -> str:
        octet, point, word, literal, _ = match.groups()
        if octet:
            return bytes([int(octet, 16)]).decode("cp1252", "replace")
        if point:
            return chr(int(point) % 65536)
        if word:
            return "\t" if word in ("tab", "cell") else "\n"
        return literal or ""

    return _RTF.sub(plain, _RTF_HIDDEN.sub("", text))
