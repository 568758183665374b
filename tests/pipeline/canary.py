"""An export in which every field that can hold PHI holds a token that occurs nowhere else, and the hunt for it.

The export is grown from the policy's own element tree, so an element that is added to the policy is tested at once.
Every invented word contains `zqx`. Every date lies on a day that no moved date can fall on: its ordinal is a multiple
of four, and the offsets of the patients are not.
"""

from __future__ import annotations

import base64
import json
import re
import urllib.parse
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pyarrow.parquet as pq

from mayo_data import assets
from mayo_data.keys import Secret
from mayo_data.phi.elements import CHOICES, EXPORTED

Json = dict[str, Any]
LOINC, UCUM, RXNORM = "http://loinc.org", "http://unitsofmeasure.org", "http://www.nlm.nih.gov/research/umls/rxnorm"
VARIANTS = len(CHOICES)  # resources of each type: one for every choice of value[x]
_CONSONANTS = "bdfgklmnprst"
_VOWELS = "aeiou"
_IN_BYTES = re.compile(rb"(?i)zqx[a-z]{5}")  # three letters alone turn up in any compressed file
_DATES = [
    (re.compile(r"\d{4}-\d\d-\d\d"), "%Y-%m-%d"),
    (re.compile(r"\d\d/\d\d/\d{4}"), "%m/%d/%Y"),
    (re.compile(r"[A-Z][a-z]{2,8} \d{1,2}, \d{4}"), "%B %d, %Y"),
    (re.compile(r"\d\d-[A-Z][a-z]{2}-\d{4}"), "%d-%b-%Y"),
]
_STRUCTURED = frozenset(["id", "resourceType", "contained", "meta"])


