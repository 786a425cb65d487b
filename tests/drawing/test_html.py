"""Reports as web pages: well-formed, complete in one file, and safe for any name."""

from dataclasses import replace
from html.parser import HTMLParser

import pytest
from cost.usages import MONTH, NOW

from drawing.test_candles import ROWS
from drawing.test_cost import SITES
from drawing.test_verify import START, report
from mcloud.cost.report import make_report
from mcloud.drawing.html import candles_page, cost_page, drill_page, verify_page
from mcloud.rehearsal.drill_report import DrillReport, SiteResult
from mcloud.replication.verify_report import Finding

VOID = {"br", "line", "meta", "rect"}
HOSTILE = "<script>alert('1')</script>"


def drill_report() -> DrillReport:
    report = DrillReport("hang", "a site accepts and answers nothing", "aws", True)
    report.moves, report.rto_s, report.trades, report.rpo_ids_missing = 1, 6.1, 20_497, 0
    report.sites = {name: SiteResult(10, True, 20_497) for name in ("aws", "gcp")}
    return report


class Page(HTMLParser):
    """Checks that every element is closed, and collects the texts, tags and attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


PAGES = {
    "candles": candles_page(ROWS, "BTCUSDT", "1m", "aws"),
    "no candles": candles_page([], "BTCUSDT", "1m", "aws"),
    "cost": cost_page(make_report(SITES, MONTH, NOW)),
    "drill": drill_page(drill_report()),
    "verify": verify_page(report()),
}


@pytest.mark.parametrize("text", PAGES.values(), ids=PAGES)
def test_a_page_is_one_file(text: str) -> None:
    page = Page(text)
    assert "script" not in page.tags
    assert not {name for name, _ in page.attributes} & {"src", "href", "onload", "onclick"}
    assert "url(" not in text


def test_candles_have_a_chart_and_a_table_with_the_newest_first() -> None:
    page = Page(PAGES["candles"])
    assert page.tags.count("g") == len(ROWS)
    rows = [text for text in page.texts if text.startswith("2024-08-08 ")]
    assert rows == ["2024-08-08 23:55:00", "2024-08-08 23:54:00"]
    assert "no data" in Page(PAGES["no candles"]).texts


def test_the_cost_of_each_site_has_a_total() -> None:
    texts = Page(PAGES["cost"]).texts
    assert texts.count("total") == len(SITES)
    assert any(text.startswith("Cost of 2026-11: $") for text in texts)


def test_the_map_has_a_cell_for_each_hour_of_the_days_with_findings() -> None:
    found = [
        Finding("missing", "BTCUSDT", "gcp", START + hours * 3_600_000, why=HOSTILE)
        for hours in (0, 0, 27)
    ]
    text = verify_page(report(*found))
    page = Page(text)
    cells = [value for name, value in page.attributes if name == "class" and "cell" in str(value)]
    assert [n for n, each in enumerate(cells) if each == "cell bad"] == [0, 27]
    assert len(cells) == 48
    assert page.texts.count(HOSTILE) == 3


def test_texts_are_escaped() -> None:
    page = Page(drill_page(replace(drill_report(), problem=HOSTILE, about=HOSTILE)))
    assert HOSTILE in page.texts
    assert HOSTILE in "".join(Page(candles_page(ROWS, HOSTILE, "1m", "aws")).texts)
