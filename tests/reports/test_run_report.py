from __future__ import annotations

import base64
import hashlib
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from wsikit.errors import UsageError
from wsikit.reports.calibration import CalibrationBin
from wsikit.reports.run_report import RocCurve, RunReport, SlideRow, write_report
from wsikit.reports.sections import (
    ComparisonRow,
    ComparisonSection,
    FrocCurve,
    TruthRow,
    TruthSection,
)
from wsikit.reports.text import Estimate

VOID = {"meta", "img", "br", "link", "input", "hr"}
ALLOWED_BREAK = "wbr"
SHAPES = {"line", "rect", "polyline", "circle"}


class Page(HTMLParser):
    """Read a page strictly: every tag is closed in its order, every text and attribute kept.

    Text on both sides of a place where a line may break is one.
    """

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.goes_on = False
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.goes_on = tag == ALLOWED_BREAK
        if self.goes_on:
            return
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert tag in SHAPES
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.goes_on:
            data = self.texts.pop()[1] + data
        self.goes_on = False
        self.texts.append((self.open[-1] if self.open else "", data))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self) -> str:
        return " ".join(
            " ".join(data for tag, data in self.texts if tag not in ("script", "style")).split()
        )


def picture(path: Path, side: int = 40) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


def slide(slide_id: str, label: str, probability: float, **more) -> SlideRow:
    predicted = "tumour" if probability > 0.5 else "normal"
    row = SlideRow(
        slide_id,
        "done",
        patient_id="P1",
        label=label,
        predicted=predicted,
        probability=probability,
        fold=1,
        split="test",
        patches=1234,
    )
    return replace(row, **more)


def report(*slides: SlideRow, **more) -> RunReport:
    base = RunReport(
        title="a run",
        summary={"method": "gated ABMIL", "seed": "17"},
        classes=("normal", "tumour"),
        positive="tumour",
        pooled={"AUC": Estimate(0.934, 0.81, 0.99)},
        per_fold={"fold 1": {"AUC": Estimate(0.9, 0.8, 1.0)}},
        roc=[
            RocCurve("fold 1", np.float32([0, 0, 1]), np.float32([0, 1, 1]), Estimate(0.9, 0.8, 1))
        ],
        confusion=np.array([[3, 1], [0, 4]]),
        slides=slides,
        notes=("A score is a probability.",),
    )
    return replace(base, **more)


def written(folder: Path, what: RunReport, **more) -> Page:
    write_report(folder / "report.html", what, **more)
    return Page((folder / "report.html").read_text("utf-8"))


def test_the_page_parses_and_says_the_numbers(tmp_path: Path):
    page = written(tmp_path, report(slide("S1", "tumour", 0.9)))
    assert "0.93 (95 % CI 0.81\N{EN DASH}0.99)" in page.text
    assert "A score is a probability." in page.text
    assert "gated ABMIL" in page.text
    assert "Research use only" in page.text
    assert "✓ 3 (75 %)" in page.text
    assert "1,234" in page.text


def test_nothing_leaves_the_page(tmp_path: Path):
    heat = picture(tmp_path / "heatmaps" / "S1.png")
    page = written(tmp_path, report(slide("S1", "tumour", 0.9, heatmap=heat)))
    html = (tmp_path / "report.html").read_text("utf-8")
    assert not re.search(r"https?:|//[a-z]|url\(|@import", html.replace("// Sort", ""))
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object", "embed", "form")
        assert (attributes.get("src") or "data:").startswith("data:")
        assert not any(name.startswith("on") for name in attributes)
    assert str(tmp_path) not in html


def test_the_policy_allows_this_script_alone(tmp_path: Path):
    page = written(tmp_path, report(slide("S1", "tumour", 0.9)))
    (script,) = [data for tag, data in page.texts if tag == "script"]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = [m["content"] for m in page.all("meta") if "content" in m and "src" in m["content"]]
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


