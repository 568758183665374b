"""The canary: a token in every field that can hold PHI, everything is run, and nothing comes out (DESIGN, section 9)."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from canary import Canary, Hunt
from hospital import KEY, cli, events, go, key_file, pipeline_file, quarantined

import mayo_data as md

BODIES = "b' '.join(bytes(b) for batch in batches for b in batch.column('body').to_pylist() if b)"
CRASHES = {
    "survey": "import mayo_data.pipeline.tasks as t\ndef bad(r): raise ValueError(repr(r))\nt.identifiers.from_fhir = bad",
    "validate": f"from mayo_data.conformance.validate import Validate\ndef bad(self, batches): raise KeyError({BODIES})\nValidate.__call__ = bad",
    "scrub": f"from mayo_data.phi.structured import Scrub\ndef bad(self, batches): raise KeyError({BODIES})\nScrub.__call__ = bad",
    "text": "from mayo_data.phi.text import TextScrubber\ndef bad(self, text, known, **how): raise RuntimeError(text)\nTextScrubber.rewritten = bad",
    "normalize": "import mayo_data.events.normalize as n\ndef bad(*a): raise RuntimeError(str(a))\nn._events = bad",
    "build": "import mayo_data.timeline.build as t\ndef bad(s, *more): raise RuntimeError(str(s.to_pylist()))\nt.build = bad",
    "audit": "import mayo_data.pipeline.leaks as t\nclass Bad:\n def __init__(s, found): raise RuntimeError(str(found))\nt.Audit = Bad",
    "commit": "import mayo_data.store.snapshot as s\ndef bad(d, **k): raise RuntimeError(str(k))\ns.seal = bad",
}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Canary, Path]:
    """A canary of few resources, for runs that fail."""
    canary = Canary(KEY, variants=2)
    return canary, canary.write(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Canary, Path]:
    """A canary with every choice of every element."""
    canary = Canary(KEY)
    return canary, canary.write(tmp_path_factory.mktemp("large"))


def silent(hunt: Hunt, done: subprocess.CompletedProcess[str]) -> str:
    """Nothing that was printed holds a token, or what could lead to one."""
    printed = done.stdout + "\n" + done.stderr
    assert [hit for line in printed.splitlines() for hit in hunt.text(line)] == []
    assert base64.b64encode(KEY).decode() not in printed
    return printed


def policy_file(folder: Path, policy: str, replace: str) -> str:
    """A site's own policy: a preset with the other way to replace."""
    path = folder / "site.toml"
    path.write_text(f'extends = "{policy}"\n[text]\nreplace = "{replace}"\n')
    return str(path)


@pytest.mark.parametrize(
    ("policy", "replace"),
    [
        ("expert_determination", "surrogate"),
        pytest.param("expert_determination", "tag", marks=pytest.mark.slow),
        pytest.param("safe_harbor", "tag", marks=pytest.mark.slow),
        pytest.param("safe_harbor", "surrogate", marks=pytest.mark.slow),
    ],
)
def test_nothing_comes_out(large: tuple[Canary, Path], tmp_path: Path, policy: str, replace: str) -> None:
    canary, source = large
    store = tmp_path / "store"
    phi = {"policy": policy_file(tmp_path, policy, replace)}
    toml = pipeline_file(tmp_path / "night.toml", phi=phi, validate="off")  # most of the canary is no valid FHIR
    done = cli(
        "run",
        toml,
        "--input",
        source,
        "--store",
        store,
        "--key-file",
        key_file(tmp_path),
        "--log",
        "json",
        "--workers",
        "2",
    )
    hunt = Hunt(canary)
    silent(hunt, done)
    assert done.returncode == 0
    assert hunt.store(store) == []
    # The hunt was worth something: the text is there, without the names; and it finds what it looks for.
    texts = [row["text_value"] for row in events(store) if row["text_value"]]
    assert any("denies pain" in text for text in texts)
    assert len(texts) > 300
    assert Hunt(canary).store(store.with_name("store.phi") / "quarantine")
    assert {row["reason"] for row in quarantined(store)} >= {
        "bad_json",
        "bad_utf8",
        "modifier_extension",
        "unknown_type",
    }
    years = {row["time"].strftime("%m-%d") for row in events(store) if row["time"]}
    assert (years == {"01-01"}) is (policy == "safe_harbor")


def test_safe_harbor_shows_nothing_in_a_small_run(small: tuple[Canary, Path], tmp_path: Path) -> None:
    canary, source = small
    go(source, tmp_path / "store", phi={"policy": "safe_harbor"}, validate="off")
    assert Hunt(canary).store(tmp_path / "store") == []


