"""Reads the configuration of Microsoft's FHIR anonymizer, and writes it down as a policy of this library.

Source: Microsoft, Tools for Health Data Anonymization, FHIR anonymization, configuration file format.
"""

from __future__ import annotations

import json
from typing import Any

from mayo_data.errors import ConfigError
from mayo_data.phi import rules
from mayo_data.types import Json

_METHODS = {name.lower(): name for name in rules.METHODS}
_DATED = tuple(f"nodesByType('{name}')" for name in ("date", "dateTime", "instant"))
_SAME = {"replace_with": "replaceWith", "span": "span", "round_to": "roundTo", "other_values": "otherValues"}
_RESTRICTED = ("036", "059", "102", "203", "205", "369", "556", "692", "821", "823", "878", "879", "884", "893")


def translated(text: str, base: str = "expert_determination") -> tuple[str, list[str]]:
    """Return a configuration as the text of a policy, and what could not be taken over as it is.

    Args:
        text: The JSON file.
        base: Preset that the policy extends: its allow-list stays in force.

    Raises:
        ConfigError: It is no configuration, or a rule makes no sense.

    >>> print(translated('{"fhirPathRules": [{"path": "Patient.name", "method": "redact"}]}')[0].splitlines()[-1])
    method = "redact"
    """
    found, shift = read(text)
    notes = []
    methods = {rule["path"]: rule["method"] for rule in found}
    encrypted = sum(rule.pop("encrypted", False) for rule in found)
    if encrypted:
        notes.append(f"{encrypted} encrypt rules redact: what can be decrypted is not de-identified")
    if "keep" in methods.values():
        notes.append("keep holds within the allow-list of the policy that this one extends, never beyond it")
    if "cryptoHash" in methods.values():
        notes.append("cryptoHash: ids, references and identifiers get the keyed pseudonyms of the site's key")
    lines = [f'extends = "{base}"', 'name = "imported"', 'source = "Microsoft FHIR anonymizer configuration"', ""]
    dated = {methods.get(path) for path in _DATED}
    if "dateShift" in dated:
        lines += ["[dates]", 'method = "shift"', f"max_days = {shift}", ""]
        notes.append("dateShift: one offset a subject, not one a file or resource, so that intervals stay exact")
    elif dated == {"redact"}:
        lines += ["[dates]", 'method = "year"', ""]
        notes.append("dates are redacted to the year, as the policy does it everywhere")
    for rule in found:
        if rule["method"] == "redact" and rule["path"] in _DATED:
            continue  # the policy's own date rule
        lines += ["[[rules]]", *(f"{name} = {_toml(value)}" for name, value in rule.items()), ""]
    return "\n".join([*(f"# {note}" for note in notes), *lines]).rstrip("\n") + "\n", notes


def read(text: str) -> tuple[list[Json], int]:
    """Return the rules of a configuration in the form of this library, and its largest date shift in days.

    Args:
        text: The JSON file.

    Raises:
        ConfigError: It is no configuration, or a rule makes no sense.
    """
    try:
        body = json.loads(text.lstrip("\ufeff"))
    except ValueError as error:
        raise ConfigError("the configuration is not JSON") from error
    listed = body.get("fhirPathRules") if isinstance(body, dict) else None
    if not isinstance(listed, list) or not listed:
        raise ConfigError("the configuration has no fhirPathRules")
    given = body.get("parameters") or {}
    if not isinstance(given, dict) or not all(isinstance(rule, dict) for rule in listed):
        raise ConfigError("the configuration has the wrong shape")
    if len(key := given.get("encryptKey") or "") not in (0, 16, 24, 32):
        raise ConfigError(f"encryptKey is no AES key: {len(key)} bytes", hint="16, 24 or 32 bytes")
    found = [_rule(rule, given, number) for number, rule in enumerate(listed, 1)]
    rules.check([{name: value for name, value in rule.items() if name != "encrypted"} for rule in found])
    return found, abs(int(given.get("dateShiftFixedOffsetInDays") or 50)) or 50


def _rule(rule: Json, given: Json, number: int) -> Json:
    said = str(rule.get("method", "")).lower()
    method = "redact" if said == "encrypt" else _METHODS.get(said)
    if method is None or not isinstance(rule.get("path"), str):
        known = ", ".join(_METHODS.values())
        raise ConfigError(f"fhirPathRules[{number}] has no path, or a method that is not known", hint=known)
    made: Json = {"path": rule["path"], "method": method}
    if said == "encrypt":
        made["encrypted"] = True
    elif method == "redact":
        for ours, theirs in (("dates", "Dates"), ("ages", "Ages"), ("zips", "ZipCodes")):
            if given.get(f"enablePartial{theirs}ForRedact"):
                made[f"partial_{ours}"] = True
        if made.get("partial_zips"):
            made["restricted_zips"] = list(given.get("restrictedZipCodeTabulationAreas") or _RESTRICTED)
    for ours, theirs in _SAME.items():
        if rule.get(theirs) is not None:
            made[ours] = rule[theirs]
    if "rangeType" in rule:
        made["range_type"] = str(rule["rangeType"]).lower()
    if "cases" in rule:
        cases = rule["cases"] if isinstance(rule["cases"], dict) else {}
        made["cases"] = [[when, str(then)] for when, then in cases.items()]
    return made


def _toml(value: Any) -> str:
    if isinstance(value, bool | str | int | float):
        return json.dumps(value, ensure_ascii=True).replace("\x7f", "\\u007f")
    if isinstance(value, list):
        return f"[{', '.join(_toml(one) for one in value if one is not None)}]"
    if isinstance(value, dict):
        inner = [f"{json.dumps(name)} = {_toml(one)}" for name, one in value.items() if one is not None]
        return f"{{{', '.join(inner)}}}"
    raise ConfigError("a rule's value cannot be written down")
