"""The commands over lineage: trace, impact, verify, withdraw, erase, reidentify, and those over the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

import mayo_data as md
from mayo_data.cli import show
from mayo_data.errors import ConfigError, GateError
from mayo_data.store.layout import Store

app = typer.Typer(help="The append-only record of everything that was done.", no_args_is_help=True)

StoreArgument = Annotated[Path, typer.Argument(help="Folder of the store.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Html = Annotated[Path | None, typer.Option("--html", help="Write a page with a picture, which needs nothing else.")]
Dot = Annotated[Path | None, typer.Option("--dot", help="Write the picture as text for Graphviz.")]
KeyFile = Annotated[Path | None, typer.Option("--key-file", help="The site's key; else $MAYO_DATA_KEY.")]
PhiZone = Annotated[Path | None, typer.Option("--phi-zone", help="PHI zone of the store; default STORE.phi.")]
Anchors = Annotated[list[Path] | None, typer.Option("--anchor", help="An anchor of the ledger, kept elsewhere.")]
PublicKey = Annotated[Path | None, typer.Option("--public-key", help="Key by which every anchor must be signed.")]
Reason = Annotated[str, typer.Option("--reason", help="Why. It stays in the ledger: name nobody.")]
Subject = Annotated[int, typer.Argument(help="Its subject_id, as in view subject.", show_default=False)]


def trace(
    name: Annotated[str, typer.Argument(help="An event id (3.1042.0), a subject_id, or an id L-... or P-...")],
    store: Annotated[Path, typer.Option("--store", help="Folder of the store.")],
    snapshot: Annotated[str | None, typer.Option("--snapshot", help="Another one than the newest.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many source lines are listed.")] = 20,
    as_json: AsJson = False,
    html: Html = None,
    dot: Dot = None,
) -> None:
    """Walk back from an event, subject, read or prediction to the lines of the source, with every PHI decision."""
    found = md.trace(store, name, snapshot=snapshot, limit=limit)
    if _written(found, html, dot, as_json):
        return
    if found["kind"] == "event":
        show.lineage(found)
    else:
        _traced(found)


def impact(
    store: StoreArgument,
    subject: Annotated[int | None, typer.Option("--subject", help="A subject_id.")] = None,
    resource: Annotated[int | None, typer.Option("--resource", help="A resource_key, as in view resource.")] = None,
    file: Annotated[str | None, typer.Option("--file", help="sha256 of a source file, or its number.")] = None,
    policy: Annotated[str | None, typer.Option("--policy", help="Name or fingerprint of a PHI policy.")] = None,
    as_json: AsJson = False,
    html: Html = None,
    dot: Dot = None,
) -> None:
    """Walk forward: which snapshots, training reads, models and predictions something went into."""
    found = md.impact(store, subject=subject, resource=resource, file=file, policy=policy)
    if _written(found, html, dot, as_json):
        return
    ((kind, value),) = found["of"].items()
    _rows(f"Snapshots with {kind} {value}", found["snapshots"], ("snapshot", "events", "subjects"))
    _rows("Reads", found["reads"], ("lineage_id", "snapshot", "split", "consumer", "certain"))
    _rows("Models", found["trainings"], ("training_id", "name", "snapshot", "certain"))
    _rows("Predictions on these events", found["inferences"][:20], ("prediction_id", "snapshot", "events"))
    counts = found["counts"]
    show.line(
        f"{counts['reads']:,} reads, {counts['trainings']:,} models, {counts['inferences']:,} predictions on these "
        f"events, {counts['by_models']:,} by these models"
    )


def verify(
    store: StoreArgument,
    model: Annotated[Path | None, typer.Option("--model", help="Folder of a model, checked too.")] = None,
    anchor: Anchors = None,
    public_key: PublicKey = None,
    as_json: AsJson = False,
) -> None:
    """Check every seal: ledger, manifests, files, and a model. Exit 4 where one bit was changed anywhere."""
    found = md.verify(store, model=model, anchors=anchor or (), public_key=public_key)
    rows = [{name: getattr(one, name) for name in ("what", "place", "rule", "hint")} for one in found]
    if as_json:
        show.raw_json(rows)
    elif rows:
        _rows("Broken seals", rows, ("what", "place", "rule", "hint"))
    else:
        show.console.print("[green]intact[/]: every seal holds")
    if rows:
        raise GateError(f"{len(rows)} seals are broken", hint="restore the store from a backup")


def withdraw(
    store: StoreArgument,
    subject: Subject,
    reason: Reason,
    key_file: KeyFile = None,
    phi_zone: PhiZone = None,
    as_json: AsJson = False,
) -> None:
    """Withdraw a subject: a snapshot without them, older ones blocked, later runs leave them out. No model unlearns."""
    done = md.withdraw(store, subject, reason, key_file=key_file, phi_zone=phi_zone)
    if as_json:
        show.raw_json({name: getattr(done, name) for name in done.__dataclass_fields__})
        return
    gone = ", ".join(f"{count:,} {table}" for table, count in done.rows.items()) or "nothing more"
    show.line(f"snapshot {done.snapshot} is current, without the subject: {gone} went")
    _models(done.models)


def erase(
    store: StoreArgument,
    subject: Subject,
    reason: Reason,
    key_file: KeyFile = None,
    phi_zone: PhiZone = None,
    as_json: AsJson = False,
) -> None:
    """Erase a subject from every kept snapshot, the vault and the memory. The proof is in the ledger."""
    done = md.erase(store, subject, reason, key_file=key_file, phi_zone=phi_zone)
    if as_json:
        show.raw_json({name: getattr(done, name) for name in done.__dataclass_fields__})
        return
    rows = [{"snapshot": name, **change["rows"]} for name, change in done.snapshots.items()]
    _rows("Rows that went", rows, ("snapshot", "events", "resources", "decisions", "subject_splits"))
    show.line(f"{done.vault:,} rows of the vault, {done.memory:,} files of the memory, {done.inputs:,} of inputs went")
    _models(done.models)


def reidentify(
    store: StoreArgument,
    reason: Reason,
    by: Annotated[str, typer.Option("--by", help="Who asks. It stays in the ledger.")],
    subject: Annotated[int | None, typer.Option("--subject", help="A subject_id.")] = None,
    resource: Annotated[int | None, typer.Option("--resource", help="A resource_key.")] = None,
    key_file: KeyFile = None,
    phi_zone: PhiZone = None,
) -> None:
    """Lead a keyed id back to the resource of the source. Recorded in the ledger before it is told."""
    found = md.reidentify(
        store, subject=subject, resource=resource, reason=reason, by=by, key_file=key_file, phi_zone=phi_zone
    )
    show.line(found.source)


@app.command("verify")
def ledger_verify(store: StoreArgument, anchor: Anchors = None, public_key: PublicKey = None) -> None:
    """Find any record that was changed, removed, reordered or inserted. Exit 4 where there is one."""
    from mayo_data.lineage import anchors, ledger

    if public_key is not None and not anchor:
        raise ConfigError("a public key verifies anchors", hint="give --anchor FILE")
    digests, problems = anchors.check(anchor or [], public_key=public_key)
    problems += ledger.verify(Store.open(store).ledger, anchors=digests)
    show.problems(problems)
    if problems:
        raise GateError(f"the ledger was tampered with, or is damaged: {len(problems)} problems", hint="see above")


@app.command("anchor")
def ledger_anchor(
    store: StoreArgument,
    out: Annotated[Path, typer.Option("--out", help="The anchor; keep it where nobody can write the store.")],
    sign: Annotated[Path | None, typer.Option("--sign", help="Private key that signs it: ledger keygen.")] = None,
) -> None:
    """Write down number and digest of the last record: it shows later whether anything before it was rewritten."""
    from mayo_data.lineage import anchors
    from mayo_data.lineage.ledger import Ledger

    opened = Store.open(store)
    if out.resolve().is_relative_to(opened.root.resolve()):
        raise ConfigError("an anchor inside the store proves nothing", hint="choose another --out")
    made = anchors.anchor(Ledger(opened.ledger), out, key=sign)
    show.line(f"record {made.seq:,}, digest {made.digest}, in {out}" + (" (signed)" if made.signature else ""))


@app.command("keygen")
def ledger_keygen(
    out: Annotated[Path, typer.Option("--out", help="The private key, mode 0600; the public one is OUT.pub.")] = Path(
        "anchor.key"
    ),
) -> None:
    """Make an Ed25519 key pair that signs anchors. Keep the private key apart from the store."""
    from mayo_data.lineage import anchors

    show.line(f"private key in {out}, public key in {anchors.generate(out)}")


@app.command("show")
def ledger_show(
    store: StoreArgument,
    kind: Annotated[str | None, typer.Option("--kind", help="run, step, gate, snapshot, ...")] = None,
) -> None:
    """Print the records as JSON lines."""
    from mayo_data.lineage.ledger import Ledger

    for record in Ledger(Store.open(store).ledger).records(kind):
        show.line(orjson.dumps(record).decode())


def _written(found: Mapping[str, Any], html: Path | None, dot: Path | None, as_json: bool) -> bool:
    """Write the picture where one is asked for, and JSON; return whether there is nothing left to print."""
    from mayo_data.lineage import diagram, page

    for path, render in ((html, page.html), (dot, diagram.dot)):
        if path is not None:
            try:
                path.write_text(render(dict(found)), encoding="utf-8")
            except OSError as error:
                raise ConfigError(
                    f"the picture cannot be written: {error.strerror}", hint="choose another path"
                ) from error
            if not as_json:
                show.line(f"written to {path}")
    if as_json:
        show.raw_json(found)
    return as_json or html is not None or dot is not None


def _traced(found: Mapping[str, Any]) -> None:
    """Print the way back from a subject, a read or a prediction."""
    name = found.get("prediction_id") or found.get("lineage_id") or found.get("subject_id")
    shown = show.table(f"{found['kind'].capitalize()} {name}", ("what", "value"))
    shown.add_row("snapshot", found["snapshot"])
    for what, value in found["counts"].items():
        said = ", ".join(f"{count:,} {kind}" for kind, count in value.items()) if isinstance(value, dict) else value
        shown.add_row(what, f"{said:,}" if isinstance(said, int) else str(said or "·"))
    for one in found.get("trainings", ()):
        shown.add_row("training", f"{one['training_id']} {one['name']}")
    for one in found["scrubs"]:
        shown.add_row("policy", f"{one['policy']} {one['policy_fingerprint']}")
    for one in found["runs"]:
        shown.add_row("run", f"{one['run_id']} {one['at'][:19]} code {one['code_version']}")
    show.console.print(shown)
    _rows("Source files", found["sources"], ("source_table", "sha256", "format", "lines", "rows"))
    columns = ("event_id", "code", "sha256", "source_row", "resource_type")
    if found["kind"] == "subject":
        columns = ("source_table", "source_row", "resource_type", "resource_key", "events")
    _rows("Lines of the source", found["lines"], columns)


def _rows(title: str, rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    kept = [name for name in names if any(row.get(name) is not None for row in rows)]
    if not kept:
        return
    numbers = [name for name in kept if all(type(row.get(name)) is int for row in rows)]
    shown = show.table(
        title, [name.replace("_", " ") for name in kept], right=[one.replace("_", " ") for one in numbers]
    )
    for row in rows:
        shown.add_row(*(_cell(row.get(name)) for name in kept))
    show.console.print(shown)


def _cell(value: Any) -> str:
    if value is None:
        return "·"
    if isinstance(value, bool):
        return "yes" if value else "perhaps"
    text = str(value)
    return text[:16] + "…" if len(text) == 64 else text


def _models(models: Sequence[str]) -> None:
    if models:
        show.line("trained on the subject, or perhaps, and not unlearned: " + ", ".join(models))
