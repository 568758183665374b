"""Pseudonyms of what names a resource or a person: references and identifiers, the same wherever they stand.

`Practitioner/7` becomes the same keyed reference in every resource, and the Practitioner's own id becomes the id that
it names. The `system` of an identifier changes too, so that a pseudonym cannot be mistaken for a real number.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from mayo_data import assets
from mayo_data.keys import Secret
from mayo_data.phi.code_systems import CodeSystems
from mayo_data.phi.elements import required_codes
from mayo_data.phi.identifiers import reference_key
from mayo_data.phi.vault import Vault
from mayo_data.types import Json

PSEUDONYM = "urn:mayo-data:pseudonym"
FOREIGN = ".invalid"  # RFC 2606: a host that cannot exist

_MOST = 100_000  # entries of a cache before it starts afresh
_ABSOLUTE = re.compile(r"(https?://.+?)/([A-Z][A-Za-z]+)/([A-Za-z0-9\-.]{1,64})(?:/_history/.*)?")
_TYPE = re.compile(r"[A-Z]{1,6}")  # HL7 v2 table 0203
_BINARY = re.compile(r"(?:.*/)?Binary/([A-Za-z0-9\-.]{1,64})(?:/_history/.*)?")


class Pseudonyms:
    """Keyed names for resources, persons and numbers.

    Args:
        secret: Key of the pseudonyms.
        vault: Who is who: patients, and other names for them.
        systems: Public code systems, for the type of an identifier.
        bases: Base URLs of the site's own servers; where any is given, all others are foreign.

    >>> from mayo_data.phi.code_systems import CodeSystems
    >>> made = Pseudonyms(Secret(bytes(32)), None, CodeSystems(()), ("https://ehr.example.org/fhir",))
    >>> own = made.reference({"reference": "Practitioner/7", "display": "Dr. Jane Doe"})
    >>> own == made.reference({"reference": "https://ehr.example.org/fhir/Practitioner/7"})
    True
    >>> made.reference({"reference": "https://other.example.org/Practitioner/7"})["reference"].partition("//")[2][16:24]
    '.invalid'
    """

    def __init__(self, secret: Secret, vault: Vault | None, systems: CodeSystems, bases: tuple[str, ...] = ()) -> None:
        self.counts: Counter[str] = Counter()
        self._secret = secret
        self._vault = vault
        self._systems = systems
        self._bases = tuple(base.rstrip("/") for base in bases)
        self._types = frozenset(assets.toml("schemas", "fhir", "resource_types.toml")["types"])
        self._names: dict[str, str | None] = {}
        self._systems_made: dict[str, str] = {}

    def resource(self, kind: str, ident: str) -> int:
        """Return the keyed 63-bit pseudonym of a resource."""
        return self._secret.integer("resource", f"{kind}/{ident}")

    def subject(self, key: str) -> int:
        """Return the `subject_id` behind any name of a patient: `Patient/1`, another of theirs, an identifier."""
        person = self._vault.person(key) if self._vault is not None else None
        return self._secret.subject_id(person.ref if person is not None else key)

    def local(self, ident: str) -> str:
        """Return the id of a contained resource."""
        return f"{self._secret.integer('contained', ident):016x}"

    def reference(self, value: Any, hint: str = "") -> Json | None:
        """Return a Reference under pseudonyms: no display, no real id, no host; None where nothing is left.

        Args:
            value: A FHIR Reference.
            hint: Type that it refers to, where it does not say itself.
        """
        if type(value) is not dict:
            return None
        clean: Json = {}
        said = value.get("type")
        if type(said) is str and said in self._types:
            clean["type"] = hint = said
        text = value.get("reference")
        if type(text) is str and text.startswith("#"):
            clean["reference"] = "#" + self.local(text[1:]) if len(text) > 1 else "#"
        else:
            key = f"{hint}\n{text}" if type(text) is str else f"{hint}\n{reference_key(value, hint)}"
            if key not in self._names:
                if len(self._names) >= _MOST:
                    self._names.clear()
                self._names[key] = self._named(value, hint)
            if (named := self._names[key]) is not None:
                clean["reference"] = named
            elif text is not None:
                self.counts["references/unresolved"] += 1
        identifier = value.get("identifier")
        if type(identifier) is dict and (kept := self.identifier(identifier)) is not None:
            clean["identifier"] = kept
        return clean if "reference" in clean or "identifier" in clean else None

    def identifier(self, value: Any) -> Json | None:
        """Return an Identifier whose value and system are keyed; None where it has no value.

        Args:
            value: A FHIR Identifier.
        """
        if type(value) is not dict or type(value.get("value")) is not str:
            return None
        system = value.get("system")
        system = system if type(system) is str else ""
        number = value["value"]
        clean: Json = {
            "system": self._foreign(system),
            "value": f"{self._secret.integer('identifier', f'{system}|{number}'):016x}",
        }
        use = (required_codes("Identifier", "use") or {}).get(str(value.get("use")))
        if use is not None:
            clean["use"] = use
        codings = self._public(value.get("type"))
        if codings:
            clean["type"] = {"coding": codings}
        return clean

    def _foreign(self, system: str) -> str:
        """Return the keyed system of an identifier; a site has few of them."""
        made = self._systems_made.get(system)
        if made is None:
            if len(self._systems_made) >= _MOST:
                self._systems_made.clear()
            made = f"{PSEUDONYM}:{self._secret.integer('identifier-system', system):016x}"
            self._systems_made[system] = made
        return made

    def url(self, value: Any) -> str | None:
        """Return the URL of an Attachment where it names a Binary of the export, under its pseudonym."""
        found = _BINARY.fullmatch(value) if type(value) is str else None
        return f"Binary/{self.resource('Binary', found[1]):016x}" if found else None

    def _named(self, value: Json, hint: str) -> str | None:
        text = value.get("reference")
        if type(text) is str and self._bases and (found := _ABSOLUTE.fullmatch(text)):
            base, kind, ident = found.groups()
            if base not in self._bases:
                if kind not in self._types:
                    return None
                host, there = self._secret.integer("base", base), f"{base}/{kind}/{ident}"
                return f"http://{host:016x}{FOREIGN}/{kind}/{self._secret.integer('resource', there):016x}"
        kind, key = self._key(value, hint)
        if kind is None or kind not in self._types:
            return None
        if kind == "Patient":
            return f"Patient/{self.subject(key)}"
        return f"{kind}/{self._secret.integer('resource', key):016x}"

    def _key(self, value: Json, hint: str) -> tuple[str | None, str]:
        """Type and key of what a reference names; other names of a resource lead to its id."""
        key = reference_key(value, hint or "?")
        if key is None:
            return None, ""
        if key.startswith("identifier:"):
            text = value.get("reference")
            kind = text.split("?", 1)[0].rpartition("/")[2] if type(text) is str and "?" in text else hint
            if kind == "Patient":
                return kind, key
            known = self._vault.resource(f"{kind}:{key}") if self._vault is not None else None
            return (kind, known) if known is not None else (kind or None, f"{kind}:{key}")
        return key.split("/", 1)[0], key

    def _public(self, value: Any) -> list[Json]:
        codings = value.get("coding") if type(value) is dict else None
        return [
            {"system": one["system"], "code": one["code"]}
            for one in (codings if type(codings) is list else [])
            if type(one) is dict
            and type(one.get("code")) is str
            and _TYPE.fullmatch(one["code"])
            and self._systems.admits(one.get("system"), one["code"])
        ]
