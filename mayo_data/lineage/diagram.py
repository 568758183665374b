"""What a trace or an impact says, as a diagram: boxes in layers, from the source on the left to what came of it.

The same diagram becomes Graphviz text (`dot`) and the picture in an HTML page (`mayo_data.lineage.page`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mayo_data.types import Json

_MOST = 5  # boxes of a layer; the rest is one box that counts them


@dataclass(frozen=True)
class Box:
    """One thing of a diagram.

    Attributes:
        title: What it is.
        lines: What is said of it, a few words each.
        main: Whether it is what was asked for.

    >>> Box("Event", ("3.1.0",)).main
    False
    """

    title: str
    lines: tuple[str, ...]
    main: bool = False


Layers = tuple[tuple[Box, ...], ...]


def layers(found: Json) -> Layers:
    """Return what a trace or an impact says, as boxes in layers; each layer leads to the next.

    Args:
        found: What `trace` or `impact` returned.

    >>> [box.title for layer in layers({"kind": "read", "snapshot": "000001", "counts": {"subjects": 2},
    ...     "records": [{"at": "", "body": {}}], "sources": [], "scrubs": [], "trainings": []}) for box in layer]
    ['Snapshot', 'Read']
    """
    made = {"event": _event, "subject": _subject, "impact": _impact}.get(found["kind"], _consumed)(found)
    return tuple(tuple(layer) for layer in made if layer)


def dot(found: Json) -> str:
    """Return the diagram as text for Graphviz: `dot -Tsvg`.

    Args:
        found: What `trace` or `impact` returned.
    """
    lines = ["digraph lineage {", "  rankdir=LR;", '  node [shape=box, style=rounded, fontname="sans-serif"];']
    every = layers(found)
    for number, layer in enumerate(every):
        for place, box in enumerate(layer):
            label = "\\n".join(_quoted(text) for text in (box.title, *box.lines))
            more = ", penwidth=2" if box.main else ""
            lines.append(f'  n{number}_{place} [label="{label}"{more}];')
    lines += [f"  n{a}_{b} -> n{c}_{d};" for (a, b), (c, d) in edges(every)]
    return "\n".join([*lines, "}"]) + "\n"


def edges(every: Layers) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Yield which box leads to which: layer and place of each.

    >>> list(edges(((Box("a", ()),), (Box("b", ()), Box("c", ())))))
    [((0, 0), (1, 0)), ((0, 0), (1, 1))]
    """
    for number in range(len(every) - 1):
        for one in range(len(every[number])):
            for other in range(len(every[number + 1])):
                yield (number, one), (number + 1, other)


def _quoted(text: str) -> str:
    plain = "".join(letter for letter in text if letter.isprintable())
    return plain.replace("\\", "\\\\").replace('"', '\\"')


def _event(found: Json) -> list[Sequence[Box]]:
    event, source, resource = found["event"], found["source"], found["resource"]
    mapping, scrub = found["mapping"], found["scrub"]
    decided = len(found["decisions"])
    made: list[Sequence[Box]] = []
    if source:
        made.append(
            [
                Box(
                    "Source file",
                    (f"sha256 {short(source['sha256'])}", f"{source['format']}, {count(source['rows'])} rows"),
                )
            ]
        )
    if resource:
        made.append(
            [
                Box(
                    f"Line {count(resource['source_row'])}",
                    (resource["resource_type"], f"key {resource['resource_key']}"),
                )
            ]
        )
    if scrub:
        said = f"{decided} PHI decision{'' if decided == 1 else 's'} in text"
        made.append([Box("Scrub", (scrub["policy"], f"version {scrub['policy_fingerprint']}", said))])
    if mapping:
        made.append(
            [Box("Mapping", (f"{mapping['name']}, section {mapping['section']}", f"version {mapping['fingerprint']}"))]
        )
    made.append([Box("Event", (found["event_id"], event["code"], day(event["time"])), main=True)])
    return made


def _subject(found: Json) -> list[Sequence[Box]]:
    counts = found["counts"]
    lines = (f"{count(counts['events'])} events", f"split {found['split'] or '?'}")
    gone = tuple(sorted({record["kind"] for record in found["records"]}))
    main = Box("Subject", (str(found["subject_id"]), *lines, *gone), main=True)
    return [_sources(found), [_resources(counts)], _scrubs(found), [main]]


