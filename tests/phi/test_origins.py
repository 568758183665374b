"""Recall by origin of name: the lists that ship are all used, and every span of a person is counted once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mayo_data import assets
from mayo_data.phi.corpora import inline
from mayo_data.phi.evaluation import evaluate
from mayo_data.phi.origins import SEVERAL, UNLISTED, origin
from mayo_data.types import PhiSpan


def test_every_list_of_names_has_an_origin() -> None:
    named = assets.toml("schemas", "phi", "origins.toml").values()
    traditions = [one["key"] for one in assets.toml("schemas", "synth", "names.toml")["tradition"]]
    lists = set(assets.toml("schemas", "phi", "slots", "people.toml")) - {"common_word"}
    assert sorted(key for one in named for key in one["tradition"]) == sorted(traditions)
    assert sorted(key for one in named for key in one["list"]) == sorted(lists)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Siobhan O'Shaughnessy", "irish_scottish"),
        ("O'SHAUGHNESSY, SIOBHAN", "irish_scottish"),
        ("Kenji Watanabe", "japanese"),
        ("Dr. D. Broadnax", "african_american"),
        ("Nunez", origin("Núñez")),
        ("Xq", UNLISTED),
        ("", UNLISTED),
    ],
)
def test_an_origin(name: str, expected: str) -> None:
    assert origin(name) == expected


@given(st.text(max_size=60))
def test_any_text_has_one(name: str) -> None:
    assert origin(name) in {*assets.toml("schemas", "phi", "origins.toml"), SEVERAL, UNLISTED}


def test_people_are_counted_by_origin_and_nothing_else_is() -> None:
    class Half:
        """Finds what stands in the first half of a text."""

        def detect(self, texts, known=None):
            return [[PhiSpan(0, len(text) // 2, "PERSON", "half", 1.0)] for text in texts]

    text = "[[PATIENT:Kenji Watanabe]] on [[DATE:3/4/2021]], then [[STAFF:Yuki Watanabe]], [[STAFF:Zzyzx]]"
    found = evaluate([inline("a", text)], Half()).dict()
    assert sum(row["spans"] for row in found["origins"].values()) == 3
    assert found["origins"]["japanese"]["spans"] == 2
    assert found["origins"]["japanese"]["covered"] == 0.5
    assert found["origins"]["unlisted"]["covered"] == 0.0
    assert found["categories"]["DATE"]["spans"] == 1
    low, high = found["origins"]["japanese"]["interval"]
    assert low < 0.5 < high