HOSTILE = [
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "{{ 7 * 7 }} {% raw %}",
    "&lt;b&gt; &amp;",
    "שלום \u202egnp.live",
    "切片 慢 \U0001f52c",
    "</style></title>-->",
    "javascript:alert(1)",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_text(tmp_path: Path, name: str):
    heat = picture(tmp_path / "h.png")
    calm = written(tmp_path, everything_named("calm", heat))
    page = written(tmp_path, everything_named(name, heat))
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in calm.tags]
    assert [sorted(a) for _, a in page.tags] == [sorted(a) for _, a in calm.tags]
    texts = [data for _, data in page.texts]
    assert name in texts
    # Isolated, so that a right-to-left name cannot reorder what stands beside it.
    assert {tag for tag, data in page.texts if data == name} >= {"bdi"}
    assert not any((a.get("href") or "").lower().startswith("javascript") for a in page.all("a"))


def everything_named(name: str, heat: Path) -> RunReport:
    done = slide(name, name, 0.9, predicted=name, patient_id=name, heatmap=heat, split=name)
    done = replace(done, links={name: heat.with_name("x.geojson")})
    lost = SlideRow(name, "failed", reason=name, patient_id=name, label=name)
    return RunReport(
        title=name,
        summary={name: name},
        classes=(name, "b"),
        positive=name,
        pooled={name: Estimate(None, why=name)},
        per_fold={name: {name: Estimate(0.5)}},
        roc=[RocCurve(name, np.zeros(2), np.ones(2), Estimate(None, why=name))],
        roc_pooled=RocCurve(name, np.zeros(2), np.ones(2), Estimate(0.5)),
        confusion=np.eye(2, dtype=int),
        slides=[done, lost],
        measured=name,
        comparison=comparison(name),
        truth=truth(name),
        notes=[name],
    )


def test_names_may_break_between_their_words(tmp_path: Path):
    name = "a_b--c.<i>d"
    written(tmp_path, report(slide(name, "tumour", 0.9, patient_id="p-1.")))
    html = (tmp_path / "report.html").read_text("utf-8")
    assert "<bdi>a_<wbr>b--<wbr>c.<wbr>&lt;i&gt;d</bdi></th>" in html
    assert "<bdi>p-<wbr>1.</bdi></td>" in html


def test_control_characters_and_broken_unicode_are_replaced(tmp_path: Path):
    page = written(tmp_path, report(slide("a\x00b\x1b[2Jc\udcff", "tumour", 0.9)))
    assert "a�b�[2Jc�" in page.text


def test_failed_slides_come_first_with_their_reason(tmp_path: Path):
    page = written(
        tmp_path,
        report(
            slide("good", "tumour", 0.9),
            SlideRow("bad", "failed", "cut short inside a tile"),
            SlideRow("glass", "empty"),
        ),
    )
    text = page.text
    assert "3 slides: 1 done, 1 failed, 1 empty" in text
    assert text.index("cut short inside a tile") < text.index("Result on held-out")
    assert "no reason was recorded" in text


def test_right_and_wrong_differ_in_words_and_wrong_comes_first(tmp_path: Path):
    page = written(
        tmp_path,
        report(
            slide("A", "tumour", 0.9),
            slide("B", "normal", 0.8),
            slide("C", "tumour", 0.1),
            replace(slide("D", "normal", 0.2), label=None),
        ),
    )
    for words in ("✓ correct", "✗ false positive", "✗ false negative", "? no label"):
        assert words in page.text
    body = [a["data-verdict"] for a in page.all("tr") if "data-verdict" in a]
    assert body == ["wrong", "wrong", "right", "open"]


def test_several_classes_know_no_false_positive(tmp_path: Path):
    row = slide("A", "b", 0.5, predicted="c")
    what = report(row, classes=("a", "b", "c"), positive=None, confusion=np.eye(3, dtype=int))
    page = written(tmp_path, what)
    assert "✗ wrong" in page.text
    assert "probability of the predicted class" in page.text


