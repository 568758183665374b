"""Turns the facts of a store into the sections of the report, in the words of whoever has to judge it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mayo_data.report.parts import Cell, Code, Mark, Pairs, Picture, Section, Share, Table, number
from mayo_data.types import Json

_MISSING = {
    "encounter": "no encounter",
    "vital": "no vital sign",
    "lab": "no other measurement",
    "medication": "no drug",
    "condition": "no condition",
    "note": "no note",
    "race": "no race",
}
_DIMENSIONS = {
    "sex": "Sex",
    "age_band": "Age at the last event",
    "race": "Race",
    "ethnicity": "Ethnicity",
    "language": "Language",
    "zip3": "ZIP3",
}
_QUASI = {
    "age_band": "age band",
    "zip3": "ZIP3",
    "admission_year": "year of the first visit",
    "rarest_code": "a rare code",
    "sequence": "the first conditions",
}
_WITHHELD = "A dash is a count of 1 to 10 subjects, or one that is withheld because it would give such a count away."
_GATES = {
    "G0": "the source", "G1": "the scrub", "G2": "events", "G3": "finished timelines", "G4": "the snapshot",
}  # fmt: skip
_FEW_GATES = 8  # so many are never folded away
_MOST_FILES = 60  # in the table; the JSON has all


def sections(facts: Json) -> list[Section]:
    """Return the sections of the report, in reading order.

    Args:
        facts: What `facts.gather` found.
    """
    return [
        _run(facts),
        _policy(facts),
        _loss(facts),
        _gates(facts),
        _phi(facts),
        _leaks(facts),
        _risk(facts),
        _coverage(facts),
        _timelines(facts),
        _lineage(facts),
        _versions(facts),
    ]


def headline(facts: Json) -> list[tuple[str, str, str]]:
    """Return the figures at the head of the report: (name, value, what it means)."""
    gates, risk = facts["gates"], facts["risk"]
    passed = sum(bool(one["passed"]) for one in gates)
    rows, gone = (
        sum(one["rows"] for one in facts["inputs"]),
        sum(sum(d["rows"] for d in step["dropped"]) for step in facts["loss"]),
    )
    found = [
        ("Subjects", number(facts["snapshot"]["subjects"]), f"{number(facts['snapshot']['events'])} events"),
        ("Rows read", number(rows), f"{number(gone)} dropped, each for a reason"),
        ("Gates passed", f"{passed} of {len(gates)}", _minded(gates)),
    ]
    if risk:
        measured = risk["risk"]
        found.append(
            ("Smallest class", f"k = {number(measured['k'])}", f"{number(measured['unique'])} subjects alone in theirs")
        )
    audit = facts["audit"]
    if audit:
        low, high = audit["leaks_per_1000_notes_interval"]
        found.append(
            (
                "Leaks in 1,000 notes",
                f"{audit['leaks_per_1000_notes']:,.1f}",
                f"95 % interval {low:,.1f} to {high:,.1f}",
            )
        )
    elif facts["phi"]["notes"]:
        found.append(("Leaks in 1,000 notes", "not measured", "nobody has labelled a sample yet"))
    return found


def _minded(gates: list[Json]) -> str:
    """What the gates that did not pass asked for."""
    asked = Counter(str(one["action"]) for one in gates if not one["passed"])
    return ", ".join(f"{n} said {action}" for action, n in sorted(asked.items())) or "every check of the run"


def attention(facts: Json) -> list[Mark]:
    """Return what a reader should look at before signing, the worst first."""
    found = []
    if facts["ledger"]["problems"]:
        found.append(Mark("The ledger is damaged or was tampered with: nothing below can be relied on.", "bad"))
    found += [
        Mark(
            f"Gate {one['gate']} {str(one['check']).replace('_', ' ')}: {one['observed']}.",
            "bad" if one["action"] == "stop" else "note",
        )
        for one in facts["gates"]
        if not one["passed"]
    ]
    if not facts["snapshot"]["subjects"]:
        found.append(Mark("The snapshot holds no subject.", "bad"))
    if facts["snapshot"]["subjects_left"]:
        said = "Subjects were withdrawn or erased after the run: rows, drops and gates are those of the run."
        found.append(Mark(said, "note"))
    if facts["policy"]["settings"] is None:
        found.append(Mark("The text of the policy is not at hand; only its fingerprint is shown.", "note"))
    risk = facts["risk"]
    if risk and risk["risk"]["at_risk"]:
        one = risk["risk"]
        share = Share(one["at_risk"], one["rows"])
        found.append(
            Mark(
                f"{number(one['at_risk'])} subjects ({share}) are in classes below {one['threshold']}: see Risk.",
                "note",
            )
        )
    if facts["phi"]["notes"] and not facts["audit"]:
        found.append(Mark("No sample of notes was labelled, so leaks in free text are not estimated.", "note"))
    return sorted(found, key=lambda mark: mark.tone != "bad")


def _run(facts: Json) -> Section:
    run, inputs = facts["run"], facts["inputs"]
    rows: list[tuple[str, Cell]] = [
        ("Run", Code(run["run_id"])),
        ("Begun", _moment(run["at"])),
        ("Pipeline", run["pipeline"]),
        (
            "Kind",
            {"full": "full: it replaces what was there", "delta": f"delta on snapshot {run['base']}"}.get(
                run["mode"], run["mode"]
            ),
        ),
        ("Ages judged as of", run["as_of"]),
        ("Committed as snapshot", facts["snapshot"]["name"]),
        ("Runs that this snapshot stands on", len(facts["runs"])),
    ]
    shown = inputs[:_MOST_FILES]
    files = Table(
        f"Inputs: {number(len(inputs))} files, {number(sum(one['rows'] for one in inputs))} rows",
        ("file", "content", "rows", "listed", "bytes", "sha256"),
        [
            (
                str(one["source_table"]),
                ", ".join(one["types"][:3]) + (" …" if len(one["types"]) > 3 else "") or str(one["format"]),
                one["rows"],
                "·" if one["listed"] is None else one["listed"],
                one["bytes"],
                Code(one["sha256"]),
            )
            for one in shown
        ],
        "Listed is what the manifest of the export says. "
        + (f"{number(len(inputs) - len(shown))} more files are in the JSON." if len(inputs) > len(shown) else ""),
        fold=len(inputs) > 12,
    )
    return Section(
        "run",
        "Run and inputs",
        "Which run made this snapshot, and of what. A file is named by its digest: a file name can carry PHI.",
        [Pairs(rows), files],
    )


def _policy(facts: Json) -> Section:
    policy = facts["policy"]
    rows: list[tuple[str, Cell]] = [
        ("Policy", policy["name"]),
        ("Legal basis", policy["legal"]),
        ("Fingerprint", Code(policy["fingerprint"])),
        ("Public id of the key", Code(facts["snapshot"]["key_id"])),
        *(("Detector", Code(str(one["detector"]))) for one in facts["scrubs"]),
    ]
    blocks: list[Table | Pairs | Picture | str] = [Pairs(rows)]
    settings = policy["settings"]
    if settings:
        dates = {
            "shift": f"moved, one offset a subject, up to {settings['max_days']} days",
            "year": "year only",
            "keep": "kept",
        }[settings["dates"]]
        rows += [
            ("Dates", dates),
            ("Ages", f"over {settings['top_age']} are one group" if settings["top_age"] else "not grouped"),
            ("ZIP codes", "first three digits, or 000" if settings["zip_method"] == "zip3" else "kept"),
            (
                "PHI in text",
                "replaced by invented values" if settings["replace"] == "surrogate" else "replaced by tags",
            ),
            ("Ids", "keyed" if settings["ids"] == "keyed" else "random, per run"),
            ("Admitted code systems of the site", len(settings["admit"])),
        ]
    if policy["identifiers"]:
        blocks.append(
            Table(
                "The 18 identifiers of 45 CFR 164.514(b)(2)(i)",
                ("letter", "identifier", "what becomes of it"),
                [(one["letter"], one["identifier"], one["method"]) for one in policy["identifiers"]],
                fold=True,
            )
        )
    return Section(
        "policy",
        "Policy and legal basis",
        "What is not named by the policy is dropped. This is engineering, not legal advice.",
        blocks,
    )


def _loss(facts: Json) -> Section:
    steps = facts["loss"]
    if not steps:
        return Section("loss", "Rows in, rows out", "The ledger holds no accounts of this run.")
    table = Table(
        "Rows at every arrow",
        ("arrow", "in", "out", "dropped", "share", "became"),
        [
            (
                step["name"],
                step["rows_in"],
                step["rows_out"],
                sum(one["rows"] for one in step["dropped"]),
                Share(sum(one["rows"] for one in step["dropped"]), step["rows_in"]),
                ", ".join(f"{number(n)} {what}" for what, n in step["produced"].items()) or "·",
            )
            for step in steps
        ],
    )
    blocks: list[Table | Pairs | Picture | str] = [
        Picture("flow", {"steps": steps}, "Rows from the export to the timelines, with what left on the way."),
        table,
    ]
    reasons = [
        (one["reason"].replace("_", " "), step["name"], one["rows"], one["hint"])
        for step in steps
        for one in step["dropped"]
    ]
    if reasons:
        blocks.append(Table("Why rows were dropped", ("reason", "arrow", "rows", "what it means"), reasons))
    return Section(
        "loss",
        "Rows in, rows out",
        "At every arrow, rows in = rows out + rows dropped, by reason. Nothing is lost without a word.",
        blocks,
    )


def _gates(facts: Json) -> Section:
    blocks: list[Table | Pairs | Picture | str] = []
    for gate in dict.fromkeys(str(one["gate"]) for one in facts["gates"]):
        found = [one for one in facts["gates"] if one["gate"] == gate]
        passed = sum(bool(one["passed"]) for one in found)
        rows = [
            (str(one["check"]).replace("_", " "), _verdict(one), str(one["action"]), str(one["observed"]))
            for one in sorted(found, key=lambda one: bool(one["passed"]))
        ]
        caption = f"{gate}, {_GATES.get(gate, 'of the site')}: {number(passed)} of {number(len(found))} passed"
        fold = passed == len(found) and len(found) > _FEW_GATES
        blocks.append(Table(caption, ("check", "verdict", "if it fails", "observed"), rows, fold=fold))
    return Section(
        "gates",
        "Quality gates",
        "Checks between the steps, native and suites of expectations. One that fails and says stop, and nothing is "
        "committed; quarantine sets rows apart; warn is said here.",
        blocks,
    )


def _verdict(one: Json) -> Mark:
    if one["passed"]:
        return Mark("pass", "good")
    return Mark(str(one["action"]), "bad" if one["action"] == "stop" else "note")


def _phi(facts: Json) -> Section:
    phi = facts["phi"]
    if not phi["decisions"]:
        return Section("phi", "PHI found in text", "No text of this snapshot held anything that was taken for PHI.")
    recognizers: dict[str, list[str]] = {}
    actions: dict[str, set[str]] = {}
    for row in sorted(phi["rows"], key=lambda row: -row["decisions"]):
        recognizers.setdefault(row["category"], []).append(row["recognizer"])
        actions.setdefault(row["category"], set()).add(row["action"])
    by_category = Table(
        "By category",
        ("category", "decisions", "share", "what was done", "found by"),
        [
            (
                name,
                n,
                Share(n, phi["decisions"]),
                ", ".join(sorted(actions[name])),
                ", ".join(dict.fromkeys(recognizers[name])),
            )
            for name, n in phi["by_category"].items()
        ],
    )
    by_recognizer = Table(
        "By recognizer",
        ("recognizer", "decisions", "share"),
        [(name, n, Share(n, phi["decisions"])) for name, n in phi["by_recognizer"].items()],
    )
    return Section(
        "phi",
        "PHI found in text",
        f"{number(phi['decisions'])} decisions on free text; the snapshot holds {number(phi['notes'])} notes. Each "
        "decision is in the store with its place, category and recognizer, never with the text.",
        [by_category, by_recognizer],
    )


def _leaks(facts: Json) -> Section:
    rows = [
        (
            f"{one['gate']} {one['check'].replace('_', ' ')}",
            one["observed"],
            Mark("pass", "good") if one["passed"] else Mark(one["action"], "bad"),
        )
        for one in facts["leaks"]
    ]
    blocks: list[Table | Pairs | Picture | str] = []
    if rows:
        blocks.append(Table("Leak audit of the run", ("check", "observed", "verdict"), rows))
    audit = facts["audit"]
    if audit:
        low, high = audit["leaks_per_1000_notes_interval"]
        first, last = audit["leaking_notes_share_interval"]
        blocks += [
            Pairs(
                [
                    ("Notes read by a person", audit["notes"]),
                    ("Of so many notes", audit["notes_in_store"]),
                    ("Notes with a leak", audit["leaking_notes"]),
                    ("Leaks in them", audit["leaks"]),
                    ("Not sure", audit["unsure"]),
                    (
                        "Expected leaks in 1,000 notes",
                        f"{audit['leaks_per_1000_notes']:,.1f} ({low:,.1f} to {high:,.1f})",
                    ),
                    ("Share of notes with a leak", f"{audit['leaking_notes_share']:.2%} ({first:.2%} to {last:.2%})"),
                ]
            ),
            *(
                [Table("Leaks by category", ("category", "leaks"), list(audit["categories"].items()))]
                if audit["categories"]
                else []
            ),
            f"Intervals at 95 %. {audit['method']}",
        ]
    elif facts["phi"]["notes"]:
        blocks.append(
            "No sample of notes was labelled yet. `mayo-data audit STORE` shows one and records what a person finds."
        )
    return Section(
        "leaks",
        "Leaks",
        "Before the commit, every string of a subject's output was searched for that subject's known identifiers. What "
        "the record does not know, only a reader of the notes can find.",
        blocks,
    )


def _risk(facts: Json) -> Section:
    found = facts["risk"]
    if not found:
        return Section("risk", "Risk of being singled out", "There is no subject in this snapshot.")
    risk, rows = found["risk"], found["risk"]["rows"]
    quasi = ", ".join(_QUASI.get(one, one) for one in found["quasi"])
    measures: list[tuple[Cell, ...]] = [
        ("Smallest class (k)", risk["k"], "k-anonymity"),
        ("Subjects alone in their class", risk["unique"], f"{Share(risk['unique'], rows)} of all: sample uniques"),
        (
            f"Subjects in classes below {risk['threshold']}",
            risk["at_risk"],
            f"{Share(risk['at_risk'], rows)} of all are at risk",
        ),
        ("Prosecutor, highest", risk["prosecutor_highest"], "somebody known to be in the store, worst case"),
        ("Prosecutor, mean", risk["prosecutor_average"], "the same, mean over subjects"),
    ]
    if risk["population"]:
        measures += [
            ("Journalist, highest", risk["journalist_highest"], f"somebody of a population of {risk['population']:,}"),
            ("Journalist, mean", risk["journalist_average"], "the same, mean over subjects"),
            ("Marketer", risk["marketer"], "share of subjects that linking all of them gets right"),
            ("Alone in the population, expected", f"{risk['population_unique']:,.1f}", "population uniques"),
        ]
    for one in risk["diversity"]:
        name = one["attribute"]
        measures += [
            (f"{name}: l", one["distinct"], "fewest different values in a class"),
            (f"{name}: t", one["t"], "largest distance of a class from the whole, 0 to 1"),
            (f"{name}: largest share", one["largest_share"], "of one value in a class"),
        ]
    before, sizes = 0, []
    for upper, count in risk["sizes"].items():
        end = int(upper)
        name = f"over {before}" if end == 0 else f"{end}" if end == before + 1 else f"{before + 1} to {end}"
        sizes.append((name, count, Share(count, rows)))
        before = end
    options = [
        (
            "; ".join(f"{_QUASI.get(name, name)}: {how}" for name, how in one["changes"].items()) or "nothing changed",
            one["k"],
            one["at_risk"],
            one["events"],
            Share(one["events"], one["events"] / one["share"] if one["share"] else 1),
        )
        for one in found["options"]
    ]
    return Section(
        "risk",
        "Risk of being singled out",
        f"Measured, not assumed: how easily a subject could be singled out by whoever knows {quasi}. A class is all "
        "subjects that share these.",
        [
            Table("Subjects by size of their class", ("class of", "subjects", "share"), sizes),
            Table("Measures", ("measure", "value", "what it is"), measures),
            Table(
                "Ways to lower it",
                ("given less exactly", "k", "subjects to leave out", "their events", "of all events"),
                options,
                fold=len(options) > 6,
            ),
        ],
    )


def _coverage(facts: Json) -> Section:
    coverage = facts["coverage"]
    whole = coverage["whole"]
    blocks: list[Table | Pairs | Picture | str] = []
    notes = whole["notes"] != 0  # a store without notes has no column for them
    for key, title in _DIMENSIONS.items():
        groups = coverage["dimensions"][key]
        shown = [group for group in groups if group["subjects"] is not None]
        hidden = [group["name"] for group in groups if group["subjects"] is None]
        lacks = [
            what
            for what in _MISSING
            if not (key == "race" and what == "race")
            and not (what == "note" and not notes)
            and any(group["missing"][what] != 0 for group in shown)
        ]
        rows = [_group(group, whole, lacks, notes) for group in shown]
        said = f"Withheld: {', '.join(hidden)}." if len(hidden) <= 12 else f"{len(hidden)} groups are withheld."
        if not shown:
            blocks.append(f"{title}: every group is small, or would give a small one away. {said}")
            continue
        blocks.append(
            Table(
                title,
                (
                    "group",
                    "subjects",
                    "share",
                    "events each",
                    *(["notes each"] if notes else []),
                    "years, median",
                    *(_MISSING[what] for what in lacks),
                ),
                rows,
                said if hidden else "",
            )
        )
    return Section(
        "coverage",
        "Who is covered",
        f"What the store holds of whom. A model learns little about groups it sees little of. {_WITHHELD}",
        blocks,
    )


def _group(group: Json, whole: Json, lacks: Sequence[str], notes: bool) -> tuple[Cell, ...]:
    subjects, years = group["subjects"], group["years"]
    return (
        group["name"],
        subjects,
        Share(subjects, whole["subjects"]),
        round(group["events"] / subjects),
        *([f"{group['notes'] / subjects:,.1f}"] if notes else []),
        f"{years[1]:.1f}" if years else None,
        *(Share(group["missing"][what], subjects) for what in lacks),
    )


def _timelines(facts: Json) -> Section:
    found = facts["timelines"]
    ends = ("5 %", "25 %", "half", "75 %", "95 %")
    rows = [
        (name, *(f"{one:,.0f}" if key == "events_a_subject" else f"{one:,.1f}" for one in found[key] or ()))
        for name, key in (("events of a subject", "events_a_subject"), ("years from first to last", "years_a_subject"))
        if found[key]
    ]
    total = sum(one["events"] for one in found["kinds"])
    kinds = [(one["kind"], one["events"], Share(one["events"], total), one["codes"]) for one in found["kinds"]]
    blocks: list[Table | Pairs | Picture | str] = [
        Table("So many subjects have at most", ("what", *ends), rows),
    ]
    if found["years"]:
        blocks.append(Picture("years", {"years": found["years"]}, "Events by year, as the policy left the dates."))
    blocks.append(Table("Events by kind", ("kind", "events", "share", "codes"), kinds, fold=len(kinds) > 14))
    return Section("timelines", "Timelines", "How much there is of a subject, over how long, of what kind.", blocks)


def _lineage(facts: Json) -> Section:
    lineage = facts["lineage"]
    blocks: list[Table | Pairs | Picture | str] = [
        Picture(
            "lineage",
            {**lineage, "inputs": facts["inputs"], "snapshot": facts["snapshot"]},
            "From the files, through the run, to the snapshot, its readers and their models.",
        ),
    ]
    if lineage["reads"]:
        blocks.append(
            Table(
                "Training reads",
                ("lineage id", "consumer", "purpose", "split", "subjects"),
                [
                    (
                        Code(one["lineage_id"]),
                        one["consumer"],
                        one["purpose"] or "·",
                        one["split"] or "all",
                        one["subjects"],
                    )
                    for one in lineage["reads"]
                ],
                fold=len(lineage["reads"]) > 8,
            )
        )
    if lineage["trainings"]:
        blocks.append(
            Table(
                "Models",
                ("training", "name", "reads", "model digest"),
                [
                    (Code(one["training_id"]), one["name"], len(one["reads"]), Code(str(one["model_digest"] or "·")))
                    for one in lineage["trainings"]
                ],
            )
        )
    if lineage["contexts"] or lineage["inferences"]:
        blocks.append(Pairs([("Inference contexts", lineage["contexts"]), ("Predictions", lineage["inferences"])]))
    return Section(
        "lineage",
        "Lineage",
        "Where it came from and who has read it since. Every event leads back to a line of a file; every read of a "
        "model is in the ledger.",
        blocks,
    )


def _versions(facts: Json) -> Section:
    snapshot, ledger, versions = facts["snapshot"], facts["ledger"], facts["versions"]
    sound = (
        Mark("intact", "good")
        if not ledger["problems"]
        else Mark("; ".join(f"{rule.replace('_', ' ')} × {n}" for rule, n in ledger["problems"]), "bad")
    )
    rows: list[tuple[str, Cell]] = [
        ("Logical digest of the content", Code(snapshot["logical_digest"])),
        ("sha256 of the manifest", Code(snapshot["manifest_sha256"])),
        ("Head of the ledger", Code(ledger["head"])),
        ("Ledger", sound),
        ("Records", ledger["records"]),
        ("Last record", _moment(ledger["last_at"])),
        ("Snapshot made by mayo_data", versions["made_by"]),
        ("Report made by mayo_data", versions["reported_by"]),
        ("Python", versions["python"]),
        *versions["libraries"].items(),
    ]
    return Section(
        "versions",
        "Versions and digests",
        "Write the head of the ledger down elsewhere: with it, a cut-off end shows.",
        [Pairs(rows)],
    )


def _moment(stamp: str) -> str:
    return f"{stamp[:10]} {stamp[11:16]} UTC"
