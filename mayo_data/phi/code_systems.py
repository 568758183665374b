"""Which codes are public, and so cannot carry PHI."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from mayo_data import assets
from mayo_data.types import Json


class CodeSystems:
    """The code systems of `schemas/fhir/code_systems.toml`, and those that a policy admits.

    Args:
        admit: URIs of further systems; a trailing `*` admits every system that begins so.

    >>> systems = CodeSystems(("http://ehr.example.org/codes/*",))
    >>> [systems.admits("http://loinc.org", code) for code in ("2160-0", "Jane Doe")]
    [True, False]
    >>> systems.admits("http://ehr.example.org/codes/ward", "4B")
    True
    """

    def __init__(self, admit: tuple[str, ...]) -> None:
        listed = assets.toml("schemas", "fhir", "code_systems.toml")["system"]
        self._exact = {entry["uri"]: re.compile(entry["pattern"]) for entry in listed if not entry.get("prefix")}
        prefixes = [(entry["uri"], re.compile(entry["pattern"])) for entry in listed if entry.get("prefix")]
        anything = re.compile(r"(?s).+")
        for uri in admit:
            if uri.endswith("*"):
                prefixes.append((uri[:-1], anything))
            else:
                self._exact[uri] = anything
        self._short: dict[str, str] = {entry["uri"]: entry["name"] for entry in listed}
        self._prefixes = sorted(prefixes, key=lambda entry: -len(entry[0]))

    def short(self, uri: str) -> str:
        """Return the short name of a listed system, for codes: `SNOMED`."""
        return self._short[uri]

    def admits(self, system: Any, code: str) -> bool:
        """Return whether a code may stay as it is: its system is admitted and it follows the system's syntax."""
        if type(system) is not str:
            return False
        pattern = self._exact.get(system)
        if pattern is None:
            pattern = next((rule for prefix, rule in self._prefixes if system.startswith(prefix)), None)
        return pattern is not None and pattern.fullmatch(code) is not None


@cache
def closed_codes(element: str) -> dict[str, Json]:
    """Return the codes of an element whose value set FHIR fixes, by folded spelling, what counts most first.

    >>> closed_codes("verificationStatus")["refuted"]["code"]
    'refuted'
    """
    listed = assets.toml("schemas", "fhir", "closed_codes.toml").get(element)
    return {code.casefold(): {"system": listed["system"], "code": code} for code in listed["codes"]} if listed else {}


def what_it_says(value: Json, closed: dict[str, Json]) -> Json | None:
    """Return what a concept of a fixed value set says, in any of its codings or its text.

    >>> what_it_says({"text": "Refuted"}, closed_codes("verificationStatus"))["code"]
    'refuted'
    """
    codings = value.get("coding")
    spelled = {str(entry.get("code")).casefold() for entry in codings if type(entry) is dict} if codings else set()
    spelled.add(str(value.get("text")).strip().casefold())
    return next((coding for code, coding in closed.items() if code in spelled), None)
