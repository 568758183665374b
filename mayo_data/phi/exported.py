"""Actions of which only FHIR out has a use: references, identifiers, narratives, attachments in full, extensions.

A run into a store drops these elements, because no event is made of them.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from typing import Any

import msgspec

from mayo_data.phi.actions import Actions, Raw, Value, parse
from mayo_data.phi.attachments import document_of, packed
from mayo_data.phi.markup import XHTML, write
from mayo_data.phi.markup import parse as parse_markup
from mayo_data.phi.masks import ABSENT
from mayo_data.phi.pseudonyms import Pseudonyms
from mayo_data.types import Json

_REASONS = frozenset(
    """unknown asked-unknown temp-unknown not-asked asked-declined masked not-applicable unsupported as-text error
    not-a-number negative-infinity positive-infinity not-performed not-permitted""".split()  # noqa: SIM905
)
_URL = re.compile(r"[A-Za-z0-9:/._|#-]{1,200}")
_MOST = 100_000


class Exported:
    """The actions of one policy that only FHIR out needs, in one process.

    Args:
        actions: The other actions, and the subject of the current resource.
        names: Pseudonyms.
        extensions: URLs of extensions that the policy admits; a trailing `*` admits a prefix.
    """

    def __init__(self, actions: Actions, names: Pseudonyms, extensions: tuple[str, ...]) -> None:
        self.names = names
        self._actions = actions
        self._exact = frozenset(url for url in extensions if not url.endswith("*"))
        self._prefixes = tuple(url[:-1] for url in extensions if url.endswith("*"))
        self._references: dict[bytes, Any] = {}

    def reference(self, category: str, hint: str = "") -> Raw:
        """A reference: under its pseudonym; a display, which may be a name, is dropped."""

        def action(raw: bytes) -> Any:
            found = self._references.get(raw)
            if found is None:
                if len(self._references) >= _MOST:
                    self._references.clear()
                clean = self.names.reference(parse(raw), hint)
                found = self._references[raw] = (clean, b'"display"' in raw)
            clean, named = found
            if clean is not None:
                self._actions.counts[f"phi/{category}/pseudonymise"] += 1
            if named:
                self._actions.counts[f"phi/{category}/drop"] += 1
            return clean

        return action

    def identifier(self, category: str) -> Value:
        """An identifier: value and system keyed."""

        def action(value: Any) -> Any:
            clean = self.names.identifier(value)
            self._actions.counts[f"phi/{category}/{'pseudonymise' if clean else 'drop'}"] += 1
            return clean

        return action

    def narrative(self, path: str) -> Value:
        """A narrative: its words scrubbed, its tags kept where they are plain formatting."""

        def action(value: Any) -> Any:
            div = value.get("div") if type(value) is dict else None
            if type(div) is not str:
                return None
            found = parse_markup(div)
            made = self._actions.rewritten(found.text, path + ".div") if found.text.strip() else None
            if made is None or not made.text.strip():
                return None
            outer = [tag[1:3] for tag in (found.tags[:1] + found.tags[-1:])] == [("", "div"), ("/", "div")]
            inside = write(found._replace(tags=found.tags[1:-1]) if outer else found, made).strip()
            return {"status": "additional", "div": f'<div xmlns="{XHTML}">{inside}</div>'}

        return action

    def attachment(self, path: str) -> Value:
        """An Attachment with its size and hash made right, or what is left of one whose data lie in a Binary."""
        content = self._content(path)
        moved = self._actions.date(path + ".creation")

        def action(value: Any) -> Any:
            clean: Json | None = content(value) if type(value) is dict and "data" in value else {}
            if clean is None or type(value) is not dict:
                return None
            if "data" in clean:
                data = base64.b64decode(clean["data"])
                if "size" in value:
                    clean["size"] = len(data)
                if "hash" in value:  # FHIR R4: SHA-1 of the data
                    clean["hash"] = base64.b64encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode()
            if "url" in value and (url := self.names.url(value["url"])) is not None:
                clean["url"] = url
            elif "url" in value:
                self._actions.counts["attachments/url"] += 1
            if type(value.get("creation")) is str:
                clean["creation"] = moved(msgspec.json.encode(value["creation"]))
            return clean or None

        return action

    def _content(self, path: str) -> Value:
        """MIME type and data of an Attachment: HTML stays HTML, all other text becomes plain text."""
        plain = self._actions.attachment(path)

        def action(value: Json) -> Any:
            data, kind = value.get("data"), value.get("contentType")
            found = document_of(kind, data) if type(data) is str and type(kind) is str else None
            if found is None:
                return plain(value)
            kind, document = found
            made = self._actions.rewritten(document.text, path + ".data")
            if made is None:
                return None
            start = "<!DOCTYPE html>\n" if kind == "text/html" else ""
            return packed(kind, f'{start}<html xmlns="{XHTML}"><body>{write(document, made)}</body></html>')

        return action

    def binary(self, resource: dict[str, msgspec.Raw]) -> Json:
        """What is left of a Binary: its text, scrubbed; a PDF or an image is dropped and counted."""
        kind, data = (parse(resource[name]) if name in resource else None for name in ("contentType", "data"))
        made = self._content("Binary")({"contentType": kind, "data": data}) if data is not None else None
        return made or {"contentType": "text/plain; charset=utf-8"}

    def admits(self, url: Any) -> bool:
        """Return whether the policy admits an extension."""
        return (
            type(url) is str
            and _URL.fullmatch(url) is not None
            and (url in self._exact or url.startswith(self._prefixes or ("\0",)))
        )

    def extension(self, known: Raw, walk: Callable[[], Callable[[dict[str, msgspec.Raw]], Any]]) -> Raw:
        """One extension: those that the policy admits by their type, the others as `known` has it.

        Args:
            known: The action on what every policy knows.
            walk: Gives the walk over the elements of an extension.
        """

        def one(raw: bytes) -> Any:
            if self._exact or self._prefixes or ABSENT.encode() in raw:
                parts = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
                url = parse(parts["url"]) if "url" in parts else None
                if url == ABSENT:
                    reason = parse(parts.get("valueCode", b"null"))
                    return {"url": ABSENT, "valueCode": reason} if reason in _REASONS else None
                if self.admits(url):
                    clean = walk()(parts)
                    return {"url": url, **clean} if clean else None
            return known(raw)

        return one
