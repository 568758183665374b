"""The PHI model as a recognizer: the project's own, or any spaCy pipeline of a site.

The model is loaded once a process, when the first text is read. Ours needs numpy alone to be read.
"""

from __future__ import annotations

import configparser
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mayo_data import assets
from mayo_data.errors import ConfigError
from mayo_data.phi.known import Known
from mayo_data.phi.reading import Reading
from mayo_data.phi.spans import families
from mayo_data.types import PhiSpan

if TYPE_CHECKING:
    from mayo_data.phi.network import Floats, Network

# What a model calls a thing to our category: our model's kinds first, then those of common English pipelines.
# Where a place or an organisation stays open, the one that is replaced most fully is taken.
KINDS: dict[str, str] = {
    "NAME": "PERSON", "DATE": "DATE", "AGE": "AGE90", "STREET": "STREET", "CITY": "CITY", "COUNTY": "COUNTY",
    "ZIP": "ZIP", "HOSPITAL": "HOSPITAL", "ORG": "ORG", "PHONE": "PHONE", "NET": "URL", "ID": "OTHERID",
    "ROOM": "ROOM", "USERNAME": "USERNAME",
    "PER": "PERSON", "DOCTOR": "STAFF", "GPE": "CITY", "LOC": "CITY", "LOCATION": "CITY",
    "FAC": "HOSPITAL", "ORGANIZATION": "ORG", "AGE_OVER_89": "AGE90", "EMAIL": "EMAIL", "MEDICALRECORD": "MRN",
}  # fmt: skip
_COMPONENT = "phi_tagger"  # the folder of our component in a pipeline
_WINDOW = 16_000  # characters
_YEAR = re.compile(r"(?:19|20)\d\d")
_SSN = re.compile(r"[\dXx*]{3}-[\dXx*]{2}-\d{4}")
_NET = re.compile(r"[\d.:a-fA-F/]+")
_PLAIN_SCORE = 0.6  # of a span of a pipeline that gives no scores


@cache
def _load(path: str) -> Any:
    import spacy

    import mayo_data.phi.tagger  # noqa: F401 - makes our tokenizer and component known to spaCy

    return spacy.load(path)


@cache
def _ours(path: str) -> tuple[Network, float] | None:
    """Return network and threshold of a pipeline that is ours: it is read without spaCy, which takes a second."""
    folder = Path(path)
    if not (folder / _COMPONENT / "network.json").exists():
        return None
    from mayo_data.phi.network import Network

    settings = configparser.ConfigParser(interpolation=None)
    settings.read(folder / "config.cfg", encoding="utf-8")
    return Network.load(folder / _COMPONENT), settings.getfloat(f"components.{_COMPONENT}", "threshold", fallback=0.5)


@cache
def _digest(path: str) -> str:
    """Return a digest of our network; another version of it is another detector."""
    network = Path(path) / _COMPONENT / "network.npz"
    return hashlib.sha256(network.read_bytes()).hexdigest()[:12] if network.exists() else "-"


