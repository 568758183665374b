"""The risk measures on the tables that ARX ships as examples, against what ARX and the papers behind it publish.

ARX (https://arx.deidentifier.org, Apache-2.0): the seven people of its API examples (Example1, Example29) and of its
test `TestRiskMetrics`; the nine patients of Example13 to Example15, which are those of Li 2007, `t-Closeness: Privacy
Beyond k-Anonymity and l-Diversity`, tables 1, 3, 4 and 5. Its average risk is the marketer's, its highest the
prosecutor's; where the sample is the population, journalist and prosecutor are one.
"""

from __future__ import annotations

import duckdb
import pandas as pd
import pytest

from mayo_data.quality.risk import Risk, assess

QUASI = ["age", "gender", "zipcode"]
PEOPLE = pd.DataFrame(
    [(34, "male", "81667"), (45, "female", "81675"), (66, "male", "81925"), (70, "female", "81931"),
     (34, "female", "81931"), (70, "male", "81931"), (45, "male", "81931")],
    columns=QUASI,
)  # fmt: skip
PATIENTS = pd.DataFrame(
    [("47677", 29, 3, "gastric ulcer"), ("47602", 22, 4, "gastritis"), ("47678", 27, 5, "stomach cancer"),
     ("47905", 43, 6, "gastritis"), ("47909", 52, 11, "flu"), ("47906", 47, 8, "bronchitis"),
     ("47605", 30, 7, "bronchitis"), ("47673", 36, 9, "pneumonia"), ("47607", 32, 10, "stomach cancer")],
    columns=["zipcode", "age", "salary", "disease"],
)  # fmt: skip


def measured(frame: pd.DataFrame, quasi: list[str], sensitive: list[str] | None = None, **named: int) -> Risk:
    with duckdb.connect() as db:
        db.register("t", frame)
        return assess(db, "t", quasi, sensitive or [], **named)


def test_the_seven_people_as_they_are() -> None:
    """TestRiskMetrics: highest individual risk 1.0, average risk 1.0, sample uniqueness 1.0."""
    found = measured(PEOPLE, QUASI, population=7)
    assert (found.k, found.unique, found.classes) == (1, 7, 7)
    assert found.prosecutor_highest == found.prosecutor_average == 1.0
    assert found.journalist_highest == found.marketer == 1.0
    assert found.population_unique == 7.0


def test_the_seven_people_made_2_anonymous() -> None:
    """TestRiskMetrics after k = 2 without suppression: highest risk 0.5, average risk 0.42857142857142855."""
    made = PEOPLE.assign(age=PEOPLE["age"].lt(50), zipcode="81***")
    found = measured(made, ["age", "gender", "zipcode"])
    assert found.k == 1  # two women below 50, one above
    made = made.assign(gender="*", zipcode=PEOPLE["zipcode"].str[:3])
    found = measured(made, QUASI, population=7)
    assert (found.k, found.classes) == (2, 3)
    assert found.prosecutor_highest == found.journalist_highest == 0.5
    assert found.prosecutor_average == found.marketer == pytest.approx(0.42857142857142855)
    assert found.unique == found.population_unique == 0


def test_the_uniques_of_a_whole_population_are_those_of_the_sample() -> None:
    """TestRiskMetrics.testDecisionRule: at a sampling fraction of 1, population uniqueness is sample uniqueness."""
    doubled = pd.concat([PEOPLE, PEOPLE.head(3)])
    found = measured(doubled, QUASI, population=10)
    assert (found.unique, found.population_unique) == (4, 4.0)
    assert found.journalist_highest == found.prosecutor_highest
    assert found.journalist_average == pytest.approx(found.prosecutor_average)


def test_the_nine_patients_made_3_anonymous_and_3_diverse() -> None:
    """Li 2007, table 4 (ARX Example13): 3-anonymous, 3-diverse; salaries 3, 4, 5 lie 0.375 from the whole table."""
    made = PATIENTS.assign(zipcode=["476**"] * 3 + ["4790*"] * 3 + ["476**"] * 3,
                           age=["2*"] * 3 + [">=40"] * 3 + ["3*"] * 3)  # fmt: skip
    found = measured(made, ["zipcode", "age"], ["salary", "disease"])
    assert (found.k, found.classes) == (3, 3)
    salary, disease = found.diversity
    assert (salary.distinct, disease.distinct) == (3, 3)
    assert salary.t == pytest.approx(0.375)
    assert salary.entropy == pytest.approx(3.0)


def test_the_nine_patients_made_close() -> None:
    """Li 2007, table 5: 0.167-close with respect to salary."""
    made = PATIENTS.assign(zipcode=["4767*", "4760*", "4767*", "4790*", "4790*", "4790*", "4760*", "4767*", "4760*"],
                           age=["<=40"] * 3 + [">=40"] * 3 + ["<=40"] * 3)  # fmt: skip
    found = measured(made, ["zipcode", "age"], ["salary"])
    assert found.k == 3
    assert found.diversity[0].t == pytest.approx(0.1667, abs=1e-4)


def test_the_nine_patients_before() -> None:
    """Li 2007, table 1: everybody is alone."""
    found = measured(PATIENTS, ["zipcode", "age"], ["disease"])
    assert (found.k, found.unique, found.prosecutor_highest) == (1, 9, 1.0)
    assert found.diversity[0].distinct == 1