class Canary:
    """Makes tokens, remembers them, and builds the export."""

    def __init__(self, key: bytes, variants: int = VARIANTS) -> None:
        self._variants = variants
        self.tokens: set[str] = set()
        self.days: set[date] = set()
        self._count = 0
        self._day = date(1928, 1, 1)
        self._secret = Secret(key)
        self.people = [self._person(0)]
        self._day = date(1950, 1, 1)
        self.people.append(self._person(1))
        self.staff = [self.word(), self.word()]
        self.hospital = f"{self.word()} Hospital"
        self.elements = assets.toml("schemas", "phi", "elements.toml")

    # ── tokens ────────────────────────────────────────────────────────────────────────────────────

    def word(self) -> str:
        """An invented name, unlike any other."""
        self._count += 1
        rest, letters = self._count + 4000, ""
        while rest:
            rest, a = divmod(rest, len(_CONSONANTS))
            rest, b = divmod(rest, len(_VOWELS))
            letters += _CONSONANTS[a] + _VOWELS[b]
        return self._kept("Zqx" + letters)

    def digits(self, size: int = 9) -> str:
        """A number, unlike any other; at least nine digits, so that it occurs nowhere by chance."""
        self._count += 1
        return self._kept(str(7 * 10 ** (size - 1) + (self._count * 48_611_387) % 10 ** (size - 1)))

    def day(self) -> date:
        """A day on which no moved date falls, and no year alone."""
        self._day += timedelta(days=1)
        while self._day.toordinal() % 4 or (self._day.month, self._day.day) == (1, 1):
            self._day += timedelta(days=1)
        self.days.add(self._day)
        return self._day

    def moment(self) -> str:
        return f"{self.day().isoformat()}T12:00:00Z"

    def _kept(self, token: str) -> str:
        self.tokens.add(token)
        return token

    def _person(self, number: int) -> Json:
        ident = next(
            ident
            for tried in range(99)
            if self._secret.offset_days(self._secret.subject_id(f"Patient/{(ident := f'zqxpatient{number}n{tried}')}"))
            % 4
        )
        self._kept(ident)
        phone = self.digits(10)
        ssn = self.digits(9)
        return {
            "id": ident,
            "given": self.word(), "family": self.word(), "maiden": self.word(), "relative": self.word(),
            "mrn": self.digits(), "account": self.digits(),
            "phone": self._kept(f"{phone[:3]}-{phone[3:6]}-{phone[6:]}"),
            "ssn": self._kept(f"{ssn[:3]}-{ssn[3:5]}-{ssn[5:]}"),
            "email": self._kept(f"{self.word().lower()}@{self.word().lower()}.example.org"),
            "street": f"4711 {self.word()} Street", "city": self.word(), "county": self.word(),
            "birth": self.day(),
            "zip": "02139",
        }  # fmt: skip

    # ── text ──────────────────────────────────────────────────────────────────────────────────────

    def sentence(self, one: Json) -> str:
        """Words that only the record of this subject tells for names."""
        return f"{one['given']} {one['family']} came with {one['relative'].upper()}, ph {one['phone']}"

    def letter(self, one: Json) -> str:
        """A note that says all of it, in many forms."""
        seen = self.day()
        given, family = one["given"], one["family"]
        return (
            f"{family.upper()}, {given.upper()}  MRN: {one['mrn']}  SSN {one['ssn']}  DOB: {one['birth']:%m/%d/%Y}\n"
            f"{given} {family}'s mother {one['relative']} {one['maiden']} called from {one['phone']} on {seen:%m/%d/%Y}.\n"
            f"{family} lives at {one['street']}, {one['city']}; mail {one['email']}. Account {one['account']}.\n"
            f"Seen {seen:%B} {seen.day}, {seen.year} ({seen:%d-%b-%Y}, {seen.isoformat()}) by Dr. {self.staff[0]} "
            f"{self.staff[1]} at {self.hospital}. Mr. {family} denies pain. g.{family.lower()} signed {given[0]}. {family}.\n"
        )

    def attachment(self, one: Json, variant: int) -> Json:
        text = self.letter(one)
        family = one["family"]
        kinds: list[tuple[str, bytes]] = [
            ("text/plain", text.encode()),
            ("text/plain; charset=utf-16", text.encode("utf-16")),
            (
                "text/html",
                f"<html><!-- {text} --><p title='{text}'>{family[:4]}<b>{family[4:]}</b> {text}</p></html>".encode(),
            ),
            ("text/rtf", (r"{\rtf1{\info{\author " + family + r"}}\b " + text.replace("\n", r"\par ") + "}").encode()),
            ("application/pdf", b"%PDF " + text.encode()),
            ("image/png", text.encode()),
        ]
        kind, raw = kinds[variant % len(kinds)]
        return {
            "contentType": kind, "data": base64.b64encode(raw).decode(), "title": self.word(),
            "url": f"https://{self.word()}.org/{self.word()}", "creation": self.moment(), self.word(): self.word(),
        }  # fmt: skip

    # ── resources ─────────────────────────────────────────────────────────────────────────────────

    def resource(self, kind: str, one: Json, variant: int) -> Json:
        """One resource with something in every element that the policy names, and in many that it does not."""
        body = self._tree(self.elements[kind], one, variant)
        body |= {
            "resourceType": kind,
            "id": one["id"] if kind == "Patient" else self._ident(kind, one, variant),
            "language": self.word(),
            "text": {"status": "generated", "div": f"<div>{self.word()} {self.letter(one)}</div>"},
            "contained": [{"resourceType": "Patient", "id": self.word(), "name": [{"family": self.word()}]}, self.word()],
            "meta": {
                "lastUpdated": self.moment(), "source": f"urn:{self.word()}", "profile": [f"https://{self.word()}.org"],
                "tag": [{"system": self.word(), "code": self.word(), "display": self.word()}],
                "security": [{"code": self.word()}],
            },
            "_birthDate": {"extension": [{"url": self.word(), "valueString": self.word()}]},
            self.word(): {self.word(): [self.word()]},
        }  # fmt: skip
        body.setdefault("extension", [{"url": f"https://{self.word()}.org", "valueString": self.word()}])
        if kind == "Patient":
            body |= self._names(one)
        return body

    def _ident(self, kind: str, one: Json, variant: int) -> str:
        return self._kept(f"zqx-{kind.lower()}-{one['id'][3:]}-{variant}")

    def _names(self, one: Json) -> Json:
        return {
            "identifier": [
                {"type": {"coding": [{"code": "MR"}]}, "system": f"urn:{self.word()}", "value": one["mrn"]},
                {"system": "http://hl7.org/fhir/sid/us-ssn", "value": one["ssn"]},
                {"system": "urn:account", "value": int(one["account"])},  # ill-typed, and known all the same
            ],
            "name": [{"family": one["family"], "given": [one["given"]]}, {"use": "maiden", "family": one["maiden"]}],
            "telecom": [{"system": "phone", "value": one["phone"]}, {"system": "email", "value": one["email"]}],
            "address": [
                {"line": [one["street"]], "city": one["city"], "district": one["county"], "state": "MA", "country": "US",
                 "postalCode": one["zip"]}
            ],
            "contact": [{"name": {"given": [one["relative"]], "family": one["family"]}, "telecom": [{"value": self.digits()}]}],
            "birthDate": one["birth"].isoformat(),
            "gender": "female",
            "maritalStatus": {"text": self.sentence(one)},
        }  # fmt: skip

    def _tree(self, spec: Json, one: Json, variant: int) -> Json:
        body: Json = {}
        for name, action in spec.items():
            if name in _STRUCTURED:
                continue
            if name.endswith("[x]"):
                choices = list(CHOICES)
                suffix = choices[variant % len(choices)]
                body[name[:-3] + suffix] = self._value(CHOICES[suffix], one, variant)
            elif isinstance(action, dict):
                body[name] = [{**self._tree(action, one, variant), self.word(): self.word()}]
            else:
                body[name] = self._value(action, one, variant)
        return body

    def _value(self, action: str, one: Json, variant: int) -> Any:
        if action.partition(" ")[0] in {"drop", *EXPORTED}:
            kinds: list[Any] = [
                {
                    "reference": f"Practitioner/{self.word()}",
                    "display": self.word(),
                    "identifier": {"value": self.digits()},
                },
                [{"value": self.digits(), "system": self.word(), "assigner": {"display": self.word()}}],
                self.word(),
            ]
            return kinds[variant % len(kinds)]
        made = {
            "code": "active",
            "country": "US",
            "number": 3,
            "boolean": True,
            "time": "10:30:00",
            "state": "MA",
            "zip3": one["zip"],
            "samples": "1 2 3 E",
        }
        if action in made:
            return made[action]
        if action in ("text", "label"):
            return self.sentence(one)
        if action in ("date", "birth_date"):
            return self.moment() if variant % 2 else self.day().isoformat()
        if action in self.elements["datatypes"]:
            return self._tree(self.elements["datatypes"][action], one, variant)
        return getattr(self, f"_{action}")(one, variant)

    def _canonical(self, one: Json, variant: int) -> str:
        return f"http://hl7.org/fhir/{one['family']}" if variant % 2 else f"https://{self.word()}.org/{self.word()}"

    def _concept(self, one: Json, variant: int) -> Json:
        return {"coding": [self._coding(one, variant), self._coding(one, variant + 1)], "text": self.sentence(one)}

    def _coding(self, one: Json, variant: int) -> Json:
        if variant % 2:  # a code of the site: can hold anything
            return {"system": f"urn:{self.word()}", "version": self.word(), "code": self.word(), "display": self.word()}
        return {"system": LOINC, "code": "2160-0", "display": self.sentence(one), "version": self.word()}

    def _quantity(self, one: Json, variant: int) -> Json:
        shown = one["family"] if variant % 2 else self.sentence(one)
        return {
            "value": 5,
            "unit": shown,
            "system": UCUM,
            "code": "mg{" + one["family"] + "}",
            self.word(): self.word(),
        }

    def _age(self, one: Json, variant: int) -> Json:
        return {"value": 97, "unit": "years", "system": UCUM, "code": "a", "comparator": self.word()}

    def _attachment(self, one: Json, variant: int) -> Json:
        return self.attachment(one, variant)

    def _subject(self, one: Json, variant: int) -> Json:
        forms = [
            {"reference": f"Patient/{one['id']}"},
            {"reference": f"https://{self.word()}.org/fhir/Patient/{one['id']}/_history/1"},
            {"identifier": {"system": "http://hl7.org/fhir/sid/us-ssn", "value": one["ssn"]}},
        ]
        return {**forms[variant % len(forms)], "display": f"{one['given']} {self.word()}"}

    def _encounter(self, one: Json, variant: int) -> Json:
        return {"reference": f"Encounter/{self._ident('encounter', one, variant)}", "display": self.word()}

    def _medication(self, one: Json, variant: int) -> Json:
        if variant % 2:
            return {"reference": "Medication/zqxmed", "display": self.word()}
        return {"reference": f"Medication/{self.word()}", "display": self.sentence(one)}

    def _extensions(self, one: Json, variant: int) -> list[Json]:
        race = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race"
        return [
            {"url": race, "extension": [
                {"url": "ombCategory", "valueCoding": {"system": "urn:oid:2.16.840.1.113883.6.238", "code": "2106-3"}},
                {"url": "text", "valueString": self.sentence(one)},
                {"url": self.word(), "valueString": self.word()},
            ]},
            {"url": f"https://{self.word()}.org", "valueString": self.word()},
            {"url": "http://hl7.org/fhir/StructureDefinition/patient-mothersMaidenName", "valueString": one["maiden"]},
        ]  # fmt: skip

    def _items(self, one: Json, variant: int) -> list[Json]:
        answers = [
            {
                name: self._value(action, one, variant)
                for name, action in (("valueString", "text"), ("valueCoding", "coding"))
            },
            {
                "valueDate": self.day().isoformat(),
                "item": [{"linkId": one["family"], "answer": [{"valueString": self.letter(one)}]}],
            },
            {"valueUri": f"https://{self.word()}.org"},
            {"valueReference": {"reference": self.word(), "display": self.word()}},
            {"valueAttachment": self.attachment(one, variant)},
        ]
        nested = {
            "linkId": "2",
            "text": self.sentence(one),
            "item": [{"linkId": "3", "answer": answers[:1]}],
            self.word(): 1,
        }
        return [{"linkId": "1", "definition": self.word(), "text": self.sentence(one), "answer": answers}, nested]

    # ── the export ────────────────────────────────────────────────────────────────────────────────

    def write(self, folder: Path) -> Path:
        """Write all of it; the names of files and folders are tokens too."""
        folder = folder / f"{self.people[0]['given']}_{self.people[0]['family']}"
        folder.mkdir(parents=True)
        rows: dict[str, list[Json]] = {}
        for kind in self.elements:
            if kind != "datatypes":
                counts = (1, 1) if kind == "Patient" else (self._variants, 2)
                rows[kind] = [
                    self.resource(kind, one, variant)
                    for one, count in zip(self.people, counts, strict=True)
                    for variant in range(count)
                ]
        for kind, found in rows.items():
            name = f"{self.word()}.{kind}.ndjson"
            (folder / name).write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in found))
        (folder / "site.ndjson").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in self._directory()))
        (folder / f"{self.people[1]['family']}.ndjson").write_bytes(b"\n".join(self._broken()) + b"\n")
        bundle = {"resourceType": "Bundle", "id": self.word(), "identifier": {"value": self.digits()}, "entry": [
            {"fullUrl": f"https://{self.word()}.org", "resource": self.resource("Observation", self.people[0], VARIANTS)},
            {"fullUrl": self.word(), "request": {"url": self.word()}},
        ]}  # fmt: skip
        (folder / f"{self.word()}.json").write_bytes(orjson.dumps(bundle))
        return folder

    def _directory(self) -> Iterator[Json]:
        yield {
            "resourceType": "Practitioner", "id": self.word(), "name": [{"given": [self.staff[0]], "family": self.staff[1]}],
            "identifier": [{"system": "http://hl7.org/fhir/sid/us-npi", "value": self.digits()}],
        }  # fmt: skip
        yield {"resourceType": "Organization", "id": self.word(), "name": self.hospital}
        yield {"resourceType": "Location", "id": self.word(), "name": self.word(), "address": {"line": [self.word()]}}
        yield {
            "resourceType": "Medication",
            "id": "zqxmed",
            "code": {"coding": [{"system": RXNORM, "code": "1049502"}]},
        }
        yield {"resourceType": "Binary", "id": self.word(), "contentType": "text/plain", "data": self.word()}
        yield {"resourceType": "Zqxresource", "id": self.word(), "text": self.word()}
        for one in self.people:
            patient = {"reference": f"Patient/{one['id']}"}
            yield {
                "resourceType": "RelatedPerson", "id": self.word(), "patient": patient, "name": [{"given": [one["relative"]]}]
            }  # fmt: skip
            yield {
                "resourceType": "Appointment",
                "id": self.word(),
                "participant": [{"actor": patient}],
                "comment": self.word(),
            }

    def _broken(self) -> Iterator[bytes]:
        """Rows that go to the quarantine, each for another reason, and rows whose codes hold names."""
        one = self.people[0]
        plain: Json = {
            "resourceType": "Observation", "status": "final", "code": {"text": "plain"},
            "subject": {"reference": f"Patient/{one['id']}"}, "effectiveDateTime": self.moment(),
        }  # fmt: skip

        def row(**more: Any) -> bytes:
            body = {**plain, "id": self.word(), "note": [{"text": self.word()}], **more}
            return orjson.dumps({name: value for name, value in body.items() if value is not None})

        yield row()[:-9]
        yield row().replace(b"Zqx", b"Zqx\xff")
        yield orjson.dumps([self.word()])
        yield orjson.dumps(self.word())
        yield row(resourceType=None)
        yield row(resourceType=self.word())
        yield row(id=None)
        yield row(subject=None)
        yield row(subject={"reference": f"Patient/{self.word()}"})
        yield row(subject={"display": self.word()})
        yield row(code=self.word())
        yield row(effectiveDateTime=self.word())
        yield row(effectiveDateTime=f"{self.day():%m/%d/%Y}")
        yield row(valueString={"a": self.word()})
        yield row(valueQuantity=[self.word()])
        yield row(modifierExtension=[{"url": self.word(), "valueString": self.word()}])
        yield row(component=[{"modifierExtension": [{"url": self.word()}], "code": {"text": self.word()}}])
        # These live: what is no code, or names the subject, is dropped; what is left is an event.
        for said in (one["family"], one["family"].lower(), f"{one['given']} {one['family']}", one["mrn"], one["phone"]):
            yield row(status=said, note=None)
            yield row(interpretation=[{"coding": [{"system": "urn:local", "code": said}]}], note=None)
            prefix, name = "http://terminology.hl7.org/CodeSystem", said.replace(" ", "-")
            codings = [
                {"system": LOINC, "code": "2160-0"}, {"system": f"{prefix}/site", "code": name},
                {"system": f"{prefix}/{name}", "code": "x"}, {"system": "urn:oid:2.16.840.1.113883.6.238", "code": name},
            ]  # fmt: skip
            for first in range(3):
                if any(map(str.isalpha, name)):  # a number under a public prefix cannot be told from a code
                    yield row(code={"coding": codings[first:]}, note=None)
                    yield row(valueCodeableConcept={"coding": codings[first:]}, note=None)