def _consumed(found: Json) -> list[Sequence[Box]]:
    """A read, a context or a prediction."""
    kind, counts = found["kind"], found["counts"]
    made: list[Sequence[Box]] = [_sources(found)]
    if kind == "read":
        made.append([Box("Snapshot", (found["snapshot"], *_policies(found)))])
    else:
        made.append([_resources(counts)] if counts.get("lines") else [])
        lost = int(counts.get("events") or 0) - int(counts["found"])
        said = [f"{count(counts['found'])} of subject", str(found["subject_id"])]
        made.append([Box("Events", (*said, *([f"{count(lost)} are gone"] if lost > 0 else [])))])
    record = found["records"][0]
    if kind == "prediction":
        context = [Box("Context", (short(found["prediction"].get("lineage_id", "?")), f"snapshot {found['snapshot']}"))]
        models = [Box("Model", (one["name"], short(one["model_digest"]))) for one in found["trainings"]]
        made += [context, models or [Box("Model", (short(found["prediction"].get("model_digest", "?")),))]]
        made.append([Box("Prediction", (short(found["prediction_id"]), day(record["at"])), main=True)])
        return made
    said = [short(found.get("lineage_id", "?")), f"{count(counts.get('subjects'))} subjects"]
    made.append([Box(kind.capitalize(), tuple(said if kind == "read" else said[:1]), main=True)])
    ends = [Box("Training", (one["name"], one["training_id"])) for one in found["trainings"]]
    ends += [Box("Prediction", (short(one),)) for one in found.get("predictions", ())]
    made.append(_few(ends, "more"))
    return made


def _impact(found: Json) -> list[Sequence[Box]]:
    ((kind, value),) = found["of"].items()
    counts = found["counts"]
    snapshots = [Box(f"Snapshot {one['snapshot']}", (f"{count(one['events'])} events",)) for one in found["snapshots"]]
    reads = [
        Box("Read", (short(one["lineage_id"]), str(one["consumer"]), f"split {one['split'] or 'all'}"))
        for one in found["reads"]
    ]
    models = [
        Box("Model", (str(one["name"]), one["training_id"], *([] if one["certain"] else ["perhaps"])))
        for one in found["trainings"]
    ]
    told = [f"{count(counts['inferences'])} on these events", f"{count(counts['by_models'])} by the models"]
    ends = [Box("Predictions", tuple(told))] if counts["inferences"] or counts["by_models"] else []
    main = Box(kind.capitalize(), (short(str(value)),), main=True)
    return [
        [main],
        _few(snapshots[::-1], "more snapshots"),
        _few(reads, "more reads"),
        _few(models, "more models"),
        ends,
    ]


def _sources(found: Json) -> list[Box]:
    boxes = [
        Box("Source file", (f"sha256 {short(one['sha256'])}", f"{count(one.get('lines', one['rows']))} lines"))
        for one in sorted(found["sources"], key=lambda one: -int(one.get("lines", one["rows"])))
    ]
    return _few(boxes, "more files")


def _resources(counts: Json) -> Box:
    types = [f"{count(number)} {name}" for name, number in counts["types"].items()]
    rest = [f"{len(types) - _MOST} types more"] if len(types) > _MOST else []
    return Box(f"{count(counts['lines'])} lines", (*types[:_MOST], *rest))


def _scrubs(found: Json) -> list[Box]:
    decided = sum(found["counts"]["decisions"].values())
    return [
        Box("Scrub", (one["policy"], f"version {one['policy_fingerprint']}", f"{count(decided)} PHI decisions in text"))
        for one in found["scrubs"]
    ]


def _policies(found: Json) -> list[str]:
    return sorted({f"policy {one['policy']}" for one in found["scrubs"]})


def _few(boxes: list[Box], rest: str) -> list[Box]:
    if len(boxes) <= _MOST:
        return boxes
    return [*boxes[: _MOST - 1], Box(f"{count(len(boxes) - _MOST + 1)} {rest}", ())]


def short(text: str) -> str:
    """Return the beginning of a digest or an id.

    >>> short("a" * 64), short("7")
    ('aaaaaaaaaa…', '7')
    """
    return text if len(text) <= 20 else text[:10] + "…"


def day(moment: str | None) -> str:
    """Return a time to the minute.

    >>> day("2020-01-01T10:20:30"), day(None)
    ('2020-01-01 10:20', 'no time')
    """
    return moment[:16].replace("T", " ") if moment else "no time"


def count(number: int | None) -> str:
    """Return a number as a person reads it.

    >>> count(12345)
    '12,345'
    """
    return "?" if number is None else f"{number:,}"
