"""Packs what an expert needs to determine, and document, that the risk is very small: 45 CFR 164.514(b)(1).

The pack is a zip whose bytes depend on the store and the version alone: parts in order of their names, no clock, one
date for all. `manifest.json` lists every part with its sha256.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path

import orjson

from mayo_data import assets
from mayo_data.lineage import anchors
from mayo_data.lineage.ledger import Ledger
from mayo_data.report.facts import known_policy
from mayo_data.report.markdown import markdown
from mayo_data.report.page import page
from mayo_data.store.layout import Store
from mayo_data.types import Json

_COUNTED = frozenset(["context", "inference", "feedback"])  # one a prediction: the report counts them
_WHEN = (1980, 1, 1, 0, 0, 0)  # a zip needs a date
_METHODS = """\
# Methods

What was done, with the sources of every measure. The figures are in `report.json`, `report.md` and `report.html`.

## De-identification

* **Structured data.** An allow-list: an element that the policy does not name is dropped and counted. The policy is in
  `policy.json`; its fingerprint covers all of it, and is in every record of the ledger that rests on it.
* **Free text.** An ensemble reads it: what the structured record says of the patient, relatives and clinicians;
  patterns with context; trained models. What one of them finds is replaced. Each decision is kept in the store with
  its place, category, recognizer and score, never with the text.
* **Pseudonyms and dates.** Keyed (HMAC); the key is not in the store. Derived codes and dates are no Safe Harbor
  (45 CFR 164.514(b)(2)); this pack is for 45 CFR 164.514(b)(1).
* **Leak audit.** Before the commit, every string of a subject's output is searched for that subject's known
  identifiers. One hit, and nothing is committed.

## Risk of being singled out

Quasi-identifiers are named in `risk.json`. A class is the set of subjects that share all of them; a missing value
counts as a value.

* k-anonymity: Sweeney 2002. l-diversity, distinct and by entropy: Machanavajjhala 2007. t-closeness, equal distance
  for categories and ordered distance for numbers: Li 2007. delta-disclosure: Brickell 2008.
* Prosecutor risk: 1 / size of the class; highest, and mean over subjects. Journalist and marketer risk, where the
  population is given: El Emam 2013, with the size of a class in the population as Benedetti and Franconi 1998
  estimate it. Population uniques: Pitman's model as Hoshino 2001 fits it.

## Leaks in free text

Where `audit` is in `report.json`: a sample of notes after the scrub, stratified by the type of note, drawn by a seed,
was read by a person. Leaks in 1,000 notes are weighted by stratum, with the interval of Fay and Feuer 1997, which for
equal weights is the exact Poisson interval of Garwood 1936; the share of notes with a leak has the exact interval of
Clopper and Pearson 1934. Both at 95 %. What a reader was not sure of is counted apart and is no leak.

## Small cells

Counts of 1 to 10 subjects are withheld in the tables of subgroups, and so is the next smallest cell wherever a total
would give one away (CMS Cell Size Suppression Policy).

## The ledger

`ledger/records.jsonl` holds the records on this snapshot and its runs, without those of single predictions.
`ledger/anchor.json` names the last record of the whole ledger: `mayo-data ledger verify STORE --anchor anchor.json`
shows later whether anything before it changed.

## What is not measured

Whether the quasi-identifiers are those that the recipients know; what can be linked through rare events that are no
quasi-identifiers here (`mayo-data risk --quasi ...,rarest_code,sequence` measures two such); and what a reader of the
notes overlooked.
"""
_SIGNATURE = """\
# Determination under 45 CFR 164.514(b)(1)

Snapshot: {snapshot}
Logical digest: {digest}
Policy: {policy} (fingerprint {fingerprint})
Head of the ledger: {head}

I have appropriate knowledge of and experience with generally accepted statistical and scientific principles and
methods for rendering information not individually identifiable. Applying them, I determine that the risk is very
small that the information could be used, alone or in combination with other reasonably available information, by an
anticipated recipient to identify an individual who is a subject of the information.

