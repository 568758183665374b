"""Pictures of a store: one subject's timeline, and what is covered in which year. Made with Altair.

    db = md.connect("store")
    md.plot.timeline(db, subject)
    md.plot.coverage(db).save("coverage.png")

They show codes, times and numbers; no text of a note, and no text value at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mayo_data.errors import ConfigError, StoreError

if TYPE_CHECKING:
    import duckdb
    from altair import LayerChart, VConcatChart

# Lane, colour, and the kinds of codes in it, from top to bottom. A kind that is not here is a detail of another one.
LANES: dict[str, tuple[str, tuple[str, ...]]] = {
    "Encounters": ("#4c6a92", ("ENCOUNTER",)),
    "Conditions": ("#b5654a", ("CONDITION",)),
    "Allergies": ("#c08497", ("ALLERGY",)),
    "Medications": (
        "#a8823c",
        ("MEDICATION", *(f"MEDICATION_{kind}" for kind in ("REQUEST", "ADMINISTRATION", "DISPENSE", "STATEMENT"))),
    ),
    "Immunizations": ("#7d9a4f", ("IMMUNIZATION",)),
    "Procedures": ("#7a6c9d", ("PROCEDURE", "IMAGING_STUDY")),
    "Measurements": ("#3f8f7b", ("OBSERVATION", "QUESTIONNAIRE")),
    "Reports and notes": ("#5b8db8", ("NOTE", "DIAGNOSTIC_REPORT", "DIAGNOSTIC_REPORT_NOTE")),
    "Orders and plans": ("#9a8f80", ("SERVICE_REQUEST", "CARE_PLAN", "GOAL", "DEVICE", "SPECIMEN")),
    "Claims and costs": ("#7d7d7d", ("CLAIM", "EOB", "COST", "PAYER_PLAN_PERIOD")),
}  # fmt: skip
_INK, _FAINT, _FONT = "#333333", "#e9e9e9", "sans-serif"
_WIDTH = 720  # pixels
_YEARS = 40  # the latest that are drawn

_SHOWN = """
WITH lane(kind, lane) AS (VALUES {lanes}), shown AS (
  SELECT lane, e.time, e.end_time, c.kind, coalesce(c.description, c.concept_code, c.kind) AS label,
         e.numeric_value AS value, e.unit
  FROM timeline({subject}) e JOIN code c USING (code) JOIN lane USING (kind) WHERE e.time IS NOT NULL
)
"""
_MOMENTS = """
SELECT lane, epoch_ms(date_trunc('day', time)) AS day, count(*) AS n,
       array_to_string(list_sort(list(DISTINCT left(label, 60)
         || coalesce(' ' || printf('%g', value) || coalesce(' ' || unit, ''), '')))[:6], ' · ') AS what
FROM shown GROUP BY lane, day ORDER BY ALL
"""
_STRETCHES = """
SELECT lane, epoch_ms(min(time)) AS start, epoch_ms(coalesce(end_time, last)) AS stop, left(label, 60) AS what,
       greatest(0.03, least(0.3, 4.0 / count(*) OVER (PARTITION BY lane))) * if(end_time IS NULL, 0.5, 1) AS strength
FROM shown, (SELECT max(time) AS last FROM shown)
WHERE end_time >= time + INTERVAL 1 DAY OR (end_time IS NULL AND kind = 'CONDITION')
GROUP BY lane, label, end_time, last ORDER BY ALL
"""
_COVERAGE = """
WITH lane(kind, lane) AS (VALUES {lanes}), observed AS (
  SELECT unnest(range(year(first_time), year(last_time) + 1)) AS year FROM subject WHERE first_time IS NOT NULL
), years AS (SELECT year, count(*) AS subjects FROM observed GROUP BY year ORDER BY year DESC LIMIT {years}),
had AS (
  SELECT lane, year(time) AS year, subject_id, count(*) AS n
  FROM event JOIN (SELECT code, lane FROM code JOIN lane USING (kind)) USING (code) WHERE time IS NOT NULL GROUP BY ALL
)
SELECT year, any_value(years.subjects) AS observed, lane, sum(n)::BIGINT AS events,
       count(DISTINCT subject_id) AS subjects
