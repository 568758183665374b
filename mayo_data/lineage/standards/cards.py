"""Cards that people have to fill in, with what is known already in them, as JSON and as Markdown.

The questions are data in `schemas/cards`. An item that no record answers is a blank, and marked as one: nothing is
guessed. Names that people chose are written so that they are no markup.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from mayo_data import assets
from mayo_data.errors import ConfigError
from mayo_data.lineage.standards import answers
from mayo_data.lineage.standards.account import Account
from mayo_data.lineage.standards.answers import Known
from mayo_data.lineage.standards.writing import line, markdown
from mayo_data.types import Json

NAMES = ("ai_act", "chai", "datasheet", "hti1")
_MARK = "**☐ To be filled in**"
_SOURCES = {
    "manifest": "manifest of the snapshot", "ledger": "ledger of the store", "schemas": "how mayo_data works",
    "counts": "counted in the snapshot",
}  # fmt: skip


def card(name: str, account: Account, training: Json | None = None) -> Json:
    """Return a card as JSON: every item with its state, and what is known.

    Args:
        name: One of `NAMES`.
        account: The store's account.
        training: Record of the training whose model it is about; a card of a model needs one.

    Returns:
        `card`, `title`, `cite`, `about`, `counts` (state to items), `sections` of `items`: `id`, `cite`, `question`,
        `state` (`filled`, `partly`, `blank`), `answer` or None, and `sources`.

    Raises:
        ConfigError: There is no such card, or a card of a model was asked for without a training.
    """
    if name not in NAMES:
        raise ConfigError(f"no card {line(name, 40)!r}", hint=f"use one of {', '.join(NAMES)}")
    spec = assets.toml("schemas", "cards", f"{name}.toml")
    if spec["of"] == "model" and training is None:
        raise ConfigError(
            "the ledger has no training, so there is no model to describe",
            hint="trainings are noted by mayo_data.training_run",
        )
    known = {**answers.always(), **answers.known(account, training)}
    sections = [
        {
            "title": section["title"], "cite": section["cite"],
            "items": [_item(item, known) for item in section["item"]],
        }
        for section in spec["section"]
    ]  # fmt: skip
    states = Counter(item["state"] for section in sections for item in section["items"])
    about = {"snapshot": account.snapshot, "manifest_sha256": account.manifest_sha256}
    if training is not None:
        body = training["body"]
        about |= {
            "training_id": body["training_id"], "model_digest": body["model_digest"], "name": line(body["name"]),
        }  # fmt: skip
    return {
        "card": name, "title": spec["title"], "cite": spec["cite"], "about": about,
        "counts": {state: states.get(state, 0) for state in ("filled", "partly", "blank")}, "sections": sections,
    }  # fmt: skip


def text(cards: Sequence[Json]) -> str:
    """Return cards as one Markdown document.

    Args:
        cards: What `card` returned; the first one gives the title.
    """
    about = cards[0]["about"]
    title = " · ".join(one["title"] for one in cards)
    lines = [f"# {title}{': ' + markdown(about['name']) if about.get('name') else ''}", ""]
    lines += [f"* {key.replace('_', ' ')}: {markdown(value)}" for key, value in sorted(about.items()) if key != "name"]
    lines += ["", "What the records say is filled in, with its source. What they do not say is marked, for people.", ""]
    for one in cards:
        counts = one["counts"]
        if len(cards) > 1:
            lines += [f"## {one['title']}", ""]
        lines += [f"{one['cite']}.", ""]
        lines += [f"Items: {counts['filled']} filled, {counts['partly']} in part, {counts['blank']} blank.", ""]
        for section in one["sections"]:
            lines += [f"### {section['title']} · {section['cite']}", ""]
            for item in section["items"]:
                lines += _lines(item)
    return "\n".join(lines).rstrip() + "\n"


def _item(item: Json, known: Mapping[str, Known]) -> Json:
    found = [known[key] for key in item.get("known", ()) if key in known]
    state = "blank" if not found else "partly" if item.get("part") or any(one.part for one in found) else "filled"
    return {
        "id": item["id"], "cite": item["cite"], "question": item["ask"], "state": state,
        "answer": " ".join(one.text for one in found) or None, "sources": sorted({one.source for one in found}),
    }  # fmt: skip


def _lines(item: Json) -> list[str]:
    place = item["id"] if item["id"] == item["cite"] else f"{item['id']}, {item['cite']}"
    made = [f"#### {item['question']}", "", f"`{place}`", ""]
    if item["answer"]:
        sources = ", ".join(_SOURCES[one] for one in item["sources"])
        made += [f"{markdown(item['answer'], 20_000)} *Source: {sources}.*", ""]
    if item["state"] != "filled":
        made += [_MARK + (" what the records cannot say" if item["answer"] else ""), ""]
    return made