@pytest.mark.parametrize("value", [None, float("nan")])
def test_a_number_that_could_not_be_computed_says_why(tmp_path: Path, value: float | None):
    pooled = {
        "AUC": Estimate(value, value, value, why="one class only"),
        "F1": Estimate(value),
        "accuracy": Estimate(0.5, value, value),
    }
    row = replace(slide("A", "tumour", 0.9), probability=value, predicted=None)
    page = written(tmp_path, report(row, pooled=pooled, per_fold={"1": {}, "2": pooled}))
    assert "n/a (one class only)" in page.text
    assert "n/a (not enough slides to compute it)" in page.text
    assert "0.50 (no interval)" in page.text
    assert "n/a (not measured)" in page.text
    assert "no prediction" in page.text
    assert not re.search(r"\b(nan|None)\b", page.text)


def test_an_interval_without_width_is_not_shown_as_one(tmp_path: Path):
    same = {"specificity": Estimate(1.0, 1.0, 1.0)}
    both = comparison(rows=[ComparisonRow("F1", *[Estimate(0.0, 0.0, 0.0)] * 3)], roc=())
    page = written(tmp_path, report(pooled=same, per_fold={"1": same}, roc=(), comparison=both))
    assert "specificity 1.00 (all resamples alike)" in page.text.replace("  ", " ")
    assert page.text.count("all resamples alike") == 5
    assert "95 % CI" not in page.text


def test_a_run_without_labels_or_slides(tmp_path: Path):
    page = written(tmp_path, RunReport("empty", {}, ()))
    assert "nothing was measured" in page.text
    assert page.all("table") == []


def test_every_table_names_its_columns_and_rows(tmp_path: Path):
    page = written(
        tmp_path, report(slide("A", "tumour", 0.9), SlideRow("bad", "failed", "cut short"))
    )
    assert len(page.all("table")) == 4
    assert all(header.get("scope") in ("col", "row") for header in page.all("th"))
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    for _, attributes in page.tags:
        assert attributes.get("aria-labelledby", ids[0]) in ids


def test_heatmaps_are_inlined_and_named(tmp_path: Path):
    heat = picture(tmp_path / "heatmaps" / "S 1#?.png", 1600)
    page = written(tmp_path, report(slide("S1", "tumour", 0.9, heatmap=heat)))
    (image,) = page.all("img")
    data = base64.b64decode(image["src"].split(",")[1])
    with Image.open(io.BytesIO(data)) as shown:
        assert shown.size == (1000, 1000) == (int(image["width"]), int(image["height"]))
    assert "S1" in image["alt"]
    targets = {a["href"][1:] for a in page.all("a")}
    assert targets <= {a.get("id") for _, a in page.tags}


def test_what_does_not_fit_is_linked_and_said(tmp_path: Path):
    slides = [
        slide(f"S{i}", "tumour", 0.9, heatmap=picture(tmp_path / "heat maps" / f"S#{i}.png", 200))
        for i in range(5)
    ]
    page = written(tmp_path, report(*slides), inline_bytes=70_000)
    shown = len(page.all("img"))
    assert 0 < shown < 5
    assert f"{shown} of 5 heatmaps are shown here" in page.text
    links = [a["href"] for a in page.all("a") if not a["href"].startswith("#")]
    assert len(links) == 5 - shown
    assert all((tmp_path / unquote(link)).is_file() for link in links)
    assert not any(set(link) & set("#? ") for link in links)


def test_links_lead_from_the_page_to_the_files(tmp_path: Path):
    target = tmp_path / "maps" / "S1.geojson"
    target.parent.mkdir()
    target.write_text("{}")
    (tmp_path / "run").mkdir()
    page = written(tmp_path / "run", report(slide("S1", "tumour", 0.9, links={"GeoJSON": target})))
    (link,) = page.all("a")
    assert link["href"] == "../maps/S1.geojson"


