"""Words cut into the pieces of a BERT vocabulary."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mayo_data.phi.wordpiece import WordPiece

PIECES = ["[UNK]", "un", "##aff", "##able", "hara", "o", "'", "well", "##ness", "語", "3", "##4", "/", "a", "##a"]


@pytest.fixture(scope="module")
def cutter(tmp_path_factory: pytest.TempPathFactory) -> WordPiece:
    path: Path = tmp_path_factory.mktemp("pieces") / "vocab.txt"
    path.write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    return WordPiece(path)


@pytest.mark.parametrize(
    ("word", "pieces"),
    [
        ("unaffable", ["un", "##aff", "##able"]),
        ("WELLNESS", ["well", "##ness"]),
        ("O'Hára", ["o", "'", "hara"]),
        ("34/3", ["3", "##4", "/", "3"]),
        ("語well", ["語", "well"]),
        ("wellx", ["[UNK]"]),
        ("well-x", ["well", "[UNK]", "[UNK]"]),
        ("a" * 100, ["a", *["##a"] * 99]),
        ("a" * 101, ["[UNK]"]),
        ("\u200b", []),
        ("", []),
    ],
)
def test_the_longest_piece_first(cutter: WordPiece, word: str, pieces: list[str]) -> None:
    assert [PIECES[number] for number in cutter.cut(word)] == pieces


@given(st.text(max_size=30))
def test_any_word_can_be_cut(cutter: WordPiece, word: str) -> None:
    assert all(0 <= number < len(PIECES) for number in cutter.cut(word))


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20))
def test_equal_to_the_tokenizer_of_the_encoder(cutter: WordPiece, word: str) -> None:
    tokenizers = pytest.importorskip("tokenizers", reason="compared where it is installed")
    made = tokenizers.Tokenizer(
        tokenizers.models.WordPiece({piece: at for at, piece in enumerate(PIECES)}, unk_token="[UNK]")
    )
    made.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    assert cutter.cut(word) == made.encode(word, add_special_tokens=False).ids