class ModelRecognizer:
    """Finds PHI by a trained model, for `TextScrubber(recognizers=...)`.

    Args:
        model: Folder or package name of a spaCy pipeline with named entities; the project's own by default.
        threshold: From which probability on a token is PHI, 0 to 1: lower finds more and keeps less. The model's own
            by default; only the project's model has one.
        categories: The model's entity names to our categories, beside `KINDS`. A name in neither is not PHI.

    Raises:
        FileNotFoundError: The installation has no model.

    >>> recognizer = ModelRecognizer()
    >>> [span.category for span in recognizer.spans("Seen by Dr. Ilse Brandt.", Known((), 0, 0))]
    ['PERSON']
    """

    def __init__(
        self,
        model: str | Path | None = None,
        threshold: float | None = None,
        categories: Mapping[str, str] | None = None,
    ) -> None:
        self._path = str(assets.path("schemas", "phi", "model") if model is None else model)
        self._threshold = threshold
        own = families()
        self._categories = {**{name: name for name in own}, **KINDS, **(categories or {})}
        # What the fingerprint of a scrubber sees: another model or threshold is another detector.
        self.name = f"model:{'own' if model is None else Path(self._path).name}:{_digest(self._path)}:{threshold}"

    def spans(self, text: str, known: Known) -> Iterable[PhiSpan]:
        """Return what the model finds in a text.

        Args:
            text: The text.
            known: Not looked at.
        """
        return self.batch([text])[0]

    def batch(self, texts: Sequence[str]) -> list[list[PhiSpan]]:
        """Return what the model finds in each of some texts; many short ones cost less together.

        Args:
            texts: The texts.
        """
        return [reading.spans for reading in self.readings(texts)]

    def readings(self, texts: Sequence[str]) -> list[Reading]:
        """Return what the model finds in each of some texts, and how likely every other piece is to be PHI.

        Args:
            texts: The texts.
        """
        windows = [(number, start, end) for number, text in enumerate(texts) for start, end in _windows(text)]
        pieces = [texts[number][start:end] for number, start, end in windows]
        found = [Reading([], [], []) for _ in texts]
        for (number, offset, _), (spans, starts, chances) in zip(windows, self._read(pieces), strict=True):
            text, reading = texts[number], found[number]
            for start, end, kind, score in spans:
                category = self._category(kind, text[start + offset : end + offset])
                if category:
                    reading.spans.append(PhiSpan(start + offset, end + offset, category, "model", score))
            reading.starts.extend([start + offset for start in starts] if offset else starts)  # type: ignore[attr-defined]
            reading.chances.extend(chances)  # type: ignore[attr-defined]
        return found

    def _read(
        self, pieces: list[str]
    ) -> Iterator[tuple[list[tuple[int, int, str, float]], Sequence[int], Sequence[float]]]:
        ours = _ours(self._path)
        if ours is None:
            for doc in _load(self._path).pipe(pieces):
                yield [(ent.start_char, ent.end_char, ent.label_, _PLAIN_SCORE) for ent in doc.ents], (), ()
            return
        from mayo_data.phi.decode import decode

        network, least = ours
        labels = network.shape.labels
        least = least if self._threshold is None else self._threshold
        for tokens, chances in network.read(pieces):
            starts, words = tokens.starts, tokens.words
            found = decode(tokens, chances, labels, least)
            # A pattern that is sure of the category outranks the model; a mere guess does not.
            spans = [
                (starts[f.first], starts[f.last] + len(words[f.last]), f.kind, round(0.3 + f.score / 2, 3))
                for f in found
            ]
            yield spans, starts, (1 - chances[:, 0]).tolist()

    def chances(self, text: str, labels: Sequence[str]) -> Floats:
        """Return the probability of each label for each token of a text, for a model that works beside this one.

        Args:
            text: The text.
            labels: The labels that the other model knows.

        Raises:
            ConfigError: The model is none of the project's, or knows other labels.
        """
        ours = _ours(self._path)
        if ours is None or list(ours[0].shape.labels) != list(labels):
            raise ConfigError("the network beside the transformer knows other kinds", hint="train both anew")
        ((_, found),) = ours[0].read([text])
        return found

    def _category(self, kind: str, value: str) -> str | None:
        category = self._categories.get(kind)
        if category == "DATE" and _YEAR.fullmatch(value):
            return "YEAR"
        if category == "AGE90" and value.isdecimal() and int(value[:4]) < 90:
            return None
        if kind == "NET":
            return "EMAIL" if "@" in value else "IP" if _NET.fullmatch(value) else "URL"
        if kind == "ID" and _SSN.fullmatch(value):
            return "SSN"
        return category


def _windows(text: str) -> Iterator[tuple[int, int]]:
    """Cut a long text at the ends of lines, or at spaces where there are none."""
    start = 0
    while len(text) - start > _WINDOW:
        end = text.rfind("\n", start + _WINDOW // 2, start + _WINDOW) + 1
        end = end or text.rfind(" ", start + _WINDOW // 2, start + _WINDOW) + 1
        end = end or start + _WINDOW
        yield start, end
        start = end
    if start < len(text):
        yield start, len(text)
