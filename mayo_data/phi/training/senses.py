"""Groups everyday words by sense: what a word that no template holds is like.

`schemas/phi/slots/senses.toml` is made once, from the word vectors of a small public encoder (all-MiniLM-L6-v2, MIT):
`python -m mayo_data.phi.training.senses FOLDER`, where FOLDER holds its `vocab.txt` and `model.safetensors`. Only the
groups are kept, no vector is. Training reads the file; running needs neither.
"""

from __future__ import annotations

import argparse
import json
import re
import struct
import textwrap
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mayo_data import assets
from mayo_data.phi.tokens import SENSES

FINE, COARSE = 400, 48
_ROUNDS = 25
_WORD = re.compile(r"[a-z]{2,}")


def marks() -> dict[str, int]:
    """Return each word's groups, as a lexicon entry holds them: the fine one from bit 20, the coarse one from bit 30.

    >>> marks()["monday"] == marks()["tuesday"]
    True
    """
    table = assets.toml("schemas", "phi", "slots", "senses.toml")
    coarse: list[int] = table["coarse"]
    return {
        word: (coarse[at] + 1) << (SENSES + 10) | (at + 1) << SENSES
        for at, words in enumerate(table["groups"])
        for word in words.split()
    }


def _vectors(folder: Path) -> tuple[list[str], npt.NDArray[np.float32]]:
    vocabulary = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")
    with (folder / "model.safetensors").open("rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
        about = next(value for name, value in header.items() if name.endswith("word_embeddings.weight"))
        start, end = about["data_offsets"]
        file.seek(8 + size + start)
        kind = {"F32": np.float32, "F16": np.float16}[about["dtype"]]
        vectors = np.frombuffer(file.read(end - start), dtype=kind).reshape(about["shape"]).astype(np.float32)
    kept = [at for at, word in enumerate(vocabulary) if _WORD.fullmatch(word)]
    found = vectors[kept]
    found = found - found.mean(0)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return [vocabulary[at] for at in kept], found


def _grouped(
    vectors: npt.NDArray[np.float32], groups: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Group directions by k-means: each vector to the nearest of `groups` centres."""
    centres = vectors[rng.choice(len(vectors), groups, replace=False)].copy()
    nearest = np.zeros(len(vectors), np.int64)
    for _ in range(_ROUNDS):
        nearest = (vectors @ centres.T).argmax(1)
        for group in range(groups):
            members = vectors[nearest == group]
            centre = members.mean(0) if len(members) else vectors[rng.integers(len(vectors))]
            centres[group] = centre / (np.linalg.norm(centre) + 1e-9)
    return nearest, centres


def make(folder: Path, out: Path, seed: int = 1) -> None:
    """Write the groups.

    Args:
        folder: Of the encoder.
        out: The TOML file.
        seed: For the first centres.
    """
    rng = np.random.default_rng(seed)
    words, vectors = _vectors(folder)
    fine, centres = _grouped(vectors, FINE, rng)
    coarse, _ = _grouped(centres, COARSE, rng)
    lines = [
        "# Everyday words in groups of like sense, made by `python -m mayo_data.phi.training.senses` from the word",
        "# vectors of all-MiniLM-L6-v2 (MIT). `coarse` says of each group which larger one it belongs to.",
        *textwrap.wrap(f"coarse = [{', '.join(map(str, coarse.tolist()))}]", 118),
        "groups = [",
    ]
    for group in range(FINE):
        members = " ".join(word for word, at in zip(words, fine.tolist(), strict=True) if at == group)
        lines += ['"""', *textwrap.wrap(members, 118), '""",']
    out.write_text("\n".join([*lines, "]", ""]), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path("schemas/phi/slots/senses.toml"))
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    make(asked.folder, asked.out, asked.seed)
