from __future__ import annotations

import base64
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mayo_data import keys
from mayo_data.errors import KeyMissingError
from mayo_data.keys import Secret

KEY = bytes(range(32))


def test_a_key_file_is_private_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "site.key"
    made = keys.generate(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert keys.load(path).key_id == made.key_id
    with pytest.raises(KeyMissingError, match="not overwritten"):
        keys.generate(path)
    with pytest.raises(KeyMissingError, match="cannot be written"):
        keys.generate(tmp_path / "none" / "site.key")


@pytest.mark.parametrize(
    "content", [b"", b"sesame", b"\xff\xfe", base64.b64encode(b"short"), base64.b64encode(bytes(33))]
)
def test_a_bad_key_is_refused_and_not_repeated(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "site.key"
    path.write_bytes(content)
    with pytest.raises(KeyMissingError) as caught:
        keys.load(path)
    assert "sesame" not in f"{caught.value}{caught.value.hint}{caught.value.__cause__}"


def test_there_is_no_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(keys.ENVIRONMENT, raising=False)
    with pytest.raises(KeyMissingError, match="no key"):
        keys.load()
    with pytest.raises(KeyMissingError):
        keys.load(tmp_path)  # a folder
    monkeypatch.setenv(keys.ENVIRONMENT, base64.b64encode(KEY).decode() + "\n")
    assert keys.load().key_id == Secret(KEY).key_id


def test_a_secret_never_shows_itself() -> None:
    secret = Secret(KEY)
    shown = f"{secret!r} {secret} {secret.key_id}"
    assert KEY.hex() not in shown
    assert base64.b64encode(KEY).decode() not in shown
    assert pickle.loads(pickle.dumps(secret)).subject_id("Patient/1") == secret.subject_id("Patient/1")


@given(st.text(), st.text(), st.binary(min_size=32, max_size=32))
def test_domains_and_keys_are_apart(one: str, other: str, raw: bytes) -> None:
    secret = Secret(raw)
    assert secret.integer("a", one) != secret.integer("b", one)
    assert secret.derive("vault") != secret.derive("other")
    assert Secret(KEY).subject_id(one) != secret.subject_id(one) or raw == KEY
    if one != other:
        assert secret.subject_id(one) != secret.subject_id(other)


@given(st.integers(0, 2**63 - 1), st.integers(1, 4000))
def test_an_offset_is_never_zero_and_never_too_far(subject: int, most: int) -> None:
    offset = Secret(KEY).offset_days(subject, most=most)
    assert offset == Secret(KEY).offset_days(subject, most=most)
    assert 1 <= abs(offset) <= most


def test_offsets_use_the_whole_range_evenly() -> None:
    offsets = [Secret(KEY).offset_days(subject, most=3) for subject in range(6000)]
    assert set(offsets) == {-3, -2, -1, 1, 2, 3}
    assert all(850 < offsets.count(day) < 1150 for day in set(offsets))


@given(st.lists(st.text(max_size=3), max_size=4), st.lists(st.text(max_size=3), max_size=4))
def test_fingerprints_tell_lists_apart(one: list[str], other: list[str]) -> None:
    assert (keys.fingerprint(*one) == keys.fingerprint(*other)) == (one == other)


def test_the_digest_is_hmac_sha256() -> None:
    import hashlib
    import hmac
    import pickle

    raw = bytes(range(32))
    secret = keys.Secret(raw)
    assert secret.digest("domain", "välue") == hmac.new(raw, "domain\0välue".encode(), hashlib.sha256).digest()
    assert pickle.loads(pickle.dumps(secret)).digest("a", "b") == secret.digest("a", "b")


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=50, unique=True))
def test_a_column_of_numbers_gets_pseudonyms_one_each(values: list[int]) -> None:
    made = Secret(bytes(32)).integers("a", np.array(values, dtype=np.int64))
    assert len(set(made.tolist())) == len(values)
    assert all(0 <= one < 2**63 for one in made.tolist())
    assert made.tolist() == Secret(bytes(32)).integers("a", np.array(values, dtype=np.int64)).tolist()
    if values:
        assert made.tolist() != Secret(bytes(32)).integers("b", np.array(values, dtype=np.int64)).tolist()
        assert made.tolist() != Secret(bytes(range(32))).integers("a", np.array(values, dtype=np.int64)).tolist()


def test_a_second_number_makes_another_pseudonym_and_zero_makes_none() -> None:
    secret, ids = Secret(bytes(32)), np.array([7, 7, 7])
    made = secret.integers("a", ids, np.array([0, 1, 2]))
    assert len(set(made.tolist())) == 3
    assert made[0] == secret.integers("a", ids)[0]