# ── the hunt ──────────────────────────────────────────────────────────────────────────────────────


def _in_pseudonym(text: str, start: int, piece: str) -> bool:
    """Whether a piece stands inside a number that is too long for a token: any digits turn up in enough of those."""
    before, after = re.search(r"\d*$", text[max(0, start - 20) : start]), re.match(r"\d*", text[start : start + 20])
    return piece.isdigit() and before is not None and after is not None and len(before[0]) + len(after[0]) > 15


class Hunt:
    """Looks for tokens in whatever form: plain, in base64, percent-encoded, as dates."""

    def __init__(self, canary: Canary) -> None:
        # A piece of each token is enough to see it: nine characters of what is not a word, eight of base64.
        self._pieces: set[str] = set()
        for token in canary.tokens:
            quoted = urllib.parse.quote(token).lower()
            self._pieces |= {form[:9] for form in (token.lower(), quoted) if "zqx" not in form and len(form) >= 9}
        self._coded: set[str] = set()
        for token in canary.tokens:
            for spelled in (token, token.lower(), token.upper()):
                for pad in range(3):
                    coded = base64.b64encode(b"\0" * pad + spelled.encode())[4 if pad else 0 : -4].decode()
                    if len(coded) >= 8:
                        self._coded.add(coded[:8])
        self._days = canary.days
        self._seen: set[str] = set()

    def text(self, text: str) -> list[str]:
        """What of it is found in a text; a text that was looked at before is not looked at again."""
        if text in self._seen:
            return []
        self._seen.add(text)
        low = text.lower()
        at = low.find("zqx")
        found = [f"word: {low[max(0, at - 20) : at + 40]}"] if at >= 0 else []
        pieces, coded = self._pieces, self._coded
        for start in range(len(text) - 7):
            piece = low[start : start + 9]
            if text[start : start + 8] in coded or (piece in pieces and not _in_pseudonym(low, start, piece)):
                found.append(f"token: {low[start : start + 12]}")
        for pattern, form in _DATES:
            found += [f"date: {date}" for date in pattern.findall(text) if self._is_token(date, form)]
        return found

    def _is_token(self, text: str, form: str) -> bool:
        try:
            return datetime.strptime(text, form).date() in self._days
        except ValueError:
            return False

    def value(self, value: Any) -> list[str]:
        """What of it is found in a decoded value of any type, nested ones too."""
        if isinstance(value, dict):
            return [hit for name, inner in value.items() for hit in (*self.text(str(name)), *self.value(inner))]
        if isinstance(value, list | tuple):
            return [hit for inner in value for hit in self.value(inner)]
        if isinstance(value, datetime | date):
            day = value.date() if isinstance(value, datetime) else value
            return [f"date {day}"] if day in self._days else []
        if isinstance(value, bytes):
            return self.text(value.decode("latin-1"))
        return self.text(value) if isinstance(value, str) else self.text(str(value)) if isinstance(value, int) else []

    def store(self, root: Path) -> list[str]:
        """What of it is found anywhere in a store: names, bytes, columns, metadata, catalog, ledger."""
        hits: list[str] = []
        for path in sorted(root.rglob("*")):
            name = path.relative_to(root).as_posix()
            found = self.text(name)
            if path.is_file():
                raw = path.read_bytes()
                found += self.text(raw.decode("latin-1")) if "json" in path.suffix else self._bytes(raw)
                if path.suffix == ".parquet":
                    found += self._parquet(path)
                elif path.suffix == ".duckdb":
                    found += self._duckdb(path)
                elif path.suffix in (".json", ".jsonl"):
                    found += [
                        hit
                        for line in (raw.splitlines() if path.suffix == ".jsonl" else [raw])
                        for hit in self.value(json.loads(line))
                    ]
            hits += [f"{name}: {hit}" for hit in found]
        return hits

    def _bytes(self, raw: bytes) -> list[str]:
        return [match.group().decode() for match in _IN_BYTES.finditer(raw)]

    def _parquet(self, path: Path) -> list[str]:
        file = pq.ParquetFile(path)
        found = self.value({key.decode("latin-1"): value for key, value in (file.metadata.metadata or {}).items()})
        for field in file.schema_arrow:
            found += self.value({field.name: dict(field.metadata or {})} if not field.metadata else
                                {field.name: [part for pair in field.metadata.items() for part in pair]})  # fmt: skip
        for column in file.read().columns:
            found += [hit for value in set(map(_hashable, column.to_pylist())) for hit in self.value(value)]
        return found

    def _duckdb(self, path: Path) -> list[str]:
        found: list[str] = []
        with duckdb.connect(str(path), read_only=True) as db:
            db.execute("SET file_search_path = ?", [str(path.parent)])
            for table in ("duckdb_tables()", "duckdb_views()", "duckdb_columns()", "duckdb_functions()"):
                where = "" if table != "duckdb_functions()" else " where not internal"
                found += self.value(db.execute(f"select * from {table}{where}").fetchall())
            for schema, name in db.execute("select table_schema, table_name from information_schema.tables").fetchall():
                rows = db.execute(f'select * from "{schema}"."{name}"').fetchall()
                found += [
                    hit for value in {_hashable(value) for row in rows for value in row} for hit in self.value(value)
                ]
        return found


def _hashable(value: Any) -> Any:
    return (
        tuple(map(_hashable, value))
        if isinstance(value, list)
        else tuple(map(_hashable, value.items()))
        if isinstance(value, dict)
        else value
    )
