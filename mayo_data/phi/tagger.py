"""The PHI model as a spaCy pipeline: a tokenizer of ours and one component, `phi_tagger`.

Importing this module makes both known to spaCy, so that `spacy.load` reads a model folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import spacy
from spacy.language import Language
from spacy.tokens import Doc, Span, SpanGroup
from spacy.util import minibatch
from spacy.vocab import Vocab

from mayo_data.phi.decode import Found, decode
from mayo_data.phi.network import Floats, Network
from mayo_data.phi.tokens import TOKEN, Tokens

SPANS = "phi"  # the key of Doc.spans


class PhiTokenizer:
    """Cuts text as the network does, with white space as tokens of its own, as spaCy wants it.

    Args:
        vocab: The vocabulary of the pipeline.
    """

    def __init__(self, vocab: Vocab) -> None:
        self.vocab = vocab

    def __call__(self, text: str) -> Doc:
        """Return the text as a Doc that can give it back."""
        words: list[str] = []
        spaces: list[bool] = []
        end = 0
        for match in TOKEN.finditer(text):
            start = match.start()
            if start > end:
                gap = text[end:start]
                if gap[0] == " " and words:
                    spaces[-1] = True
                    gap = gap[1:]
                if gap:
                    words.append(gap)
                    spaces.append(False)
            words.append(match.group())
            spaces.append(False)
            end = match.end()
        rest = text[end:]
        if rest[:1] == " " and words:
            spaces[-1] = True
            rest = rest[1:]
        if rest:
            words.append(rest)
            spaces.append(False)
        return Doc(self.vocab, words, spaces)

    def to_disk(self, path: Path, **_: Any) -> None:
        """Nothing to write: the rules are code."""

    def from_disk(self, path: Path, **_: Any) -> PhiTokenizer:
        """Nothing to read."""
        return self

    def to_bytes(self, **_: Any) -> bytes:
        """Nothing to write."""
        return b""

    def from_bytes(self, data: bytes, **_: Any) -> PhiTokenizer:
        """Nothing to read."""
        return self


@spacy.registry.tokenizers("mayo_data.PhiTokenizer.v1")  # type: ignore[untyped-decorator]
def _tokenizer() -> Any:
    return lambda nlp: PhiTokenizer(nlp.vocab)


class PhiTagger:
    """Marks PHI: `doc.spans["phi"]` with scores in its `attrs`, and `doc.ents`.

    Args:
        threshold: From which probability on a token is PHI.
        network: The network; read from the model's folder otherwise.
    """

    def __init__(self, threshold: float, network: Network | None = None) -> None:
        self.threshold = threshold
        self.network = network

    @property
    def labels(self) -> tuple[str, ...]:
        """The kinds that it knows."""
        return () if self.network is None else tuple(label[2:] for label in self.network.shape.labels[1::2])

    def __call__(self, doc: Doc) -> Doc:
        """Mark one document."""
        return next(self.pipe([doc]))

    def pipe(self, stream: Iterable[Doc], batch_size: int = 64) -> Iterator[Doc]:
        """Mark documents.

        Args:
            stream: The documents.
            batch_size: How many are taken at once.
        """
        for docs in minibatch(stream, batch_size):
            for doc, found in zip(docs, self.find([doc.text for doc in docs]), strict=True):
                words = [token.i for token in doc if not token.is_space]
                spans = [
                    Span(doc, words[f.first], words[f.last] + 1, label=f.kind)
                    for f in found
                ]  # fmt: skip
                group = SpanGroup(doc, name=SPANS, attrs={"scores": [f.score for f in found]}, spans=spans)
                doc.spans[SPANS] = group
                doc.set_ents(spans)
                yield doc

    def find(self, texts: Sequence[str]) -> Iterator[list[Found]]:
        """Yield what is found in each text, in tokens."""
        for _, found in self.read(texts):
            yield found

    def read(self, texts: Sequence[str], threshold: float | None = None) -> Iterator[tuple[Tokens, list[Found]]]:
        """Yield the tokens of each text and what is found in it, without a Doc.

        Args:
            texts: Some texts.
            threshold: Another than the component's.

        Raises:
            ValueError: The component has no network.
        """
        least = self.threshold if threshold is None else threshold
        for tokens, chances in self.chances(texts):
            yield tokens, decode(tokens, chances, self.network.shape.labels, least)  # type: ignore[union-attr]

    def chances(self, texts: Sequence[str]) -> Iterator[tuple[Tokens, Floats]]:
        """Yield the tokens of each text and the probability of each label for each.

        Args:
            texts: Some texts.

        Raises:
            ValueError: The component has no network.
        """
        if self.network is None:
            raise ValueError("the PHI tagger holds no network: load the pipeline from a model folder")
        yield from self.network.read(texts)

    def to_disk(self, path: Path, *, exclude: Sequence[str] = ()) -> None:
        """Write the network.

        Args:
            path: The component's folder.
            exclude: Not used.
        """
        path.mkdir(parents=True, exist_ok=True)
        if self.network is not None:
            self.network.save(path)

    def from_disk(self, path: Path, *, exclude: Sequence[str] = ()) -> PhiTagger:
        """Read the network.

        Args:
            path: The component's folder.
            exclude: Not used.
        """
        self.network = Network.load(path)
        return self


@Language.factory("phi_tagger", default_config={"threshold": 0.5}, assigns=["doc.ents", "doc.spans"])  # type: ignore[untyped-decorator]
def _phi_tagger(nlp: Language, name: str, threshold: float) -> PhiTagger:
    return PhiTagger(threshold)


def pipeline(network: Network, threshold: float) -> Language:
    """Return a spaCy pipeline around a network.

    Args:
        network: The trained network.
        threshold: From which probability on a token is PHI.
    """
    nlp = spacy.blank("en", config={"nlp": {"tokenizer": {"@tokenizers": "mayo_data.PhiTokenizer.v1"}}})
    tagger: PhiTagger = nlp.add_pipe("phi_tagger", config={"threshold": threshold})
    tagger.network = network
    return nlp
