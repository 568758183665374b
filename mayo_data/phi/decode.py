"""From the probabilities of tokens to pieces of PHI."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mayo_data.phi.network import Floats
from mayo_data.phi.tokens import Tokens

_BESIDE = 0.4  # of the threshold: enough for a token beside a sure one


class Found(NamedTuple):
    """PHI in tokens.

    Attributes:
        first: First token.
        last: Last token.
        kind: What the network calls it.
        score: Probability that it is PHI of any kind.
    """

    first: int
    last: int
    kind: str
    score: float


def decode(tokens: Tokens, chances: Floats, labels: Sequence[str], threshold: float) -> list[Found]:
    """Return the runs of tokens that are PHI.

    A token is PHI where the chances of all kinds together reach the threshold: which kind may stay open. A mark
    between two tokens of one run, with no space around it, belongs to the run.

    A doubtful token beside a sure one belongs to it too: half a name is no gain.

    Args:
        tokens: The tokens.
        chances: The probability of each label for each token.
        labels: `O`, then `B-` and `I-` of each kind.
        threshold: 0 to 1.
    """
    phi = 1 - chances[:, 0]
    hits = np.flatnonzero(phi >= threshold * _BESIDE)
    if not len(hits):
        return []
    kinds = chances[:, 1::2] + chances[:, 2::2]
    best = kinds.argmax(1)
    found: list[Found] = []
    words, starts = tokens.words, tokens.starts
    for at in hits.tolist():
        kind = int(best[at])
        score = float(phi[at])
        name = labels[1 + 2 * kind][2:]
        if found and (found[-1].kind == name or min(score, found[-1].score) < threshold):
            last = found[-1].last
            begins = chances[at, 1 + 2 * kind] > chances[at, 2 + 2 * kind] and found[-1].kind == name
            near = last == at - 1 and (score >= threshold or starts[at] - starts[last] - len(words[last]) < 2)
            gap = (
                last == at - 2 and not words[at - 1][0].isalnum() and starts[at] - starts[last] - len(words[last]) == 1
            )
            if (near and not begins) or (gap and found[-1].kind == name):
                surer = found[-1].kind if found[-1].score >= score else name
                found[-1] = found[-1]._replace(last=at, score=max(found[-1].score, score), kind=surer)
                continue
        found.append(Found(at, at, name, score))
    return [one for one in found if one.score >= threshold]
