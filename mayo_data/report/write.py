"""The door of the room: gathers a store's facts once and writes them in the forms that are asked for."""

from __future__ import annotations

import os
from pathlib import Path

from mayo_data.errors import ConfigError
from mayo_data.types import Json


def write_report(
    store: Path | str,
    *,
    html: Path | str | None = None,
    json: Path | str | None = None,
    markdown: Path | str | None = None,
    evidence: Path | str | None = None,
    snapshot: str | None = None,
    population: int | None = None,
    policy: str | None = None,
) -> Json:
    """Write the report that a privacy officer signs, and return its facts: `md.write_report`.

    What came in, what was done, what went out, what risk remains: counts, names of rules and digests, no value of a
    patient. The same store gives the same bytes.

    Args:
        store: Folder of the store.
        html: One page that stands for itself: no script, nothing from elsewhere.
        json: The same as JSON.
        markdown: The same as Markdown.
        evidence: A zip for an expert determination under 45 CFR 164.514(b)(1): the report in all forms, the policy,
            the ledger's records and head, methods, signature fields, and a manifest with the sha256 of each part.
        snapshot: Name of a snapshot; the newest by default.
        population: People that the store is a sample of.
        policy: Preset or path of the policy, where the ledger names none that ships.

    Raises:
        StoreError: There is no such store or snapshot, or its ledger is damaged.
        ConfigError: A file cannot be written, or the policy is not that of the snapshot.
    """
    from mayo_data.report import evidence as pack
    from mayo_data.report import facts as collect
    from mayo_data.report.markdown import markdown as as_markdown
    from mayo_data.report.page import page

    facts = collect.gather(store, snapshot=snapshot, population=population, policy=policy)
    if html is not None:
        _put(Path(html), page(facts).encode())
    if json is not None:
        _put(Path(json), pack.encode(facts))
    if markdown is not None:
        _put(Path(markdown), as_markdown(facts).encode())
    if evidence is not None:
        _put(Path(evidence), pack.pack(store, facts, policy=policy))
    return facts


def _put(path: Path, body: bytes) -> None:
    """Write a file whole, or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_bytes(body)
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise ConfigError(f"the report cannot be written: {error.strerror}", hint="choose another path") from error
