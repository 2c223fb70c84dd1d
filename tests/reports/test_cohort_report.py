"""The page on a run: whole without script, nothing but text in it, sorted in a real browser."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.reports.test_run_report import Page
from wsikit.reports.cohort_report import CohortReport, CohortRow, render_cohort, write_cohort_page
from wsikit.reports.text import Estimate


def jpeg(seed: int) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 255, (40, 60, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "JPEG")
    return buffer.getvalue()


def made(folder: Path) -> CohortReport:
    """Slides of every state; the second one's name is an attack."""
    rows = [
        CohortRow("s10", "done", label="tumour", split="test", predicted="tumour",
                  probability=0.9, patches=1200, thumbnail=jpeg(0),
                  links={"picture": folder / "s10.png"}),
        CohortRow("<img src=x onerror=alert(1)>", "done", label="normal", split="test",
                  predicted="tumour", probability=0.6, models=(0.4, 0.8), patches=90,
                  flags=("few patches", "stain far from training"), thumbnail=jpeg(1)),
        CohortRow("s2", "done", label="normal", split="train", predicted="tumour",
                  probability=0.55, patches=300),
        CohortRow("s3", "failed", reason="tile: damaged"),
        CohortRow("s4", "empty", reason="no tissue was found in it"),
    ]  # fmt: skip
    return CohortReport(
        "run: all slides", "probability of tumour", "probability of tumour", rows,
        measured={"AUC": Estimate(0.93, 0.81, 0.99)}, notes=["Read this."],
        colours=["#000000", "#ffff00"],
    )  # fmt: skip


def test_the_page_holds_every_slide_and_no_foreign_markup(tmp_path: Path) -> None:
    html = render_cohort(made(tmp_path), tmp_path)
    page = Page(html)
    assert page.open == []
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) == 2
    assert all((image["src"] or "").startswith("data:image/jpeg;base64,") for image in images)
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert links == ["s10.png"]
    assert "&lt;img src=x onerror" in html
    assert "0.93 (95 % CI 0.81" in html
    assert "5 slides: 3 predicted, 1 flagged, 1 failed, 1 without tissue." in html
    assert "0.40 to 0.80" in html
    assert not re.search(r"(src|href)=\"(https?:)?//", html)


def test_what_is_predicted_stands_above_what_is_not(tmp_path: Path) -> None:
    report = made(tmp_path)
    html = render_cohort(replace(report, rows=[CohortRow("s0", "open"), *report.rows]), tmp_path)
    rows = html.partition("<tbody>")[2]
    names = re.findall(r'class="name"><bdi>(.*?)</bdi></th>', rows)
    assert (names[0], names[-1]) == ("s3", "s0")
    assert "last those not predicted" in html
    assert "last those not predicted" not in render_cohort(report, tmp_path)


def test_a_column_that_is_empty_throughout_is_left_out(tmp_path: Path) -> None:
    report = made(tmp_path)
    heads = Page(render_cohort(report, tmp_path)).text
    assert "label predicted" in heads.partition("heatmap ")[2]
    assert " patient " not in heads
    rows = [replace(row, label="", split="", patient_id="p") for row in report.rows]
    page = Page(render_cohort(replace(report, rows=rows), tmp_path))
    words = [data for tag, data in page.texts if tag == "button"]
    assert words[:3] == ["slide", "patient", "predicted"]
    assert not {"label", "split"} & set(words)
    cells = [tag for tag, _ in page.tags]
    assert cells.count("th") - len(rows) == (cells.count("td") + len(rows)) / len(rows)


def test_a_slide_that_was_learnt_from_is_not_called_right_or_wrong(tmp_path: Path) -> None:
    verdicts = {row.slide_id: row.verdict for row in made(tmp_path).rows}
    assert verdicts["s2"] == ""
    assert (verdicts["s10"], verdicts["<img src=x onerror=alert(1)>"]) == ("right", "wrong")


def test_pictures_beyond_the_room_are_left_out_and_said_so(tmp_path: Path) -> None:
    html = render_cohort(made(tmp_path), tmp_path, inline_bytes=len(jpeg(0)) * 2)
    assert html.count("data:image/jpeg") == 1
    assert "1 small heatmaps are left out" in html


def test_it_sorts_and_filters_in_a_browser(tmp_path: Path) -> None:
    pytest.importorskip("playwright")
    from tests.heatmap.viewer.chromium import chromium, watched

    path = tmp_path / "cohort #1.html"
    write_cohort_page(path, made(tmp_path))
    with chromium() as browser, watched(browser) as seen:
        page = seen.page
        page.goto(path.as_uri())
        names = page.locator("#slides tbody tr:not([hidden]) th")
        first = ["s3", "s4", "s10", "<img src=x onerror=alert(1)>", "s2"]
        assert names.all_inner_texts() == first
        page.get_by_role("button", name="probability of tumour").click()
        assert names.all_inner_texts() == ["s2", first[3], "s10", "s3", "s4"]
        page.get_by_role("button", name="probability of tumour").click()
        assert names.all_inner_texts() == ["s10", first[3], "s2", "s3", "s4"]
        page.locator("#slides th button").first.click()
        assert names.all_inner_texts()[1:] == ["s2", "s3", "s4", "s10"]
        page.locator("#only").select_option("flagged")
        assert names.all_inner_texts() == [first[3]]
        page.locator("#only").select_option("")
        page.locator("#words").fill("TUMOUR s1")
        assert names.all_inner_texts() == ["s10"]
        assert page.locator("#shown").inner_text() == "1 of 5 shown"
