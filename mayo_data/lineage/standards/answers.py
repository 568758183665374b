"""What a store knows of itself, in sentences: what the cards, the datasheet and Croissant are filled with.

Every sentence has a source. What no record says is not here, and stays a blank.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from mayo_data.lineage.standards.account import PROJECT, Account, outcome
from mayo_data.lineage.standards.writing import line
from mayo_data.types import Json


class Known(NamedTuple):
    """A thing that is known.

    Attributes:
        text: One or more sentences.
        source: Where it is from: `manifest`, `ledger`, `schemas`, `counts`.
        part: Whether it answers a part only, and a person must add the rest.

    >>> Known("615 subjects", "manifest").part
    False
    """

    text: str
    source: str
    part: bool = False


def known(account: Account, training: Json | None = None) -> dict[str, Known]:
    """Return what is known, by name; names are those that `schemas/cards` refers to.

    Args:
        account: The store's account.
        training: Record of a training, for a card of its model.

    Returns:
        Name to what is known; a thing that is not known has no name here.
    """
    found = {**_snapshot(account), **_run(account), **_counts(account), **_later(account)}
    if training is not None:
        found |= _model(account, training)
    return found


def _snapshot(account: Account) -> dict[str, Known]:
    manifest = account.manifest
    subjects, tables = manifest["counts"]["subjects"], manifest["tables"]
    size = (
        f"{tables['events']['rows']:,} events of {subjects:,} subjects, {tables['codes']['rows']:,} distinct codes, "
        f"in {tables['events']['files']} files of events."
    )
    about = (
        f"Snapshot {account.snapshot} of a mayo_data store: de-identified patient timelines from electronic health "
        f"records, one event a row, as a MEDS 0.4 dataset. {size}"
    )
    digest = f"Logical digest {manifest['logical_digest']}; sha256 of the manifest {account.manifest_sha256}."
    return {
        "description": Known(about, "manifest"),
        "size": Known(size, "manifest"),
        "identity": Known(f"Snapshot {account.snapshot}. {digest}", "manifest"),
        "created": Known(f"{manifest['created_at']}, by mayo_data {manifest['code_version']}.", "manifest"),
        "integrity": Known(
            "Every file is listed with its sha256 in manifest.json; the digest of the manifest is in a hash-chained "
            f"ledger. {digest}",
            "manifest",
        ),
        "versions": Known(
            "Snapshots are immutable and numbered. A later one is made by a run, a delta or a rollback; the ledger "
            f"says which. This is snapshot {account.snapshot}"
            + (f", made on top of {manifest['previous']}." if manifest.get("previous") else ", the first."),
            "manifest",
        ),
        "format": Known(
            "MEDS 0.4: Parquet files of events, codes and splits, and lineage beside them. Columns are documented in "
            "schemas/tables.",
            "schemas",
        ),
        "splits": Known(
            "Each subject is in one split (train, tuning or held_out), chosen by a keyed hash, so that it stays when "
            f"subjects are added. Fingerprint of the rule: {manifest['fingerprints'].get('splits', 'not noted')}.",
            "manifest",
        ),
        "software": Known(
            f"mayo_data {manifest['code_version']}, {PROJECT}. Fingerprints: "
            + ", ".join(f"{stage} {value}" for stage, value in sorted(manifest["fingerprints"].items()))
            + ".",
            "manifest",
        ),
        "privacy": Known(
            f"De-identified under policy {line(manifest['policy'])} ({manifest['policy_fingerprint']}), key "
            f"{manifest['key_id']}: identifiers removed or replaced, subjects are keyed pseudonyms. What the policy "
            "keeps is said by the policy; detection in free text is not perfect.",
            "manifest",
        ),
    }


def _run(account: Account) -> dict[str, Known]:
    attempt = account.origin()
    if attempt is None:
        return {}
    body, found = attempt.body, {}
    inputs = body.get("inputs", [])
    if inputs:
        size = sum(one["bytes"] for one in inputs)
        found["origin"] = Known(
            f"Read by run {body['run_id']} from {len(inputs)} files, {size:,} bytes; the ledger has the sha256 of "
            "each. File names are not kept, because they can carry PHI.",
            "ledger",
            part=True,
        )
    if body.get("legal"):
        found["legal"] = Known(f"The policy states: {line(body['legal'], 1000)}", "ledger", part=True)
    steps = [one["body"] for one in attempt.steps]
    if steps:
        arrows = []
        for one in steps:
            gone = ", ".join(f"{reason} {count:,}" for reason, count in sorted(one["dropped"].items()))
            became = ", ".join(f"{count:,} {name}" for name, count in sorted(one.get("produced", {}).items()))
            arrows.append(
                f"{one['name']}: {one['rows_in']:,} in, {one['rows_out']:,} out"
                + (f", dropped {gone}" if gone else "")
                + (f", became {became}" if became else "")
            )
        found["preparation"] = Known(
            "Arrows of the run, with what became of every row. " + "; ".join(arrows) + ".", "ledger"
        )
        dropped = sum(sum(one["dropped"].values()) for one in steps)
        found["missing"] = Known(
            f"{dropped:,} of {steps[0]['rows_in']:,} source rows gave no event; every one has a reason in the ledger. "
            "What the source system never recorded is not known.",
            "ledger",
            part=True,
        )
    gates = [one["body"] for one in attempt.gates]
    if gates:
        failed = [f"{one['gate']} {one['check']}: {line(one['observed'])}" for one in gates if not one["passed"]]
        passed = sum(outcome(one) == "pass" for one in gates)
        found["quality"] = Known(
            f"{passed} of {len(gates)} checks of the gates G0 to G4 passed"
            + (f"; not passed: {'; '.join(failed)}." if failed else ".")
            + " Among them: every row accounted for, no known identifier in the output, every rule of MEDS holds.",
            "ledger",
            part=True,
        )
    return found


def _counts(account: Account) -> dict[str, Known]:
    found = {}
    if account.types:
        listed = ", ".join(f"{line(name)} {count:,}" for name, count in sorted(account.types.items()))
        found["instances"] = Known(f"Source resources that gave events, by type: {listed}.", "counts")
    told = account.covered
    if told.groups:
        parts = []
        for name, groups in sorted(told.groups.items()):
            rows = ", ".join(f"{line(group)} {_shown(count)}" for group, count in groups.items())
            parts.append(f"{line(name).replace('_', ' ')}: {rows}")
        found["subgroups"] = Known(
            f"Subjects by group, of {account.manifest['counts']['subjects']:,}. {'; '.join(parts)}. Cells of fewer "
            f"than {told.smallest} subjects are withheld, and others where a sum would give them away.",
            "counts",
            part=True,
        )
    if told.missing:
        rows = ", ".join(f"{line(what)} {_shown(count)}" for what, count in told.missing.items())
        found["absent"] = Known(f"Subjects without any: {rows}.", "counts", part=True)
    if told.years:
        quartiles = ", ".join(f"{year:.1f}" for year in told.years)
        found["span"] = Known(
            f"From a subject's first event to its last: quartiles {quartiles} years. Calendar dates are those of the "
            "policy.",
            "counts",
            part=True,
        )
    return found


def _later(account: Account) -> dict[str, Known]:
    """What was done with the snapshot since."""
    reads = [one["body"] for one in account.of("read") if one["body"]["snapshot"] == account.snapshot]
    found = {
        "withdrawal": Known(
            "A subject can be withdrawn: the ledger notes it, later loads are refused, and models that read the "
            "subject are named. A trained model is not unlearned by that. Withdrawals and erasures so far: "
            f"{len(account.of('withdrawal')) + len(account.of('erasure'))}.",
            "ledger",
        )
    }
    if reads:
        purposes = sorted({line(one["purpose"]) for one in reads if one.get("purpose")})
        consumers = sorted({line(one.get("consumer") or "unknown") for one in reads})
        found["uses"] = Known(
            f"{len(reads)} reads so far, by {', '.join(consumers)}"
            + (f"; purposes given: {'; '.join(purposes)}." if purposes else "; no purpose was given."),
            "ledger",
            part=True,
        )
    trained = account.trainings()
    if trained:
        names = "; ".join(f"{line(one['body']['name'])} ({one['body']['training_id']})" for one in trained)
        found["trainings"] = Known(f"Trainings on this snapshot: {names}.", "ledger")
    return found


def _model(account: Account, training: Json) -> dict[str, Known]:
    body = training["body"]
    files = ", ".join(f"{line(one['name'])} ({one['bytes']:,} bytes, sha256 {one['sha256']})" for one in body["files"])
    found = {
        "model_name": Known(line(body["name"]), "ledger"),
        "model_version": Known(
            f"Training {body['training_id']}, model digest {body['model_digest']}, {training['at']}.", "ledger"
        ),
        "model_files": Known(f"Files: {files or 'none'}.", "ledger"),
        "training_data": Known(
            f"Snapshot {line(body['snapshot'])}, split {line(body.get('split') or 'all')}; "
            f"{len(body.get('lineage_ids', []))} reads, whose records name the subjects by digest.",
            "ledger",
        ),
        "configuration": Known(
            f"Digest of the configuration: {line(body.get('config_sha256') or 'not noted')}; code "
            f"{line(body.get('code_version') or 'not noted')}.",
            "ledger",
        ),
    }
    labels = body.get("labels")
    if labels:
        said = labels if isinstance(labels, dict) else {"name": labels}
        rows = f", {said['rows']:,} rows" if isinstance(said.get("rows"), int) else ""
        digest = f", digest {line(said['digest'])}" if said.get("digest") else ""
        found["labels"] = Known(f"Labels {line(said.get('name', '?'))}{rows}{digest}.", "ledger", part=True)
    if body.get("metrics"):
        found["metrics"] = Known(f"Metrics that the training gave: {_metrics(body['metrics'])}.", "ledger", part=True)
        fair = {key: value for key, value in body["metrics"].items() if "subgroup" in str(key).lower()}
        if fair:
            found["subgroup_metrics"] = Known(f"By subgroup: {_metrics(fair)}.", "ledger", part=True)
    used = [one for one in account.of("inference") if one["body"]["model_digest"] == body["model_digest"]]
    if used:
        said_back = {one["body"]["prediction_id"] for one in account.of("feedback")}
        answered = sum(one["body"]["prediction_id"] in said_back for one in used)
        found["in_use"] = Known(
            f"{len(used):,} inferences are in the ledger, from {used[0]['at']} to {used[-1]['at']}; {answered:,} of "
            "them have feedback.",
            "ledger",
            part=True,
        )
    gone = [*account.of("withdrawal"), *account.of("erasure")]
    tainted = {one["body"]["subject_id"] for one in gone if body["training_id"] in (one["body"].get("models") or [])}
    if tainted:
        found["tainted"] = Known(
            f"{len(tainted)} subjects that the training read have withdrawn since. The model was not made anew.",
            "ledger",
        )
    return found


def _shown(count: int | None) -> str:
    return "withheld" if count is None else f"{count:,}"


def _metrics(values: Mapping[str, Any]) -> str:
    def said(value: Any) -> str:
        if isinstance(value, Mapping):
            return "(" + _metrics(value) + ")"
        return f"{value:.6g}" if isinstance(value, float) else line(value)

    return ", ".join(f"{line(key)} {said(value)}" for key, value in sorted(values.items()))


_RAI: dict[str, tuple[str, str]] = {
    # property of RAI 1.0: what of the known answers it, and what a person is asked for
    "dataCollection": ("origin", "how the source records came about, and where"),
    "dataCollectionType": ("", "types of collection, such as secondary use of health records"),
    "dataCollectionMissingData": ("missing", "what the source system does not record"),
    "dataCollectionRawData": ("instances", "the source system"),
    "dataImputationProtocol": ("imputation", ""),
    "dataPreprocessingProtocol": ("preparation", ""),
    "dataAnnotationProtocol": ("labels", "how labels are made, where there are any"),
    "dataBiases": ("", "known biases of the population, the site and the coding"),
    "dataUseCases": ("uses", "uses that are intended, and uses that are not"),
    "dataLimitations": ("limitations", "where the data must not be relied on"),
    "dataSocialImpact": ("", "whom its use may help or harm"),
    "personalSensitiveInformation": ("privacy", ""),
    "dataReleaseMaintenancePlan": ("versions", "who maintains it, and for how long"),
}
_ALWAYS = {
    "relations": Known(
        "Events of one subject share subject_id, events of one visit encounter_id; source_table, source_row and "
        "source_item lead to the source record.",
        "schemas",
    ),
    "selfcontained": Known("It is self-contained; codes refer to public terminologies by their names.", "schemas"),
    "sensitive": Known("Yes: health data, and sex, race and ethnicity where the source has them.", "schemas"),
    "raw": Known(
        "Not in the store: the source export stays in the PHI zone, under its owner. The ledger has its digests.",
        "schemas",
    ),
    "useledger": Known("In the ledger of the store: reads, contexts, trainings and inferences.", "schemas"),
    "imputation": Known("No value is imputed; a number keeps the digits of its source.", "schemas"),
    "limitations": Known(
        "Dates and ages are changed as the policy says; text is scrubbed by machine, and detection is not perfect. "
        "A fact without a time is read as static.",
        "schemas",
        part=True,
    ),
}


def always() -> dict[str, Known]:
    """Return what holds for every snapshot.

    >>> always()["imputation"].source
    'schemas'
    """
    return dict(_ALWAYS)


def responsible(found: Mapping[str, Known], blank: str) -> dict[str, str]:
    """Return the RAI properties of Croissant: what is known, and a marked blank for what is not.

    Args:
        found: What is known.
        blank: Mark of a blank.

    >>> responsible({}, "BLANK")["dataSocialImpact"]
    'BLANK: whom its use may help or harm'
    """
    facts = {**_ALWAYS, **found}
    made = {}
    for name, (key, asked) in _RAI.items():
        parts = [facts[key].text] if key in facts else []
        if asked and (not parts or facts[key].part):
            parts.append(f"{blank}: {asked}")
        if parts or asked:
            made[name] = " ".join(parts) or f"{blank}: {asked}"
    return made
