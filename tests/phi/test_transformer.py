"""The transformer: windows, spans, what a piece carries, and one trained and run end to end where torch is installed."""

from __future__ import annotations

import json
import os
import pickle
import random
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mayo_data import assets
from mayo_data.errors import ConfigError
from mayo_data.phi.detector import Detector
from mayo_data.phi.model import ModelRecognizer
from mayo_data.phi.transformer import (
    ABOUT,
    GRAPH,
    LOOKS,
    SHAPES,
    SHARE,
    VOCABULARY,
    WIDEST,
    Reader,
    Transformer,
    _around,
    windows,
)

LABELS = ["O", "B-STAFF", "I-STAFF", "B-DATE", "I-DATE"]
NOTE = "Seen by Dr. Roe on 3/4/2021.\nPt of JANE DOE, MRN 0012345; o'hara  well"


@given(st.lists(st.integers(1, WIDEST), max_size=300), st.integers(32, 64), st.integers(0, 4))
def test_every_token_counts_once_and_windows_overlap(sizes: list[int], size: int, edge: int) -> None:
    firsts = [0, *np.cumsum(sizes).tolist()]
    found = list(windows(firsts, size, edge))
    assert [at for w in found for at in range(w.keep, w.stop)] == list(range(len(sizes)))
    for window in found:
        assert window.first <= window.keep < window.stop <= window.last
        assert firsts[window.last] - firsts[window.first] <= size
        # Tokens at the seam have their context: as many pieces as fit without half a token.
        assert window.first == 0 or firsts[window.keep] - firsts[window.first - 1] > edge
        assert window.last == len(sizes) or firsts[window.last] - firsts[window.stop] >= edge


def test_a_missing_model_is_said_without_its_path(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=GRAPH) as error:
        Transformer(tmp_path / "Jane Doe")
    assert "Jane" not in str(error.value)


