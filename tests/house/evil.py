"""Finds regular expressions that a hostile text holds up: `python tests/house/evil.py` prints them as JSON.

Every expression that the library compiles, at import or while it reads a text, is run over texts made of what it
looks for: its own letters and classes, repeated twenty thousand characters long, with an end that cannot match. An
expression that backtracks needs seconds for these; a sound one needs thousandths.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
import signal
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

import mayo_data

LENGTH = 20_000
LIMIT = 0.5  # processor seconds for one search
_ROOT = str(Path(mayo_data.__file__).parent)
_EXAMPLES = {
    "CATEGORY_DIGIT": "7", "CATEGORY_SPACE": " ", "CATEGORY_WORD": "w", "CATEGORY_NOT_DIGIT": "x",
    "CATEGORY_NOT_SPACE": "x", "CATEGORY_NOT_WORD": "-",
}  # fmt: skip

found: dict[tuple[Any, int], str] = {}


def watch() -> None:
    """Note every expression that code of the library compiles, and where."""
    real = re._compile  # type: ignore[attr-defined]

    def noting(pattern: Any, flags: Any) -> Any:
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_code.co_filename == re.__file__:
            frame = frame.f_back
        if frame is not None and frame.f_code.co_filename.startswith(_ROOT):
            made = real(pattern, flags)
            where = f"{Path(frame.f_code.co_filename).relative_to(_ROOT)}:{frame.f_lineno}"
            found.setdefault((made.pattern, made.flags), where)
        return real(pattern, flags)

    re._compile = noting  # type: ignore[attr-defined]


def everything() -> None:
    """Import all modules, and read a text with each part of the detector."""
    for module in pkgutil.walk_packages(mayo_data.__path__, "mayo_data."):
        if module.name.endswith("__main__") or ".training" in module.name:
            continue
        try:
            importlib.import_module(module.name)
        except ImportError:
            continue  # needs an extra that is not installed
    from mayo_data.keys import Secret
    from mayo_data.phi.attachments import text_of
    from mayo_data.phi.known import Known
    from mayo_data.phi.text import Gazetteer, TextScrubber, TextSettings
    from mayo_data.types import Identifier

    known = Known([Identifier("PATIENT", "full", "Ottoline Quimbleford"), Identifier("PHONE", "", "555-0100")], 1, 5)
    scrubber = TextScrubber(TextSettings(), Secret(bytes(32)), Gazetteer([]), model=None)
    for text in (
        "Ms. Quimbleford, 82 years, MRN 123456, seen by Dr. Roe on 3/4/2021 at 5 pm, Room 12, 1 Elm St., Troy, NY 12180.",
        "PATIENT NAME: QUIMBLEFORD, OTTOLINE\nDOB: 1971-03-04\nPhone (518) 555-0100, a@b.org, http://x.org/1, 10.0.0.1",
    ):
        scrubber.scrub(text, known)
        scrubber.label(text, known)
    text_of("text/html", "PHA+YTwvcD4=")
    text_of("text/rtf", "e1xydGYxIGF9")


def atoms(pattern: str, flags: int) -> Iterator[str]:
    """Yield what an expression looks for: its words, and one character of each of its classes."""
    word = ""
    for op, value in _flat(re._parser.parse(pattern, flags & ~re.TEMPLATE)):  # type: ignore[attr-defined]
        if op == "LITERAL":
            word += chr(value)
            continue
        if word:
            yield word
            word = ""
        if op == "IN":
            for kind, inner in value:
                if str(kind) == "LITERAL":
                    yield chr(inner)
                elif str(kind) == "RANGE":
                    yield chr(inner[0])
                elif str(kind) == "CATEGORY":
                    yield _EXAMPLES.get(str(inner), "x")
        elif op in ("NOT_LITERAL", "ANY"):
            yield "x"
    if word:
        yield word


def _flat(tree: Any) -> Iterator[tuple[str, Any]]:
    for op, value in tree:
        name = str(op)
        if name in ("LITERAL", "IN", "NOT_LITERAL", "ANY"):
            yield name, value
            continue
        yield "END", None
        parts = value if isinstance(value, list | tuple) else [value]
        for part in parts:
            if isinstance(part, re._parser.SubPattern):  # type: ignore[attr-defined]
                yield from _flat(part)
            elif isinstance(part, list):
                for inner in part:
                    if isinstance(inner, re._parser.SubPattern):  # type: ignore[attr-defined]
                        yield from _flat(inner)
        yield "END", None


def evil(pattern: Any, flags: int) -> list[Any]:
    """Return texts that an expression may not get past."""
    text = pattern if isinstance(pattern, str) else pattern.decode("latin-1")
    pieces = list(dict.fromkeys(atoms(text, flags if isinstance(pattern, str) else flags | re.ASCII)))
    pieces = sorted(pieces, key=len)[:6]
    bases = {" ", "7", "a", "a ", *pieces, "".join(pieces)[:200] or "a"}
    bases |= {one + other for one, other in pairwise(pieces)}
    made = [(base * (LENGTH // len(base) + 1))[:LENGTH] + "\x00" for base in sorted(bases)]
    if isinstance(pattern, bytes):
        return [one.encode("utf-8", "replace") for one in made]
    return list(made)


def anchored(where: str) -> bool:
    """Return whether the library uses an expression only from the begin of a text: `match`, `fullmatch`."""
    file, _, line = where.partition(":")
    source = (Path(_ROOT) / file).read_text()
    named = re.match(r"\s*(\w+)\b.* = re\.compile\(", "\n".join(source.splitlines()[int(line) - 1 : int(line)]))
    if named is None:
        inline = re.search(r"\bre\.(\w+)\(", source.splitlines()[int(line) - 1])
        return inline is not None and inline[1] in ("match", "fullmatch")
    name = named[1]
    files = [source] if name.startswith("_") else [path.read_text() for path in Path(_ROOT).rglob("*.py")]
    uses = {verb for text in files for verb in re.findall(rf"\b{name}\b(?:\.(\w+))?", text)} - {""}
    bare = sum(len(re.findall(rf"\b{name}\b(?!\.\w+\(|[^\n=]* = re\.compile)", text)) for text in files)
    return uses <= {"match", "fullmatch"} and bare == 0


class TooSlow(BaseException):
    pass


def slow() -> list[dict[str, Any]]:
    """Return the expressions that a text holds up."""

    def ring(number: int, frame: Any) -> None:
        raise TooSlow

    signal.signal(signal.SIGVTALRM, ring)
    offenders = []
    for (pattern, flags), where in sorted(found.items(), key=lambda one: one[1]):
        made = re.compile(pattern, flags)
        worst, text = 0.0, None
        verb = made.match if where[0].isalpha() and ":" in where and anchored(where) else made.search
        for one in evil(pattern, flags):
            began = time.process_time()
            signal.setitimer(signal.ITIMER_VIRTUAL, LIMIT)
            try:
                verb(one)
                spent = time.process_time() - began
            except TooSlow:
                spent = LIMIT
            finally:
                signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            if spent > worst:
                worst, text = spent, one
            if worst >= LIMIT:
                break
        if worst >= LIMIT:
            offenders.append({"where": where, "pattern": str(pattern)[:120], "text": repr(text[:24] if text else "")})
            print(json.dumps(offenders[-1]), file=sys.stderr, flush=True)
    return offenders


def main() -> None:
    """Print what was found."""
    watch()
    everything()
    print(json.dumps({"expressions": len(found), "slow": slow()}, indent=1))


if __name__ == "__main__":
    main()
