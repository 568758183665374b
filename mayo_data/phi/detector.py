"""The detector: known identifiers, patterns, the trained model and document consistency, merged into one answer.

It finds; `mayo_data.phi.text` replaces. Neither Presidio nor spaCy is loaded until the model is asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import NamedTuple, Protocol

from mayo_data.phi import facilities, patterns, sieve
from mayo_data.phi.gazetteer import Gazetteer
from mayo_data.phi.known import Known
from mayo_data.phi.reading import Model, Reading
from mayo_data.phi.record import Record, known_from
from mayo_data.phi.spans import families, merge
from mayo_data.phi.words import LETTERS, common, eponyms, fold, guard, visible
from mayo_data.types import PhiSpan

KEPT = frozenset({"YEAR", "STATE", "COUNTRY"})  # found only where the policy wants them found

# Recognizers that need the words of a sentence around what they find.
_GUESSES = (
    "patterns.name.by", "patterns.name.list", "patterns.name.alone", "patterns.hospital", "patterns.org",
    "patterns.initials", "patterns.city", "patterns.id.mixed", "patterns.room.", "patterns.user.did",
    "patterns.date.hyphen", "patterns.date.roman", "patterns.street.",
)  # fmt: skip
# Recognizers whose spans the model may refuse: they guess from words nearby.
_REFUSABLE = (
    "patterns.name.", "patterns.hospital", "patterns.org", "patterns.initials", "patterns.city",
    "patterns.room.ward", "patterns.room.wing", "patterns.room.form",
    "patterns.date.partial", "patterns.date.month", "patterns.date.weekday", "patterns.date.season", "patterns.hl7",
    "patterns.date.hyphen", "patterns.id.mixed", "patterns.id.bare", "patterns.label.loose", "patterns.street.",
    "patterns.triple", "patterns.phone.form", "patterns.pager.form", "patterns.plate", "patterns.handle",
    "patterns.age.sex", "patterns.user.did",
)  # fmt: skip
_REFUSED = 0.1  # a guess in which the model sees less PHI than this is refused
_WEAK = ("patterns.name.alone", "patterns.id.bare")  # the weakest need more
_WEAKLY_REFUSED = 0.3
_SURE = 0.7  # a name found with this score is found everywhere in its document
_NOBODY = Known((), 0, 0)
_MEMORY = 1_000_000  # characters of texts remembered
_LONG = 20_000  # a text longer than this hardly comes twice


class _Read(NamedTuple):
    """A text as it is read for anybody: without invisible characters, and what patterns and model find in it."""

    clean: str
    offsets: list[int] | None
    folded: str
    spans: list[PhiSpan]


class Recognizer(Protocol):
    """What a site adds: anything with a name that yields spans. See `phi.presidio.FromPresidio`."""

    name: str

    def spans(self, text: str, known: Known) -> Iterable[PhiSpan]:
        """Yield the PHI of a text."""
        ...


@cache
def _tags() -> re.Pattern[str]:
    return re.compile(r"\[(?:" + "|".join(families()) + r")\]")


class Detector:
    """Finds PHI in clinical text, offline. One per worker process; picklable.

    The ensemble: what the record says of the subject (`known`), patterns with context, a trained spaCy
    pipeline, the site's own recognizers; then a name found for sure once is found everywhere in the document
    (and in the subject's other documents of the same call), a clinical guard keeps eponyms, drugs and scores,
    and one merge step leaves spans that never overlap and never cut a word.

    Args:
        model: `default` for the shipped models, `fast` for the network alone, None for none, else the path of a
            spaCy pipeline or of a transformer, or a model that is loaded already.
        keep: Categories that are not reported.
        gazetteer: The site's clinicians and facilities.
        recognizers: Further recognizers of the site.

    >>> text = "Ms. Doe was seen on 3/4/2021 for chest pain."
    >>> [(text[s.start : s.end], s.category) for s in Detector(model=None).detect([text])[0]]
    [('Doe', 'PATIENT'), ('3/4/2021', 'DATE')]
    """

    def __init__(
        self,
        model: str | Model | None = "default",
        keep: Iterable[str] = KEPT,
        gazetteer: Gazetteer | None = None,
        recognizers: Sequence[Recognizer] = (),
    ) -> None:
        self.keep = frozenset(keep)
        self._kept = KEPT & self.keep
        self._gazetteer = gazetteer or Gazetteer([])
        self._recognizers = tuple(recognizers)
        self._memory: dict[str, _Read] = {}
        self._remembered = 0  # characters, about
        self._model: Model | None = None
        if model is not None and not isinstance(model, str):
            self._model = model
        elif model is not None:
            from mayo_data.phi.models import load  # numpy and the weights: only where a model is wanted

            self._model = load(model)

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the model and of the site's recognizers: what a fingerprint needs."""
        models = () if self._model is None else (self._model.name,)
        return (*models, *(recognizer.name for recognizer in self._recognizers))

    def detect(
        self,
        texts: Sequence[str],
        known: Sequence[Known | Record | None] | Known | Record | None = None,
        subjects: Sequence[object] | None = None,
    ) -> list[list[PhiSpan]]:
        """Return the PHI of each text: sorted, never overlapping, never half a word.

        Args:
            texts: Any texts; a batch is faster than one call a text.
            known: What the record says: one for all texts, or one a text. See `mayo_data.phi.record`.
            subjects: Who each text is about, any hashable: a name found for sure in one text of a subject is
                found in the others too.

        Raises:
            ConfigError: `known` or `subjects` has another length than `texts`, or a record cannot be read.
        """
        people = known_from(known, len(texts), subjects)
        read = self._read(texts)
        found = [self._found(one, person) for one, person in zip(read, people, strict=True)]
        sure = [names(one.clean, one.folded, spans) for one, spans in zip(read, found, strict=True)]
        if subjects is not None:
            shared: dict[object, dict[str, str]] = {}
            for subject, words in zip(subjects, sure, strict=True):
                shared.setdefault(subject, {}).update(words)
            sure = [{**shared[subject], **words} for subject, words in zip(subjects, sure, strict=True)]
        return [self._settle(*each) for each in zip(read, found, sure, strict=True)]

    def find(self, text: str, known: Known = _NOBODY, *, label: bool = False) -> list[PhiSpan]:
        """Return the PHI of one text.

        Args:
            text: Any text.
            known: What the record says of its subject.
            label: A label has no sentence around its words, so guesses at names and places from the words
                nearby are left out: known identifiers, the site's directory and unmistakable forms remain.
        """
        read = self._label(text) if label else self._read([text])[0]
        found = self._found(read, known)
        return self._settle(read, found, names(read.clean, read.folded, found))

    def __getstate__(self) -> dict[str, object]:
        """Leave out the texts read before: they are PHI, and another worker reads others."""
        return {**self.__dict__, "_memory": {}, "_remembered": 0}

    def _read(self, texts: Sequence[str]) -> list[_Read]:
        """Read texts without looking at whom they are about; a text that repeats is read once."""
        done: dict[str, _Read] = {}
        new: list[str] = []
        for text in dict.fromkeys(texts):
            before = self._memory.get(text)
            if before is None:
                new.append(text)
            else:
                done[text] = before
        cleaned = [visible(text) for text in new]
        model = self._model
        readings = [Reading([])] * len(new) if model is None else model.readings([clean for clean, _ in cleaned])
        for text, (clean, offsets), reading in zip(new, cleaned, readings, strict=True):
            folded = fold(clean)
            spans = list(self._gazetteer.find(clean, folded))
            spans += _weighed(clean, patterns.find(clean, folded, self._kept), reading)
            spans += sieve.reviewed(clean, folded, reading.spans)
            spans = list(facilities.completed(clean, spans))
            done[text] = _Read(clean, offsets, folded, spans)
            if len(text) <= _LONG:
                if self._remembered > _MEMORY:
                    self._memory.clear()
                    self._remembered = 0
                self._memory[text] = done[text]
                self._remembered += len(text) + 100
        return [done[text] for text in texts]

    def _label(self, text: str) -> _Read:
        clean, offsets = visible(text)
        folded = fold(clean)
        spans = list(self._gazetteer.find(clean, folded))
        spans += (s for s in patterns.find(clean, folded, self._kept) if not s.recognizer.startswith(_GUESSES))
        return _Read(clean, offsets, folded, spans)

    def _found(self, read: _Read, known: Known) -> list[PhiSpan]:
        found = [*known.find(read.clean, read.folded), *read.spans]
        for recognizer in self._recognizers:
            found += recognizer.spans(read.clean, known)
        return found

    def _settle(self, read: _Read, found: list[PhiSpan], words: Mapping[str, str]) -> list[PhiSpan]:
        clean, offsets, folded, _ = read
        if words:
            found = found + echo(clean, folded, words)
        if not found:
            return []
        spans = [span for span in merge(found, clean) if span.category not in self.keep]
        if "[" in clean:
            tags = [match.span() for match in _tags().finditer(clean)]
            if tags:
                spans = [s for s in spans if not any(s.start < end and start < s.end for start, end in tags)]
        if offsets is not None:
            spans = [s._replace(start=offsets[s.start], end=offsets[s.end - 1] + 1) for s in spans]
        return spans


_INITIALS = re.compile(r"(?:[^\W\d_]\.?[ \t]?){1,3}")


def _weighed(clean: str, guessed: Iterable[PhiSpan], model: Reading) -> Iterator[PhiSpan]:
    """Yield what the patterns found, less the guesses, and the ends of guesses, in which the model sees nothing."""
    for span in guessed:
        if model.starts and span.recognizer.startswith(_REFUSABLE):
            least = _WEAKLY_REFUSED if span.recognizer.startswith(_WEAK) else _REFUSED
            start, end = model.trimmed(span.start, span.end, least)
            if start < end:
                # An initial says little by itself, and belongs to the name.
                if _INITIALS.fullmatch(clean, span.start, start):
                    start = span.start
                yield span._replace(start=start, end=end)
        else:
            yield span


def names(text: str, folded: str, found: Iterable[PhiSpan]) -> dict[str, str]:
    """Return the words of names that were found for sure, and whose they are.

    Args:
        text: The text.
        folded: `fold(text)`.
        found: What was found in it.
    """
    family = families()
    words: dict[str, str] = {}
    for span in found:
        if family.get(span.category) == "person" and span.score >= _SURE and span.recognizer != "known":
            for word in LETTERS.findall(folded, span.start, span.end):
                if len(word) > 2 and (word not in guard() or (word in eponyms() and word not in common())):
                    words.setdefault(word, span.category)
    return words


def echo(text: str, folded: str, words: Mapping[str, str]) -> list[PhiSpan]:
    """Return every place of a document where words of names stand.

    Args:
        text: The text.
        folded: `fold(text)`.
        words: See `names`.
    """
    return [
        PhiSpan(match.start(), match.end(), category, "echo", 0.65)
        for match in LETTERS.finditer(folded)
        if (category := words.get(match.group())) is not None
        and text[match.start()].isupper()
        and not (match.group() in guard() and sieve.is_of_medicine(folded, match.end()))
    ]
