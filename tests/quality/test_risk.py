"""The risk measures: equal to pycanon's, honest about populations, the same for any order of rows."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mayo_data as md
from mayo_data.errors import ConfigError
from mayo_data.quality import profile
from mayo_data.quality.risk import assess

QUASI = ["age", "sex", "zip"]


def table(seed: int, rows: int) -> pd.DataFrame:
    dice = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "age": dice.integers(0, 6, rows) * 5,
            "sex": dice.choice(["F", "M"], rows),
            "zip": dice.choice(["553", "559", "000"], rows, p=[0.7, 0.25, 0.05]),
            "dx": dice.choice(["flu", "hiv", "ca", "dm"], rows, p=[0.5, 0.3, 0.15, 0.05]),
            "cost": dice.integers(0, 12, rows) ** 2,
        }
    )


def measured(frame: pd.DataFrame, *args, **named):
    with duckdb.connect() as db:
        db.register("t", frame)
        return assess(db, "t", *args, **named)


# What pycanon 1.3.6 says of these tables. It pins numpy and pandas to one version, so it cannot live beside us.
GOLDEN = json.loads((Path(__file__).parent / "pycanon.json").read_text())


@pytest.mark.parametrize("golden", GOLDEN, ids=[f"{golden['rows']} rows" for golden in GOLDEN])
def test_equal_to_pycanon(golden: dict) -> None:
    found = measured(table(golden["seed"], golden["rows"]), QUASI, ["dx", "cost"])
    assert found.k == golden["k"]
    for one in found.diversity:
        said = golden[one.attribute]
        assert int(one.entropy + 1e-9) == said["entropy"]
        for name in ("distinct", "largest_share", "t", "delta", "beta"):
            assert getattr(one, name) == pytest.approx(said[name]), name


def test_the_patients_of_the_first_paper_on_l_diversity() -> None:
    """Twelve patients of Machanavajjhala 2007, figures 2 and 3: 4-anonymous twice, 3-diverse only the second time."""
    ills = ["heart", "heart", "virus", "virus", "cancer", "heart", "virus", "virus", *["cancer"] * 4]
    first = pd.DataFrame({"zip": ["130"] * 4 + ["1485"] * 4 + ["130"] * 4, "age": [29] * 4 + [40] * 4 + [30] * 4})
    found = measured(first.assign(ill=ills), ["zip", "age"], ["ill"])
    assert (found.k, found.classes, found.diversity[0].distinct) == (4, 3, 1)
    mixed = [
        "heart",
        "virus",
        "cancer",
        "cancer",
        "cancer",
        "heart",
        "virus",
        "virus",
        "heart",
        "virus",
        "cancer",
        "cancer",
    ]
    found = measured(first.assign(ill=mixed), ["zip", "age"], ["ill"])
    assert (found.k, found.diversity[0].distinct) == (4, 3)
    assert found.diversity[0].entropy == pytest.approx(2.8284, abs=1e-4)


def test_salaries_of_the_paper_on_t_closeness() -> None:
    """Li 2007, section 4: salaries 3k to 5k are 0.375 away from 3k to 11k, and 6k, 8k, 11k only 0.167."""
    frame = pd.DataFrame({"group": [1, 1, 1, 2, 2, 2, 3, 3, 3], "salary": [3, 4, 5, 6, 8, 11, 7, 9, 10]})
    assert measured(frame, ["group"], ["salary"]).diversity[0].t == pytest.approx(0.375)


def test_a_sample_says_how_many_are_alone_in_the_population() -> None:
    dice = np.random.default_rng(8)
    people = pd.DataFrame({"a": (dice.pareto(1.1, 200_000) * 40).astype(int), "b": dice.integers(0, 8, 200_000)})
    sizes = people.groupby(["a", "b"])["a"].transform("size")
    sample = people.sample(20_000, random_state=1)
    truth = int((sizes.loc[sample.index] == 1).sum())
    found = measured(sample, ["a", "b"], population=200_000)
    assert found.unique > 2 * truth  # most of the sample's singles have twins outside
    assert truth / 2 < found.population_unique < truth * 2
    one_in = (1 / sizes.loc[sample.index]).mean()
    assert one_in / 2 < found.journalist_average < one_in * 2  # the estimate is known to be low for small samples
    assert found.marketer == found.journalist_average < found.prosecutor_average


def test_the_whole_population_leaves_nothing_to_estimate() -> None:
    frame = table(3, 50)
    found = measured(frame, QUASI, population=50)
    assert found.journalist_highest == found.prosecutor_highest
    assert found.journalist_average == pytest.approx(found.prosecutor_average)
    assert found.population_unique == found.unique


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["x", "y", None])), min_size=1, max_size=40), st.randoms())
def test_the_order_of_rows_does_not_matter(rows: list[tuple[int, str | None]], dice) -> None:
    mixed = rows[:]
    dice.shuffle(mixed)
    one, two = (measured(pd.DataFrame(some, columns=["a", "b"]), ["a", "b"], ["a"]) for some in (rows, mixed))
    assert (one.k, one.unique, one.sizes) == (two.k, two.unique, two.sizes)
    assert one.diversity[0].t == pytest.approx(two.diversity[0].t)
    counts = pd.Series(rows).value_counts()
    assert (one.k, one.classes, one.unique) == (counts.min(), len(counts), (counts == 1).sum())
    assert sum(one.sizes.values()) == one.rows == len(rows)


def test_mistakes_are_said() -> None:
    with pytest.raises(ConfigError, match="no column 'nosuch'"):
        measured(table(1, 5), ["nosuch"])
    with pytest.raises(ConfigError, match="no quasi-identifier"):
        measured(table(1, 5), [])
    with pytest.raises(ConfigError, match="no row"):
        measured(table(1, 5).head(0), QUASI)
    with pytest.raises(ConfigError, match="smaller than the table"):
        measured(table(1, 5), QUASI, population=4)


def test_options_end_where_nobody_is_at_risk() -> None:
    dice = np.random.default_rng(2)
    frame = pd.DataFrame(
        {
            "age_band": dice.integers(4, 19, 3000) * 5,
            "zip3": dice.choice([f"{n}" for n in range(550, 570)], 3000),
            "sex": dice.choice(["F", "M"], 3000),
            "events": dice.integers(1, 100, 3000),
        }
    )
    with duckdb.connect() as db:
        db.register("t", frame)
        found = profile.options(db, "t", ["age_band", "zip3", "sex"], 11)
        assert not found[0].changes
        assert found[0].at_risk == assess(db, "t", ["age_band", "zip3", "sex"]).at_risk
        assert [one.events for one in found] == sorted((one.events for one in found), reverse=True)
        assert found[-1].at_risk == 0
        assert found[-1].k >= 11
        # The first coarsening, done by hand.
        (column, how), *_ = found[1].changes.items()
        made = {"age_band": frame.age_band // 10 * 10, "zip3": frame.zip3.str[0]}[column]
        assert how in ("10 years", "first digit")
        db.register("u", frame.assign(**{column: made}))
        assert assess(db, "u", ["age_band", "zip3", "sex"]).at_risk == found[1].at_risk


def test_the_risk_of_a_store(synthetic_store) -> None:
    found = md.risk(synthetic_store, threshold=5, population=10_000)
    risk = found["risk"]
    assert risk["rows"] == md.open(synthetic_store).splits().shape[0]
    assert found["quasi"] == ["age_band", "sex", "race", "ethnicity", "zip3", "admission_year"]
    assert risk["unique"] > 0
    assert risk["diversity"][0]["attribute"] == "condition"
    assert found["options"][0]["at_risk"] == risk["at_risk"]
    assert found["options"][-1]["at_risk"] == 0
    rare = md.risk(synthetic_store, quasi=["rarest_code", "sequence"])["risk"]
    assert rare["unique"] > 0
    with pytest.raises(ConfigError, match="no column"):
        md.risk(synthetic_store, quasi=["name"])
