"""Withholds small cells of published counts, and enough others that no total gives them away.

Source: CMS Cell Size Suppression Policy (ResDAC): no cell of 1 to 10 people is published, nor any figure from which
such a cell follows by arithmetic. That binds counts and what they leave over alike: 495 of 500 says that 5 lack it.
"""

from __future__ import annotations

from collections.abc import Sequence

SMALLEST = 11  # people in the smallest cell that is shown


def small(count: int, whole: int | None = None, smallest: int = SMALLEST) -> bool:
    """Say whether a count, or what it leaves over of a whole, is a small cell. Nobody is no small cell.

    Args:
        count: People in the cell.
        whole: People that the cell is a part of.
        smallest: People in the smallest cell that may be shown.

    >>> small(0), small(10), small(11), small(495, 500), small(500, 500)
    (False, True, False, True, False)
    """
    return 0 < count < smallest or (whole is not None and 0 < whole - count < smallest)


def withheld(
    counts: Sequence[int],
    wholes: Sequence[int] | None = None,
    *,
    already: Sequence[bool] | None = None,
    total_shown: bool = True,
    smallest: int = SMALLEST,
) -> list[bool]:
    """Return which cells of a column to withhold, so that its total gives none of them away.

    Small cells go first. Whoever knows the total then knows the sum of all that was withheld: so at least two are
    withheld, and their sum is no small cell itself; the next smallest ones are added until both hold.

    Args:
        counts: The cells of one column: people by group, each in one group.
        wholes: People of the group that each cell is a part of, where the cells are parts.
        already: Cells that are withheld for another reason.
        total_shown: Whether the sum of the column is published.
        smallest: People in the smallest cell that may be shown.

    >>> withheld([300, 5, 40])
    [False, True, True]
    >>> withheld([300, 6, 7])
    [False, True, True]
    >>> withheld([300, 40, 50])
    [False, False, False]
    """
    wholes = wholes or [None] * len(counts)  # type: ignore[list-item]
    hidden = [bool(already and already[at]) or small(count, wholes[at], smallest) for at, count in enumerate(counts)]
    if not (total_shown and any(hidden)):
        return hidden
    # An empty cell hides nothing; the smallest of the others costs least.
    spare = sorted((at for at, count in enumerate(counts) if not hidden[at] and count), key=lambda at: counts[at])
    spare += [at for at, count in enumerate(counts) if not hidden[at] and not count]
    while spare and _follows(counts, wholes, hidden, smallest):
        hidden[spare.pop(0)] = True
    return hidden


def _follows(counts: Sequence[int], wholes: Sequence[int | None], hidden: Sequence[bool], smallest: int) -> bool:
    """Whether the sum of what is withheld tells a small cell."""
    taken = [at for at, gone in enumerate(hidden) if gone]
    whole = sum(wholes[at] or 0 for at in taken) if all(wholes[at] is not None for at in taken) else None
    return len(taken) < 2 or small(sum(counts[at] for at in taken), whole, smallest)