@pytest.mark.slow
def test_nothing_that_is_asked_of_a_store_tells(small: tuple[Canary, Path], tmp_path: Path) -> None:
    canary, source = small
    store = tmp_path / "store"
    go(source, store, validate="off")
    hunt = Hunt(canary)
    told = max(events(store), key=lambda row: len(row["text_value"] or ""))["event_id"]
    for words in (
        ("trace", told, "--store", store, "--json"), ("trace", told, "--store", store), ("trace", "9.9.9", "--store", store),
        ("validate", store), ("info", store), ("ledger", "show", store), ("ledger", "verify", store),
    ):  # fmt: skip
        done = cli(*words)
        printed = silent(hunt, done)
        assert done.returncode == (3 if words[1] == "9.9.9" else 0), printed
    forms = {name: tmp_path / f"report.{name}" for name in ("html", "json", "md")}
    for words in (
        ("coverage", store, "--json"), ("audit", store, "--notes", "5", "--ids"), ("risk", store, "--json"),
        ("report", store, *(word for name, path in forms.items() for word in (f"--{name}", path))),
    ):  # fmt: skip
        done = cli(*words)
        printed = silent(hunt, done)
        assert done.returncode == 0, printed
    assert [name for name, path in forms.items() if hunt.text(path.read_text(encoding="utf-8"))] == []
    found = md.trace(store, told)
    assert found["decisions"]
    assert all(set(one) == {"source_table", "source_row", "subject_id", "path", "start", "end", "category", "recognizer", "score", "action"} for one in found["decisions"])  # fmt: skip
    assert hunt.value(found) == []
    assert hunt.store(store) == []


@pytest.mark.parametrize("stage", CRASHES)
def test_a_bug_in_a_stage_tells_where_and_nothing_else(small: tuple[Canary, Path], tmp_path: Path, stage: str) -> None:
    canary, source = small
    store = tmp_path / "store"
    toml = pipeline_file(tmp_path / "night.toml")
    done = cli(
        "run", toml, "--input", source, "--store", store, "--key-file", key_file(tmp_path), "--log", "json", "--workers", "1",
        before=CRASHES[stage],
    )  # fmt: skip
    hunt = Hunt(canary)
    printed = silent(hunt, done)
    assert done.returncode == 1, printed
    assert "mayo-data: bug: " in done.stderr
    assert hunt.store(store) == []
    assert not (store / "snapshots").exists()


def test_a_worker_that_breaks_tells_nothing(small: tuple[Canary, Path], tmp_path: Path) -> None:
    canary, source = small
    # Modules that spawned processes import are found by path: this one breaks the scrub in each of them.
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nclass Late:\n"
        " def find_spec(self, name, path=None, target=None):\n"
        "  if name == 'mayo_data.events.walk' and 'spawn_main' in ' '.join(sys.orig_argv):\n"
        "   import mayo_data.phi.text as t\n"
        "   def bad(self, text, known, **how): raise RuntimeError(text)\n"
        "   t.TextScrubber.rewritten = bad\n"
        "sys.meta_path.insert(0, Late())\n"
    )
    done = cli(
        "run", pipeline_file(tmp_path / "night.toml"), "--input", source, "--store", tmp_path / "store", "--key-file",
        key_file(tmp_path), "--workers", "2", PYTHONPATH=str(tmp_path),
    )  # fmt: skip
    printed = silent(Hunt(canary), done)
    assert done.returncode == 1, printed
    assert Hunt(canary).store(tmp_path / "store") == []


Case = tuple[int, dict[str, dict[str, object]], tuple[str, ...], str]
FAILURES: dict[str, Case] = {
    "strict": (3, {}, ("--strict",), ""),
    "gate": (4, {"gates": {"latest_year": 1900}}, (), ""),
    "policy": (2, {"phi": {"policy": "zqxnosuchpolicy"}}, (), ""),
    "leak": (
        5,
        {},
        (),
        "from mayo_data.phi.text import Scrubbed, TextScrubber\nTextScrubber.rewritten = lambda self, text, known, **how: Scrubbed(text, [], [])",
    ),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_run_that_fails_tells_nothing(small: tuple[Canary, Path], tmp_path: Path, failure: str) -> None:
    code, sections, options, before = FAILURES[failure]
    canary, source = small
    store = tmp_path / "store"
    done = cli(
        "run", pipeline_file(tmp_path / "night.toml", **sections, validate="off"), "--input", source, "--store", store, "--key-file",
        key_file(tmp_path), "--log", "json", "--workers", "1", *options, before=before,
    )  # fmt: skip
    hunt = Hunt(canary)
    printed = done.stdout + done.stderr if failure == "policy" else silent(hunt, done)
    assert done.returncode == code, printed
    if store.exists():
        assert hunt.store(store) == []
    assert not list(store.glob("snapshots/*"))
    assert not list(store.glob("staging/*"))


@pytest.mark.parametrize("key", [b"", b"Zqxkey is no key", b"\xff\xfeZqx"])
def test_a_bad_key_is_refused_in_silence(small: tuple[Canary, Path], tmp_path: Path, key: bytes) -> None:
    canary, source = small
    (tmp_path / "bad.key").write_bytes(key)
    toml = pipeline_file(tmp_path / "night.toml")
    run: Callable[..., subprocess.CompletedProcess[str]] = lambda *more, **env: cli(  # noqa: E731
        "run", toml, "--input", source, "--store", tmp_path / "store", *more, **env
    )
    done = run("--key-file", tmp_path / "bad.key")
    silent(Hunt(canary), done)
    assert done.returncode == 2
    if key.isascii():
        done = run(MAYO_DATA_KEY=key.decode())
        silent(Hunt(canary), done)
        assert done.returncode == 2
    assert not (tmp_path / "store").exists()