Anticipated recipients and their other data: ______________________________________________

Conditions of this determination: _________________________________________________________

Valid until: ______________________________________________________________________________

Name of the expert: _______________________________________________________________________

Qualification and experience: _____________________________________________________________

Date: ______________________   Signature: __________________________________________________

Privacy officer: ___________________________________________________________________________

Date: ______________________   Signature: __________________________________________________
"""


def pack(store: Path | str, facts: Json, *, policy: str | None = None) -> bytes:
    """Return the evidence pack as the bytes of a zip.

    Args:
        store: Folder of the store.
        facts: What `facts.gather` found of it.
        policy: The policy, as given to `gather`.
    """
    runs = set(facts["lineage"]["runs"])
    about = [
        record
        for record in Ledger(Store.open(Path(store)).ledger).records()
        if record["kind"] not in _COUNTED
        and (record["body"].get("run_id") in runs or record["body"].get("snapshot") == facts["snapshot"]["name"])
    ]
    parts = {
        "report.json": encode(facts),
        "report.md": markdown(facts).encode(),
        "report.html": page(facts).encode(),
        "methods.md": _METHODS.encode(),
        "signature.md": _signature(facts).encode(),
        "policy.json": _policy(facts, policy),
        "gates.json": encode(facts["gates"]),
        "risk.json": encode(facts["risk"]),
        "coverage.json": encode(facts["coverage"]),
        "ledger/anchor.json": encode(
            {
                "at": facts["ledger"]["last_at"],
                "digest": facts["ledger"]["head"],
                "format": anchors.FORMAT,
                "seq": facts["ledger"]["seq"],
            }
        ),
        "ledger/records.jsonl": b"".join(orjson.dumps(record, option=orjson.OPT_SORT_KEYS) + b"\n" for record in about),
        "reasons.toml": assets.path("schemas", "reasons.toml").read_bytes(),
    }
    listed = [
        {"path": name, "bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
        for name, body in sorted(parts.items())
    ]
    snapshot = facts["snapshot"]
    parts["manifest.json"] = encode(
        {
            "basis": "45 CFR 164.514(b)(1)",
            "snapshot": snapshot["name"],
            "logical_digest": snapshot["logical_digest"],
            "manifest_sha256": snapshot["manifest_sha256"],
            "parts": listed,
        }
    )
    return _zip(parts)


def encode(value: object) -> bytes:
    r"""Return a value as the bytes of JSON: indented, keys in order.

    >>> encode({"b": 1, "a": None})
    b'{\n  "a": null,\n  "b": 1\n}\n'
    """
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=True, allow_nan=False).encode() + b"\n"


def _signature(facts: Json) -> str:
    return _SIGNATURE.format(
        snapshot=facts["snapshot"]["name"],
        digest=facts["snapshot"]["logical_digest"],
        policy=facts["policy"]["name"],
        fingerprint=facts["policy"]["fingerprint"],
        head=facts["ledger"]["head"],
    )


def _policy(facts: Json, given: str | None) -> bytes:
    """Every line of the policy, where its text is at hand."""
    said = facts["policy"]
    loaded = known_policy(said, given)
    if loaded is None:
        return encode(
            {**said, "text": None, "why": "the store holds the fingerprint alone; give the file with --policy"}
        )
    text = {name: getattr(loaded, name) for name in loaded.__dataclass_fields__}
    return encode(
        {
            "name": said["name"],
            "fingerprint": said["fingerprint"],
            "legal": said["legal"],
            "text": json.loads(orjson.dumps(text)),
        }
    )


def _zip(parts: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as pack:
        for name in sorted(parts, key=lambda name: (name != "manifest.json", name)):
            info = zipfile.ZipInfo(name, _WHEN)
            info.external_attr = 0o644 << 16
            info.create_system = 3
            pack.writestr(info, parts[name])
    return made.getvalue()