def test_a_heatmap_that_is_missing_or_broken_is_said(tmp_path: Path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\nnot really")
    page = written(
        tmp_path,
        report(
            slide("A", "tumour", 0.9, heatmap=tmp_path / "absent.png"),
            slide("B", "tumour", 0.9, heatmap=broken),
        ),
    )
    assert "the heatmap file is missing" in page.text
    assert "the heatmap file cannot be read" in page.text
    assert page.all("img") == []


def test_equal_input_gives_equal_bytes(tmp_path: Path):
    heat = picture(tmp_path / "h.png")
    for name in ("a.html", "b.html"):
        write_report(tmp_path / name, report(slide("A", "tumour", 0.9, heatmap=heat)))
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_calibration_is_drawn_where_there_is_some(tmp_path: Path):
    groups = [CalibrationBin(k / 5, k / 5, 0.0, 1.0, 6, 5) for k in range(5)]
    page = written(tmp_path, report(calibration=groups))
    assert len(page.all("circle")) == 5
    assert "share that was positive" in page.text
    page = written(tmp_path, report(calibration=groups, positive=None))
    assert "share that was right" in page.text
    page = written(tmp_path, report())
    assert page.all("circle") == []
    assert "No calibration curve" in page.text


def comparison(name: str = "other", **more) -> ComparisonSection:
    curve = RocCurve(name, np.float64([0, 0, 1]), np.float64([0, 1, 1]), Estimate(0.9, 0.8, 1))
    row = ComparisonRow("AUC", Estimate(0.9, 0.8, 1), Estimate(0.87, 0.7, 0.95), Estimate(-0.03))
    base = ComparisonSection(
        names=("this", name),
        slides=12,
        patients=9,
        rows=[row, replace(row, name="F1", difference=Estimate(0.031, -0.02, 0.08))],
        verdict=f"They differ: {name}.",
        roc=[curve, replace(curve, name="second")],
        unmatched={"of another file": [name, "b"], "held out by neither": []},
        notes=[name],
    )
    return replace(base, **more)


def truth(name: str = "s7") -> TruthSection:
    read_off = {0.25: Estimate(0.5, 0.2, 0.8), 8.0: Estimate(None, why=name)}
    return TruthSection(
        summary=f"patches of {name}",
        rows=[TruthRow("Dice", Estimate(0.4, 0.3, 0.5), name), TruthRow("x", Estimate(None), "y")],
        froc=FrocCurve(np.array([0, 0.5]), np.array([0, 0.5]), read_off, 1),
        left_out={name: f"no file, {name}"},
        notes=[name],
    )


def test_another_run_stands_beside_this_one(tmp_path: Path):
    page = written(tmp_path, report(comparison=comparison()))
    assert "on the 12 slides of 9 patients that both held out" in page.text
    assert "\N{MINUS SIGN}0.03 (no interval)" in page.text
    assert "+0.03 (95 % CI \N{MINUS SIGN}0.02 to +0.08)" in page.text
    assert "Not compared, of another file (2): other , b" in page.text
    assert "held out by neither" not in page.text
    plain = written(tmp_path, report(comparison=comparison(roc=(), notes=())))
    assert "ROC of both" in page.text
    assert "ROC of both" not in plain.text


def test_known_regions_have_a_section(tmp_path: Path):
    page = written(tmp_path, report(truth=truth()))
    assert "0.30\N{EN DASH}0.50" in page.text
    assert "FROC, 1 lesion " in page.text
    assert "0.25 0.50 (95 % CI 0.20\N{EN DASH}0.80)" in page.text
    assert "s7 : no file, s7" in page.text
    plain = written(tmp_path, report(truth=replace(truth(), froc=None, notes=(), left_out={})))
    assert "FROC" not in plain.text
    assert "Patch scores against known regions" in plain.text


def test_no_id_stands_twice_on_a_full_page(tmp_path: Path):
    groups = [CalibrationBin(0.5, 0.5, 0.0, 1.0, 6, 5)]
    page = written(tmp_path, report(comparison=comparison(), truth=truth(), calibration=groups))
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert all(a.get("aria-labelledby", ids[0]) in ids for _, a in page.tags)


def test_a_matrix_of_another_size_is_refused():
    with pytest.raises(ValueError, match="does not fit 2 classes"):
        report(confusion=np.eye(3, dtype=int))


def test_an_unwritable_place(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write"):
        write_report(tmp_path / "file" / "report.html", report())