def test_a_missing_package_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (GRAPH, VOCABULARY):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / ABOUT).write_text(json.dumps({"labels": LABELS, "digest": "0" * 64}))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match="onnxruntime"):
        Transformer(tmp_path)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder of two layers with random weights, in the form that the real one has."""
    folder = tmp_path_factory.mktemp("encoder")
    letters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *("##" + letter for letter in letters)]
    pieces += ["seen", "by", "dr", "pt", "well"]
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n")
    width, wide = 24, 48
    rng = np.random.default_rng(3)
    weights = {
        "embeddings.word_embeddings.weight": (len(pieces), width),
        "embeddings.position_embeddings.weight": (64, width),
        "embeddings.token_type_embeddings.weight": (2, width),
        "embeddings.LayerNorm": (width,),
    }
    for at in range(2):
        layer = f"encoder.layer.{at}"
        weights |= {f"{layer}.attention.self.{part}": (width, width) for part in ("query", "key", "value")}
        weights |= {
            f"{layer}.attention.output.dense": (width, width),
            f"{layer}.attention.output.LayerNorm": (width,),
            f"{layer}.intermediate.dense": (wide, width),
            f"{layer}.output.dense": (width, wide),
            f"{layer}.output.LayerNorm": (width,),
        }
    tensors: dict[str, np.ndarray] = {}
    for name, size in weights.items():
        if name.endswith(".weight"):
            tensors[name] = rng.normal(0, 0.3, size)
        else:
            tensors[f"{name}.weight"] = np.ones(size) if len(size) == 1 else rng.normal(0, 0.2, size)
            tensors[f"{name}.bias"] = np.zeros(size[0])
    table, raw = {"__metadata__": {"format": "pt"}}, b""
    for name, value in tensors.items():
        data = value.astype("<f4").tobytes()
        table[name] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": [len(raw), len(raw) + len(data)]}
        raw += data
    head = json.dumps(table).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(head)) + head + raw)
    return folder


def test_pieces_know_case_gaps_and_patterns(encoder: Path) -> None:
    reader = Reader(encoder / "vocab.txt")
    pieces = reader.read(NOTE)
    words = pieces.words
    assert words[:5] == ["Seen", "by", "Dr", ".", "Roe"]
    look = {word: pieces.looks[first] for word, first in zip(words, pieces.firsts, strict=False)}
    case, gap = {w: n % 8 for w, n in look.items()}, {w: n // 8 for w, n in look.items()}
    assert len({case[word] for word in ("by", "Roe", "JANE", "3/4/2021", ".")}) == 5
    assert gap["Seen"] == 4
    assert gap["by"] == 1
    assert gap["."] == 0
    assert gap["Pt"] == 3
    assert gap["well"] == 2
    assert reader.read("seen").ids == reader.read("SEEN").ids
    assert reader.read("seen").looks != reader.read("SEEN").looks
    assert max(b - a for a, b in zip(pieces.firsts, pieces.firsts[1:], strict=False)) <= WIDEST


@given(st.text(max_size=80))
def test_any_text_can_be_cut(encoder: Path, text: str) -> None:
    pieces = Reader(encoder / "vocab.txt").read(text)
    assert len(pieces.ids) == len(pieces.looks) == len(pieces.shapes) == pieces.firsts[-1]
    assert all(a < b for a, b in zip(pieces.firsts, pieces.firsts[1:], strict=False))
    assert all(0 <= look < LOOKS for look in pieces.looks)
    assert all(0 <= shape < SHAPES for shape in pieces.shapes)
    assert all(text.startswith(word, start) for word, start in zip(pieces.words, pieces.starts, strict=True))


def test_half_a_surrogate_pair_is_read(encoder: Path) -> None:
    assert len(Reader(encoder / "vocab.txt").read("a\ud83d b").ids) >= 2


def test_rows_of_a_batch_are_padded_and_masked(encoder: Path) -> None:
    from mayo_data.phi.training import transformer as training

    reader = Reader(encoder / "vocab.txt")
    group = list(training.examples([("seen", []), ("seen by dr", [])], reader, training.Settings()))
    ids, looks, shapes, mask = training.pack(group, reader)
    assert mask.tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    assert ids[:, 0].tolist() == [reader.begin] * 2
    assert [ids[0, 2], ids[1, 4]] == [reader.finish] * 2
    assert looks.shape == shapes.shape == ids.shape


def test_the_first_piece_of_a_token_teaches(encoder: Path) -> None:
    from mayo_data.phi.training import transformer as training

    reader = Reader(encoder / "vocab.txt")
    text = "seen by Dr. Roe well"
    (example,) = training.examples([(text, [(12, 15, "STAFF")])], reader, training.Settings())
    (row,) = training.targets([example], 2 + example.pieces.firsts[-1])
    taught = [training.LABELS[n] for n in row if n >= 0]
    assert taught == ["O", "O", "O", "O", "B-NAME", "O"]
    assert row[1 + example.pieces.firsts[4]] == training.LABELS.index("B-NAME")


def test_tensors_are_read_as_they_were_written(encoder: Path) -> None:
    from mayo_data.phi.training.transformer import tensors

    found = tensors(encoder / "model.safetensors")
    assert found["embeddings.position_embeddings.weight"].shape == (64, 24)
    assert (found["embeddings.LayerNorm.weight"] == 1).all()


def test_a_missing_encoder_is_said(tmp_path: Path) -> None:
    from mayo_data.phi.training.transformer import encoder_folder

    with pytest.raises(ConfigError, match="safetensors"):
        encoder_folder(tmp_path)


@pytest.fixture(scope="module")
def trained(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that has learned one thing: what follows `Dr.` is a name."""
    for package in ("torch", "onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="the extra `train` is not installed")
    from mayo_data.phi.training import transformer as training

    def texts():
        rng = random.Random(1)
        while True:
            text, found = "", []
            for _ in range(rng.randint(1, 4)):
                name = rng.choice(("Roe", "Long", "Ames", "Bo", "Hunt"))
                found.append((len(text) + 12, len(text) + 12 + len(name), "STAFF"))
                text += f"seen by Dr. {name} well\n"
            yield text, found

    folder = tmp_path_factory.mktemp("model")
    settings = training.Settings(
        steps=150, window=64, edge=8, pieces=256, layers=2, heads=4, fresh=2e-2, rate=3e-3, forget=0.0
    )
    training.train(texts(), encoder, settings, folder)
    return folder


def test_a_trained_model_finds_in_any_company(trained: Path) -> None:
    model = Transformer(trained)
    long = "seen by Dr. Roe well\n" * 40
    texts = ["seen by Dr. Hunt well", "", "\n", long, "seen by Dr. Ames well"]
    found = model.batch(texts)
    assert [texts[0][s.start : s.end] for s in found[0]] == ["Hunt"]
    assert found[1] == found[2] == []
    assert [long[s.start : s.end] for s in found[3]] == ["Roe"] * 40
    assert found[4] == model.batch([texts[4]])[0]
    assert {s.category for s in found[3]} == {"PERSON"}
    assert all(s.recognizer == "model" and 0 < s.score <= 1 for s in found[3])


def test_every_token_has_a_chance(trained: Path) -> None:
    text = "seen by Dr. Roe well\n" * 40
    (reading,) = Transformer(trained).readings([text])
    assert len(reading.starts) == len(reading.chances) == 6 * 40
    assert reading.chance(12, 15) > 0.8 > 0.2 > reading.chance(0, 7)


def test_the_threshold_decides(trained: Path) -> None:
    assert Transformer(trained, 0.999999).batch([NOTE]) == [[]]
    everything = Transformer(trained, 0.0).batch([NOTE])[0]
    assert sum(s.end - s.start for s in everything) >= sum(char.isalnum() for char in NOTE)


def test_the_mean_of_two_models(trained: Path) -> None:
    own = ModelRecognizer()
    if not assets.path("schemas", "phi", "model").is_dir():
        pytest.skip("no model is shipped")
    text = "seen by Dr. Roe well, then on Tuesday by Ms. Hunt"
    (alone,), (network,) = Transformer(trained).readings([text]), own.readings([text])
    (mean,) = Transformer(trained, network="default").readings([text])
    mixed = SHARE * np.array(alone.chances) + (1 - SHARE) * np.array(network.chances)
    assert np.allclose(mean.chances, mixed, atol=1e-6)


def test_the_transformer_reads_where_the_network_is_in_doubt(trained: Path) -> None:
    text = "seen by Dr. Roe well\n" + "The heart is regular and the lungs are clear to auscultation today.\n" * 20
    (network,) = ModelRecognizer().readings([text])
    everywhere, doubt, nowhere = (
        Transformer(trained, network="default", gate=gate).readings([text])[0]
        for gate in ((0.0, 1.0), (0.5, 1.0), (2.0, 2.0))
    )
    assert np.allclose(nowhere.chances, network.chances, atol=1e-6)
    assert np.allclose(doubt.chances[:6], everywhere.chances[:6], atol=0.2)
    far = slice(len(network.chances) - 100, None)
    assert np.allclose(doubt.chances[far], network.chances[far], atol=1e-6)
    assert not np.allclose(everywhere.chances[far], network.chances[far], atol=1e-6)


@pytest.mark.parametrize("size", [0, 1, 30, 200])
def test_parts_around_what_is_in_doubt(size: int) -> None:
    dice = np.random.default_rng(size)
    found = dice.random(size) < 0.03
    parts = _around(found)
    inside = np.zeros(size, bool)
    for part in parts:
        assert 0 <= part.start < part.stop <= size
        assert not inside[part].any()
        inside[part] = True
    assert inside[found].all()
    assert not parts or found.any()


def test_a_network_with_other_labels_is_refused() -> None:
    if not assets.path("schemas", "phi", "model").is_dir():
        pytest.skip("no model is shipped")
    with pytest.raises(ConfigError, match="other kinds"):
        ModelRecognizer().chances("seen by Dr. Roe", LABELS)


def test_a_model_travels_to_a_worker(trained: Path) -> None:
    model = Transformer(trained)
    assert pickle.loads(pickle.dumps(model)).batch([NOTE]) == model.batch([NOTE])


def test_the_weights_are_whole_numbers(trained: Path) -> None:
    onnx = pytest.importorskip("onnx")
    tables = [t for t in onnx.load(trained / GRAPH).graph.initializer if len(t.dims) == 2]
    whole = [t for t in tables if t.data_type in (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)]
    # Four products a layer, the last one, and three tables; the places stay as they are.
    assert len(whole) == 4 * 2 + 1 + 3
    assert sum(int(np.prod(t.dims)) for t in tables if t not in whole) <= 64 * 24


@pytest.mark.parametrize(
    "text",
    ["x", "1" * 5000, "Dr. " * 3000, "é́" * 50, "\u200b" * 20, "日本語 テキスト", "😀" * 300, "<b>Dr.</b>\r\n\r\n"],
)
def test_hostile_text_has_right_offsets(trained: Path, text: str) -> None:
    for span in Transformer(trained).batch([text])[0]:
        assert 0 <= span.start < span.end <= len(text)


def test_the_detector_takes_the_folder(trained: Path) -> None:
    text = "seen by Dr. Roe well"
    detector = Detector(model=str(trained))
    assert any(text[s.start : s.end] == "Roe" for s in detector.detect([text])[0])
    assert detector.parts[0].startswith("transformer:")


def test_the_real_model_finds_names_without_a_title() -> None:
    folder = os.environ.get("MAYO_DATA_TRANSFORMER")
    if not folder:
        pytest.skip("MAYO_DATA_TRANSFORMER names no trained model")
    text = "Daughter Maribel called from Duluth on Tuesday; will bring the pill box to Thorvald Eriksen."
    found = {text[s.start : s.end] for s in Transformer(folder).batch([text])[0]}
    assert {"Maribel", "Duluth", "Tuesday", "Thorvald Eriksen"} <= found
