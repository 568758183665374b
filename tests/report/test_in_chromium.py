"""The page as a browser shows it: wide and narrow, light and dark, with a keyboard, without a network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import BINARY, Page

from mayo_data.report.facts import gather
from mayo_data.report.page import page

pytestmark = pytest.mark.skipif(BINARY is None, reason="Chromium is not installed: apt-get install chromium")

# The contrast of every text with what lies behind it, by the formula of WCAG 2.2.
CONTRAST = """
(() => {
  const parse = c => (c.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map(v => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = element => {
    for (let at = element; at; at = at.parentElement) {
      const c = parse(getComputedStyle(at).backgroundColor);
      if (c.length === 3 || (c.length === 4 && c[3] === 1)) return c;
    }
    return [255, 255, 255];
  };
  const worst = {ratio: 99, words: ''};
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let seen = 0;
  while (walk.nextNode()) {
    const node = walk.currentNode, element = node.parentElement;
    if (!node.data.trim() || ['title', 'desc', 'style'].includes(element.localName)) continue;
    if (!element.getClientRects().length) continue;
    const style = getComputedStyle(element);
    const ink = parse(element instanceof SVGElement ? style.fill : style.color);
    const [a, b] = [light(ink), light(behind(element))].sort((p, q) => q - p);
    const ratio = (a + 0.05) / (b + 0.05);
    seen += 1;
    if (ratio < worst.ratio) Object.assign(worst, {ratio, words: node.data.trim().slice(0, 60)});
  }
  return {...worst, seen};
})()
"""
# What shows where the focus is.
FOCUS = """
(() => {
  const element = document.activeElement, style = getComputedStyle(element);
  return {name: element.localName, href: element.getAttribute('href'), width: parseFloat(style.outlineWidth),
          style: style.outlineStyle};
})()
"""


@pytest.fixture(scope="module")
def written(told_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page(gather(told_store, population=100_000, smallest=2)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with Page(tmp_path_factory.mktemp("profile")) as made:
        yield made


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_it_can_be_read(browser: Page, written: Path, width: int, dark: bool) -> None:
    browser.open(written, width=width, dark=dark)
    browser.ask("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert browser.ask("document.documentElement.scrollWidth") <= width
    assert browser.ask("document.querySelector('h1').getBoundingClientRect().width") > 0
    shown = browser.ask(
        "[...document.querySelectorAll('svg')].filter(one => one.getClientRects().length).map(one => one.classList[1])"
    )
    assert shown == ["wide" if width > 704 else "tall"] * 2
    found = browser.ask(CONTRAST)
    assert found["seen"] > 300
    assert found["ratio"] >= 4.5, found


def test_nothing_leaves_the_page_and_nothing_is_said_in_the_console(browser: Page, written: Path) -> None:
    browser.open(written)
    asked = {one["request"]["url"] for one in browser.named("Network.requestWillBeSent")}
    assert {url for url in asked if not url.startswith("data:")} == {written.resolve().as_uri()}
    assert browser.named("Runtime.consoleAPICalled") == []
    assert browser.named("Runtime.exceptionThrown") == []
    assert browser.named("Log.entryAdded") == []
    assert browser.named("Page.javascriptDialogOpening") == []
    assert browser.ask("document.scripts.length") == 0
    assert browser.ask("document.images.length") == 0


def test_text_in_a_picture_stays_inside_of_it(browser: Page, written: Path) -> None:
    for width in (1280, 400):
        browser.open(written, width=width)
        outside = browser.ask(
            """[...document.querySelectorAll('svg')].filter(one => one.getClientRects().length).flatMap(drawing => {
              const frame = drawing.getBoundingClientRect();
              return [...drawing.querySelectorAll('text')].filter(one => {
                const box = one.getBoundingClientRect();
                return box.left < frame.left - 1 || box.right > frame.right + 1 || box.bottom > frame.bottom + 1;
              }).map(one => one.textContent);
            })"""
        )
        assert outside == [], width


def test_a_keyboard_gets_everywhere(browser: Page, written: Path) -> None:
    browser.open(written)
    browser.key("Tab", 9)
    first = browser.ask(FOCUS)
    assert (first["name"], first["href"]) == ("a", "#main")
    names = set()
    for _ in range(40):
        browser.key("Tab", 9)
        found = browser.ask(FOCUS)
        names.add(found["name"])
        if found["name"] in ("a", "summary", "div"):
            assert found["style"] == "solid"
            assert found["width"] >= 2
    assert {"a", "summary", "div"} <= names  # links, what is folded, tables that scroll


def test_a_screen_reader_finds_its_way(browser: Page, written: Path) -> None:
    browser.open(written)
    nodes = browser.send("Accessibility.getFullAXTree")["nodes"]
    roles: dict[str, list[str]] = {}
    for node in nodes:
        if not node.get("ignored"):
            roles.setdefault(node["role"]["value"], []).append(node.get("name", {}).get("value", ""))
    assert len(roles["main"]) == 1
    assert roles["navigation"] == ["Contents"]
    assert "Rows in, rows out" in roles["heading"]
    pictures = (
        roles.get("image", []) + roles.get("img", []) + roles.get("SvgRoot", []) + roles.get("graphics-document", [])
    )
    assert any(name.startswith("Rows in, rows out") for name in pictures)
    assert any(name.startswith("Events by year") for name in pictures)
    assert all(pictures)
    assert {"columnheader", "rowheader", "table", "region"} <= set(roles)
    assert all(roles["table"])


def test_it_prints_with_everything_on_paper(browser: Page, written: Path) -> None:
    browser.open(written)
    made = browser.send("Page.printToPDF", printBackground=True, preferCSSPageSize=True)
    assert len(made["data"]) > 20_000
    browser.send("Emulation.setEmulatedMedia", media="print")
    assert browser.ask("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert browser.ask("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    hidden = browser.ask(
        "[...document.querySelectorAll('details table')].filter(one => !one.checkVisibility() || !one.offsetHeight).length"
    )
    assert hidden == 0  # what is folded away on a screen stands on paper
