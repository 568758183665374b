"""The commands over PHI policies: list, explain, diff, import-ms."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mayo_data import assets
from mayo_data.cli import show
from mayo_data.errors import ConfigError
from mayo_data.phi import elements, microsoft, policy

app = typer.Typer(help="PHI policies: what they do, and how they differ.", no_args_is_help=True)
PolicyArgument = Annotated[str, typer.Argument(help="Name of a preset, or path of a policy file.", show_default=False)]


@app.command("list")
def list_policies() -> None:
    """Show the presets, and on what legal basis each stands."""
    shown = show.table("Policies", ("policy", "dates", "ages over", "PHI in text", "ids", "legal basis"))
    for name in policy.PRESETS:
        one = policy.load(name)
        shown.add_row(name, one.dates, str(one.top_age or "kept"), one.replace, one.ids, one.legal)
    show.console.print(shown)


@app.command()
def explain(
    name: PolicyArgument,
    resource_type: Annotated[str, typer.Argument(help="A FHIR resource type; without it, the 18 identifiers.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what a policy does: with each element of a resource type, or with the 18 identifiers of HIPAA."""
    found = policy.load(name)
    if not resource_type:
        _identifiers(found, as_json=as_json)
        return
    if resource_type not in assets.toml("schemas", "fhir", "resource_types.toml")["types"]:
        raise ConfigError("no such resource type in FHIR R4", hint="for example Observation")
    lines = list(elements.explained(found.elements, resource_type))
    if as_json:
        show.raw_json([line._asdict() for line in lines])
        return
    title = f"{found.name}: {resource_type}"
    shown = show.table(title, ("element", "type", "in FHIR out", "in a store"))
    for line in lines:
        said = _said(found, line.action)
        shown.add_row(line.path, line.type, said, said if line.store else "dropped")
    show.console.print(shown)
    if found.rules:
        show.console.print(f"  before that: {len(found.rules)} rules by FHIRPath, of {found.name}")
    show.console.print("  what is not listed is no element of FHIR R4: dropped and counted")


def _said(found: policy.PhiPolicy, action: str) -> str:
    dates = {"shift": f"moved, up to {found.max_days} days", "year": "year only", "keep": "kept"}[found.dates]
    verb, _, category = action.partition(" ")
    words = assets.toml("schemas", "phi", "actions.toml")["says"]
    said = words.get(verb, verb).format(dates=dates, top=found.top_age, text=found.replace, zip=found.zip_method)
    if verb not in words:
        return action
    return f"{said} ({category})" if category else said


def _identifiers(found: policy.PhiPolicy, *, as_json: bool) -> None:
    rows = policy.identifiers(found)
    if as_json:
        show.raw_json(rows)
        return
    shown = show.table(f"{found.name}: the 18 identifiers", ("45 CFR 164.514(b)(2)(i)", "method", "elements", "note"))
    for row in rows:
        shown.add_row(f"({row['letter']}) {row['identifier']}", row["method"], row["elements"], row["note"])
    show.console.print(shown)
    show.console.print(f"  {found.legal}", soft_wrap=True)


@app.command()
def diff(
    first: PolicyArgument,
    second: PolicyArgument,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what two policies do differently, line by line."""
    one, other = policy.load(first), policy.load(second)
    found = policy.compare(one, other)
    if as_json:
        show.raw_json([{"what": what, "first": a, "second": b} for what, a, b in found])
        return
    shown = show.table("", ("what", one.name, other.name))
    for row in found:
        shown.add_row(*row)
    if found:
        show.console.print(shown)
    else:
        show.console.print("no difference")


@app.command("import-ms")
def import_ms(
    file: Annotated[Path, typer.Argument(help="Configuration of Microsoft's FHIR anonymizer (JSON).")],
    out: Annotated[Path | None, typer.Option("--out", help="The policy file to write; else it is printed.")] = None,
    extends: Annotated[
        str, typer.Option("--extends", help="The preset whose allow-list stays in force.")
    ] = "expert_determination",
) -> None:
    """Turn a configuration of Microsoft's FHIR anonymizer into a policy."""
    if extends not in policy.PRESETS:
        raise ConfigError(f"no preset {extends}", hint=f"one of {', '.join(policy.PRESETS)}")
    try:
        text, notes = microsoft.translated(file.read_text(encoding="utf-8"), extends)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("the configuration cannot be read", hint="give the path of its JSON file") from error
    if out is None:
        show.line(text.rstrip("\n"))
        return
    out.write_text(text, encoding="utf-8")
    policy.load(str(out))
    for note in notes:
        show.console.print(f"  {note}", soft_wrap=True)
    show.console.print(f"policy written to {out}", soft_wrap=True)