FROM years LEFT JOIN had USING (year) GROUP BY year, lane ORDER BY year, lane
"""


def timeline(db: duckdb.DuckDBPyConnection, subject: int) -> LayerChart:
    """Draw the timeline of one subject: a lane a kind; dots are days with events, bars are what lasts.

    A larger dot has more events; where bars overlap, they are darker. A condition without an end goes on, paler.

    Args:
        db: What `md.connect` returns.
        subject: A subject_id.

    Returns:
        An Altair chart: it shows itself in a notebook; `.save("timeline.png")` writes it.

    Raises:
        ConfigError: Altair is not installed.
        StoreError: There is no such subject, or nothing of it has a time.
    """
    alt = _altair()
    shown = _SHOWN.format(lanes=_values(), subject=int(subject))
    moments, stretches = _rows(db, shown + _MOMENTS), _rows(db, shown + _STRETCHES)
    if not moments:
        raise StoreError("no such subject in this snapshot", hint="view subject lists them")
    lanes = _used(moments)
    died = _rows(db, f"SELECT epoch_ms(death_time) AS day FROM subject WHERE subject_id = {int(subject)} AND deceased")
    counts = [{"lane": lane, "n": f"{sum(row['n'] for row in moments if row['lane'] == lane):,}"} for lane in lanes]
    colors = alt.Color("lane:N", scale=_colors(lanes), legend=None)
    lane = alt.Y("lane:N", sort=lanes, title=None, axis=alt.Axis(ticks=False, domain=False, labelPadding=10))
    when = alt.X("day:T", title=None, axis=alt.Axis(grid=True, tickCount=8, domain=False, ticks=False))
    told = [alt.Tooltip("day:T", title="day", format="%Y-%m-%d"), alt.Tooltip("n:Q", title="events"), "what:N"]
    bars = (
        alt.Chart(_data(stretches))
        .mark_bar(height=9, cornerRadius=2)
        .encode(
            x=alt.X("start:T", title=None), x2="stop:T", y=lane, color=colors,
            opacity=alt.Opacity("strength:Q", scale=None),
            tooltip=[
                alt.Tooltip("start:T", title="from", format="%Y-%m-%d"),
                alt.Tooltip("stop:T", title="to", format="%Y-%m-%d"), "what:N",
            ],
        )
    )  # fmt: skip
    size = alt.Size("n:Q", scale=alt.Scale(type="sqrt", range=[16, 190]), legend=None)
    dots = (
        alt.Chart(_data(moments))
        .mark_circle(opacity=0.75)
        .encode(x=when, y=lane, color=colors, size=size, tooltip=told)
    )
    numbers = (
        alt.Chart(_data(counts))
        .mark_text(align="left", color="#8a8a8a", fontSize=11)
        .encode(x=alt.value(_WIDTH + 10), y=lane, text="n:N")
    )
    layers = [bars, dots, numbers]
    if died and died[0]["day"] is not None:
        rule = alt.Chart(_data(died)).mark_rule(color=_INK, strokeDash=[3, 3])
        layers.append(rule.encode(x="day:T", tooltip=[alt.Tooltip("day:T", title="death", format="%Y-%m-%d")]))
    title = alt.Title(
        f"Subject {int(subject)}",
        subtitle=f"{sum(row['n'] for row in moments):,} events; dates are moved by one offset",
    )
    made: LayerChart = _calm(alt.layer(*layers).properties(width=_WIDTH, height=32 * len(lanes), title=title))
    return made


def coverage(db: duckdb.DuckDBPyConnection) -> VConcatChart:
    """Draw what a store covers: for each year the subjects under observation, and who of them has what.

    A subject is under observation from its first event to its last. A cell is the share of the subjects under
    observation in that year that have at least one event of the kind.

    Args:
        db: What `md.connect` returns.

    Returns:
        An Altair chart: it shows itself in a notebook; `.save("coverage.png")` writes it.

    Raises:
        ConfigError: Altair is not installed.
        StoreError: Nothing in the store has a time.
    """
    alt = _altair()
    found = _rows(db, _COVERAGE.format(lanes=_values(), years=_YEARS))
    cells = [{**row, "share": min(row["subjects"] / row["observed"], 1)} for row in found if row["lane"]]
    if not cells:
        raise StoreError("nothing in this snapshot has a time", hint="mayo-data info shows what it holds")
    years = list({row["year"]: {"year": row["year"], "observed": row["observed"]} for row in found}.values())
    lanes = _used(cells)
    axis = alt.Axis(labelAngle=0, ticks=False, domain=False, labelOverlap="greedy", title=None)
    columns = alt.Scale(paddingInner=0.06, domain=[row["year"] for row in years])
    above = (
        alt.Chart(_data(years), width=_WIDTH, height=70)
        .mark_bar(color="#b9c4d0")
        .encode(
            x=alt.X("year:O", axis=None, scale=columns),
            y=alt.Y("observed:Q", title=None, axis=alt.Axis(tickCount=3, domain=False, ticks=False)),
            tooltip=["year:O", alt.Tooltip("observed:Q", title="subjects under observation", format=",")],
        )
        .properties(title=_title(alt, "Subjects under observation"))
    )
    share = alt.Color(
        "share:Q",
        scale=alt.Scale(domain=[0, 1], range=["#f1f4f3", "#b9d6ce", "#3f8f7b", "#1d4f45"]),
        legend=alt.Legend(
            title=None, format="%", orient="right", gradientLength=120, gradientThickness=10, tickCount=3
        ),
    )
    below = (
        alt.Chart(_data(cells), width=_WIDTH, height=26 * len(lanes))
        .mark_rect(cornerRadius=2)
        .encode(
            x=alt.X("year:O", axis=axis, scale=columns),
            y=alt.Y(
                "lane:N", sort=lanes, title=None, axis=alt.Axis(ticks=False, domain=False, labelPadding=10),
                scale=alt.Scale(paddingInner=0.1),
            ),
            color=share,
            tooltip=[
                "year:O", alt.Tooltip("lane:N", title="kind"), alt.Tooltip("share:Q", format=".0%", title="have it"),
                alt.Tooltip("subjects:Q", format=","), alt.Tooltip("events:Q", format=","),
            ],
        )
        .properties(title=_title(alt, "Share of them with at least one event"))
    )  # fmt: skip
    drawn: VConcatChart = _calm(alt.vconcat(above, below, spacing=18).resolve_scale(color="independent"))
    return drawn


def _altair() -> Any:
    try:
        import altair as alt
    except ModuleNotFoundError as error:
        raise ConfigError("Altair is not installed", hint='pip install "mayo-data[plot]"') from error
    return alt


def _values() -> str:
    """The lanes as rows of SQL."""
    return ", ".join(f"('{kind}', '{lane}')" for lane, (_, kinds) in LANES.items() for kind in kinds)


def _rows(db: duckdb.DuckDBPyConnection, query: str) -> list[dict[str, Any]]:
    found = db.execute(query)
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def _used(rows: list[dict[str, Any]]) -> list[str]:
    there = {row["lane"] for row in rows}
    return [lane for lane in LANES if lane in there]


def _data(rows: list[dict[str, Any]]) -> Any:
    """Rows as inline data: a data frame would stop at 5,000."""
    return _altair().InlineData(values=rows)


def _colors(lanes: list[str]) -> Any:
    return _altair().Scale(domain=lanes, range=[LANES[lane][0] for lane in lanes])


def _title(alt: Any, text: str) -> Any:
    return alt.Title(text, fontSize=12, fontWeight="normal", color="#666666")


def _calm(chart: Any) -> Any:
    return (
        chart.configure(font=_FONT, background="white", padding={"left": 10, "right": 50, "top": 10, "bottom": 10})
        .configure_view(stroke=None)
        .configure_axis(gridColor=_FAINT, labelColor=_INK, labelFontSize=11, titleColor=_INK)
        .configure_title(
            anchor="start", color=_INK, fontSize=14, subtitleColor="#8a8a8a", subtitleFontSize=11, offset=12
        )
    )
