from __future__ import annotations

import base64
import io
import pickle
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from traceback import TracebackException

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.traceback import Traceback

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


# ── where the key comes from, and where it must not go ────────────────────────────────────────────


def asks(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """Let a program be asked for the key."""
    monkeypatch.delenv(keys.ENVIRONMENT, raising=False)
    monkeypatch.setenv(keys.COMMAND, f"{shlex.quote(sys.executable)} -c {shlex.quote(program)}")


def test_a_command_is_asked_for_the_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    coded = base64.b64encode(KEY).decode()
    asks(monkeypatch, f"print({coded!r})")
    assert keys.load().key_id == Secret(KEY).key_id
    monkeypatch.setenv(keys.ENVIRONMENT, base64.b64encode(bytes(32)).decode())
    assert keys.load().key_id == Secret(bytes(32)).key_id  # the key itself comes before the command
    assert keys.load(_written(tmp_path, KEY)).key_id == Secret(KEY).key_id  # and a file before both


def _written(folder: Path, key: bytes) -> Path:
    path = folder / "site.key"
    path.write_bytes(base64.b64encode(key))
    return path


def test_no_shell_sees_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(keys.ENVIRONMENT, raising=False)
    monkeypatch.setenv(keys.COMMAND, f"echo $HOME; touch {tmp_path / 'made'} | cat")
    with pytest.raises(KeyMissingError):
        keys.load()
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import sys; print('c2VzYW1l'); sys.exit('no such role: sesame')", "ended with exit code 1"),
        ("print('c2VzYW1l')", "32 bytes"),
        ("print('sesame!')", "not base64"),
        ("import time; print('sesame', flush=True); time.sleep(60)", "gave no key within"),
    ],
)
def test_a_command_that_fails_is_not_repeated(monkeypatch: pytest.MonkeyPatch, program: str, said: str) -> None:
    asks(monkeypatch, program)
    monkeypatch.setattr(keys, "_PATIENCE", 2)
    with pytest.raises(KeyMissingError, match=said) as caught:
        keys.load()
    assert {"c2VzYW1l", "sesame"}.isdisjoint(everything_shown(caught.value).replace(program, ""))
    monkeypatch.setenv(keys.COMMAND, "/no/such/program")
    with pytest.raises(KeyMissingError, match="cannot be run: FileNotFoundError"):
        keys.load()


def everything_shown(error: BaseException) -> str:
    """What tools that show variables make of an error: its own frames, and those of every error behind it."""
    shown = []
    behind: BaseException | None = error
    while behind is not None:
        lines = TracebackException.from_exception(behind, capture_locals=True).format()
        rich = Console(file=io.StringIO(), width=400, record=True)
        rich.print(Traceback.from_exception(type(behind), behind, behind.__traceback__, show_locals=True))
        shown += [*lines, rich.export_text()]
        behind = behind.__cause__ or behind.__context__
    return "".join(shown)


def forms(key: bytes) -> list[str]:
    """A key as it could be shown: its text, its digits, the bytes as Python writes them."""
    return [base64.b64encode(key).decode()[:20], key.hex()[:20], repr(key)[2:30], str(list(key))[1:30]]


def _breaks(secret: Secret, deep: int) -> None:
    held = {"secret": secret, "in a list": [secret], "stage": _Stage(secret)}
    if deep:
        _breaks(secret, deep - 1)
    raise RuntimeError(repr(held))


@dataclass(frozen=True)
class _Stage:
    secret: Secret


def test_no_traceback_shows_the_key(tmp_path: Path) -> None:
    _written(tmp_path, bytes(range(100, 132)))
    with pytest.raises(RuntimeError) as caught:
        _breaks(keys.load(tmp_path / "site.key"), 3)
    shown = everything_shown(caught.value)
    assert "key_id=" in shown
    assert [form for form in forms(bytes(range(100, 132))) if form in shown] == []


@pytest.mark.parametrize("length", [31, 33])
def test_no_traceback_shows_a_key_that_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int) -> None:
    """Somebody pastes two characters too many: what an error could show is nearly the key."""
    path = tmp_path / "site.key"

    def shown() -> str:
        errors = []
        for source in (path, None):
            with pytest.raises(KeyMissingError) as caught:
                keys.load(source)
            errors.append(everything_shown(caught.value))
        return "".join(errors)

    long = base64.b64encode(bytes(range(100, 100 + length)))
    for content in (long, base64.b64encode(bytes(range(100, 132))) + b"??"):
        path.write_bytes(content)
        monkeypatch.setenv(keys.ENVIRONMENT, content.decode())
        del content
        found = shown()
        assert "keys.py" in found
        assert [form for form in forms(bytes(range(100, 132))) if form in found] == []
