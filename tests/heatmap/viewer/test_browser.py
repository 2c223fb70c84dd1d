"""The page in a real browser, loaded from the disk."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.heatmap.viewer.chromium import Watched, chromium, pixels, watched
from tests.heatmap.viewer.made_subject import MPP, SIDE, SIZE, SQUARE, TUMOUR, grid_scores, subject
from wsikit.heatmap.colours import heat_lut
from wsikit.heatmap.scores import PatchScores
from wsikit.heatmap.viewer.layers import Layer
from wsikit.heatmap.viewer.write import write_folder, write_single_file
from wsikit.types import Size


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A name with what addresses must escape."""
    path = tmp_path_factory.mktemp("viewer") / "slide #1 50% ü"
    write_folder(path, subject(slide_id="<b>ph</b>", alpha=0.5))
    return path


@pytest.fixture
def seen(browser: Browser) -> Iterator[Watched]:
    with watched(browser) as seen:
        yield seen


def show(page: Page, path: Path, view: str = "") -> None:
    page.goto(path.as_uri() + view)
    page.wait_for_selector("body[data-ready]")
    settle(page)


FRAMES = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


def settle(page: Page) -> None:
    """Wait until every tile of the view is drawn."""
    page.evaluate(FRAMES)
    page.wait_for_selector("#slide[aria-busy=false]")
    page.evaluate(FRAMES)


def stage(page: Page) -> np.ndarray:
    """Return what is seen of the slide, without the small overview at the right."""
    return pixels(page)[:, :700]


def index(folder: Path) -> Path:
    return folder / "index.html"


def top_colour(name: str) -> np.ndarray:
    """Return the colour of the highest score, which is not quite 1."""
    return heat_lut(name)[round(255 * float(subject().layers[0].scores.values.max()))]


def place(page: Page) -> tuple[int, int]:
    words = page.locator("#fact-place").text_content() or ""
    x, y = re.findall(r"\d+", words)[:2]
    return int(x), int(y)


def near(colour: tuple[int, ...] | np.ndarray, image: np.ndarray, by: int = 12) -> np.ndarray:
    return (np.abs(image.astype(int) - np.array(colour)) <= by).all(axis=2)


def middle(mask: np.ndarray) -> tuple[float, float]:
    rows, cols = np.nonzero(mask)
    return float(cols.mean()) + 0.5, float(rows.mean()) + 0.5


def view_of(page: Page) -> dict[str, list[str]]:
    page.evaluate(FRAMES)  # the address follows the view after a moment; the page's own clock tells
    page.evaluate("new Promise(done => setTimeout(done, 200))")
    return parse_qs(page.evaluate("location.hash").lstrip("#"))


def set_range(page: Page, selector: str, value: int) -> None:
    page.locator(selector).fill(str(value))


def test_a_click_on_the_tumour_shows_the_patch_that_lies_there(seen: Watched, folder: Path):
    """The square is found in the slide's own pixels, with no score shown; then it is clicked."""
    page = seen.page
    show(page, index(folder))
    page.locator("#show").uncheck()
    page.locator("#truth").uncheck()
    settle(page)
    x, y = middle(near(TUMOUR, stage(page), 30))
    page.locator("#slide").click(position={"x": x, "y": y})
    left, top = place(page)
    assert left <= SQUARE.x + 64 < left + SIDE.width
    assert top <= SQUARE.y + 69 < top + SIDE.height
    expect(page.locator("#fact-rank")).to_contain_text("1 of ")
    page.wait_for_selector("#patch-picture[data-ready]")
    size = page.evaluate(
        "['width', 'height'].map(k => document.getElementById('patch-picture')[k])"
    )
    assert size == [128, round(SIDE.height * MPP.y / 0.5)]
    assert near(TUMOUR, pixels(page, "#patch-picture"), 30).mean() > 0.3


def test_the_top_colour_lies_on_the_tumour(seen: Watched, folder: Path):
    page = seen.page
    show(page, index(folder))
    page.locator("#truth").uncheck()
    page.locator("#show").uncheck()
    settle(page)
    bare = stage(page)
    page.locator("#show").check()
    set_range(page, "#opacity", 100)
    settle(page)
    painted = stage(page)
    top = top_colour("viridis")
    tumour, hot = middle(near(TUMOUR, bare, 30)), middle(near(top, painted, 4))
    um = float((page.locator("#where").text_content() or "").split()[0])
    assert abs(tumour[0] - hot[0]) * um <= SIDE.width * MPP.x
    assert abs(tumour[1] - hot[1]) * um <= SIDE.height * MPP.y
    rows, cols = np.nonzero(near(top, painted, 4))
    # A patch is as high as it is wide in micrometres, though not in level-0 px.
    assert np.ptp(cols) + 1 == pytest.approx(SIDE.width * MPP.x / um, abs=1.5)
    assert np.ptp(rows) + 1 == pytest.approx(SIDE.height * MPP.y / um, abs=1.5)


def test_the_scale_bar_is_true(seen: Watched, folder: Path):
    page = seen.page
    show(page, index(folder))
    page.locator("#show").uncheck()
    page.locator("#truth").uncheck()
    settle(page)
    cols = np.nonzero(near(TUMOUR, stage(page)[150:-100, 100:], 45))[1]
    bar = page.locator("#scale-bar")
    px = bar.evaluate("bar => bar.getBoundingClientRect().width")
    um = float(bar.get_attribute("data-um") or "nan")
    assert (np.ptp(cols) + 1) * um / px == pytest.approx(SQUARE.width * MPP.x, abs=1.6 * um / px)
    expect(page.locator("#scale-words")).to_have_text(f"{um:g} µm")


def test_a_patch_that_reaches_beyond_the_slide_colours_nothing_there(
    seen: Watched, tmp_path: Path
) -> None:
    """The overview at the corner is not see-through either, seconds after it came."""
    corners = np.array([(x, y) for y in (0, 800, 1600) for x in (0, 800, 1600, 2400)], np.int32)
    values = np.linspace(0.1, 0.9, len(corners), dtype=np.float32)
    scores = PatchScores(corners, Size(800, 800), values, "p", "probability")
    write_folder(tmp_path / "ph", subject(layers=[Layer("a", scores)], truth=None))
    show(seen.page, index(tmp_path / "ph"), "#opacity=100")
    coloured = stage(seen.page)
    seen.page.locator("#show").uncheck()
    settle(seen.page)
    bare = stage(seen.page)
    outside = (bare == bare[0, 0]).all(axis=2)
    assert outside.any()
    assert (coloured[outside] == bare[0, 0]).all()
    assert (coloured[~outside] != bare[~outside]).any(axis=1).mean() > 0.98
    seen.page.wait_for_timeout(2500)
    assert set(seen.page.locator(".navigator").evaluate(OPACITIES)) == {"1"}


OPACITIES = """part => {
  const seen = [];
  for (let at = part; at; at = at.parentElement) seen.push(getComputedStyle(at).opacity);
  return seen;
}"""


def test_opacity_threshold_and_map_change_what_is_seen(seen: Watched, folder: Path):
    page = seen.page
    show(page, index(folder), "#opacity=0&outline=off")
    bare = stage(page).astype(float)
    set_range(page, "#opacity", 50)
    half = stage(page).astype(float)
    set_range(page, "#opacity", 100)
    full = stage(page).astype(float)
    np.testing.assert_allclose(half, (bare + full) / 2, atol=3)
    set_range(page, "#threshold", 50)
    above = stage(page)
    bare_again = (np.abs(above - bare) <= 1).all(axis=2)
    hot = near(
        heat_lut("viridis")[round(255 * float(subject().layers[0].scores.values.max()))], above
    )
    assert (bare_again | hot).mean() > 0.995
    assert hot.sum() > 50
    expect(page.locator("#count")).to_have_text(re.compile(r"^1 of [\d,]+ patches coloured$"))
    page.locator("#map").select_option("magma")
    assert near(top_colour("magma"), stage(page)).sum() == pytest.approx(hot.sum(), abs=8)


def test_another_run_is_shown_as_percentile_and_says_so(seen: Watched, folder: Path):
    page = seen.page
    show(page, index(folder), "#opacity=100&outline=off")
    expect(page.locator("#meaning")).to_have_text("probability of tumour")
    first = stage(page)
    page.locator("#run").select_option(label="second")
    expect(page.locator("#meaning")).to_have_text("attention: percentile within this slide")
    expect(page.locator("#bar-ticks span").last).to_have_text("100")
    assert (stage(page) != first).any(axis=2).mean() > 0.2
    page.keyboard.press("n")
    expect(page.locator("#fact-rank")).to_contain_text("1 of ")
    assert place(page) != (1920, 834)
    expect(page.locator("#facts")).to_contain_text("first")
    page.locator("#view").select_option(label="attention: share of the highest in this slide")
    expect(page.locator("#bar-ticks span").last).to_have_text("1.0")
    page.locator("#view").focus()
    page.locator("#run").select_option(label="first")
    expect(page.locator("#facts")).to_contain_text("probability of tumour")


def test_the_link_opens_the_same_view(seen: Watched, browser: Browser, folder: Path):
    page = seen.page
    show(page, index(folder))
    page.keyboard.press("n")
    page.keyboard.press("+")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("p")
    page.keyboard.press("]")
    page.keyboard.press("m")
    page.locator("#run").select_option(label="second")
    settle(page)
    view_of(page)
    link, mine = page.url, stage(page)
    with watched(browser) as other:
        other.page.goto(link)
        other.page.wait_for_selector("body[data-ready]")
        settle(other.page)
        assert np.abs(stage(other.page).astype(int) - mine).mean() < 0.5
        assert place(other.page) == place(page)
        expect(other.page.locator("#opacity-words")).to_have_text("55 %")
        expect(other.page.locator("#map")).to_have_value("cividis")
        assert view_of(other.page) == view_of(page)


@pytest.mark.parametrize(
    "view",
    ["#x=nan&y=&um=-1&opacity=9e9&threshold=x&run=z&view=q&map=__proto__&patch=1,b,c", "#%%"],
)
def test_a_link_of_nonsense_shows_the_slide(seen: Watched, folder: Path, view: str):
    show(seen.page, index(folder), view)
    expect(seen.page.locator("#map")).to_have_value("viridis")
    assert near(TUMOUR, pixels(seen.page), 90).any()


def test_keys_do_what_the_help_says(seen: Watched, folder: Path):
    page = seen.page
    show(page, index(folder))
    home = view_of(page)
    for _ in range(3):  # the whole slide has nowhere to go
        page.keyboard.press("+")
    before = view_of(page)
    assert float(before["um"][0]) < float(home["um"][0]) / 3
    for key, field, more in (
        ("ArrowRight", "x", True), ("ArrowLeft", "x", False), ("ArrowDown", "y", True),
        ("ArrowUp", "y", False), ("-", "um", True), ("p", "opacity", True),
        ("o", "opacity", False), ("]", "threshold", True), ("[", "threshold", False),
    ):  # fmt: skip
        page.keyboard.press(key)
        after = view_of(page)
        was, is_now = float(before[field][0]), float(after[field][0])
        assert (is_now > was) if more else (is_now < was), key
        before = after
    page.keyboard.press("0")
    assert view_of(page) == home
    page.keyboard.press("h")
    expect(page.locator("#show")).not_to_be_checked()
    page.keyboard.press("r")
    expect(page.locator("#run")).to_have_value("1")
    page.keyboard.press("n")
    page.keyboard.press("n")
    expect(page.locator("#fact-rank")).to_contain_text("2 of ")
    page.keyboard.press("b")
    expect(page.locator("#fact-rank")).to_contain_text("1 of ")
    page.keyboard.press("Escape")
    expect(page.locator("#patch-found")).to_be_hidden()
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#help")).to_be_hidden()


MARKED = """(() => {
  const focused = document.activeElement, slide = focused.closest("#slide");
  const marked = (element) => getComputedStyle(element).outlineStyle !== "none";
  return focused === document.body || marked(focused) || (slide !== null && marked(slide));
})()"""


def test_controls_are_reached_by_tab_named_and_marked(seen: Watched, folder: Path):
    page = seen.page
    show(page, index(folder))
    reached = set()
    for _ in range(48):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id"))
        outline = page.evaluate(MARKED)
        assert outline, page.evaluate("document.activeElement.outerHTML.slice(0, 200)")
    wanted = {"run", "view", "map", "opacity", "threshold", "show", "truth", "link", "zoom-in"}
    assert wanted <= reached
    for name in ("Run", "Colours show", "Colour map", "Opacity", "Threshold", "Zoom in"):
        assert page.get_by_label(name, exact=True).count() == 1


def test_the_strip_jumps_to_a_patch(seen: Watched, folder: Path):
    page = seen.page
    show(page, index(folder))
    page.get_by_label(re.compile("^Rank 1,")).click()
    settle(page)
    x, y = place(page)
    view = view_of(page)
    assert float(view["x"][0]) == pytest.approx(x + SIDE.width / 2, abs=1)
    assert float(view["y"][0]) == pytest.approx(y + SIDE.height / 2, abs=1)
    page.locator("#ends").select_option("bottom")
    expect(page.locator("#tops button").first).to_have_attribute(
        "aria-label", re.compile(f"^Rank {subject().layers[0].scores.rank.max()},")
    )


def test_a_place_without_a_patch_says_so(seen: Watched, folder: Path):
    page = seen.page
    show(page, index(folder), f"#x={SIZE.width / 2}&y=60&um=1")
    box = page.locator("#slide").bounding_box()
    assert box is not None
    page.locator("#slide").click(position={"x": box["width"] / 2, "y": box["height"] / 2})
    expect(page.locator("#patch-hint")).to_contain_text(
        re.compile(r"No patch was scored at x (1499|150[01]), y (59|6[01])\.")
    )


def test_a_patch_without_its_own_file_is_cut_from_the_picture(seen: Watched, folder: Path):
    page = seen.page
    show(page, index(folder))
    for _ in range(40):
        page.keyboard.press("n")
    expect(page.locator("#patch-origin")).to_contain_text("Enlarged from the picture")
    page.wait_for_function(
        "(() => { const c = document.getElementById('patch-picture');"
        "return c.dataset.ready === c.dataset.patch; })()"
    )
    seen_patch = pixels(page, "#patch-picture")
    assert near((236, 200, 220), seen_patch, 8).mean() > 0.95


def test_the_truth_is_outlined_where_it_lies(seen: Watched, folder: Path):
    page = seen.page
    centre = (SQUARE.x + SQUARE.width / 2, SQUARE.y + SQUARE.height / 2)
    show(page, index(folder), f"#scores=off&x={centre[0]}&y={centre[1]}&um=0.25")
    image = pixels(page)
    line, square = near((0, 0, 0), image, 20), near(TUMOUR, image, 30)
    rows, cols = np.nonzero(line[100:-100, 200:700])
    inner_rows, inner_cols = np.nonzero(square[100:-100, 200:700])
    for outer, inner in ((rows, inner_rows), (cols, inner_cols)):
        assert abs(outer.min() - inner.min()) * 0.25 <= 6
        assert abs(outer.max() - inner.max()) * 0.25 <= 6


def test_a_single_file_works_alone(seen: Watched, tmp_path: Path):
    write_single_file(tmp_path / "a.html", subject(), 3_000_000)
    show(seen.page, tmp_path / "a.html")
    seen.page.keyboard.press("n")
    seen.page.wait_for_selector("#patch-picture[data-ready]")
    settle(seen.page)
    assert near(TUMOUR, pixels(seen.page, "#patch-picture"), 30).mean() > 0.3
    assert [url for url in seen.asked if url.startswith("file:")] == [
        (tmp_path / "a.html").as_uri()
    ]


def test_a_slide_without_a_patch_says_so(seen: Watched, tmp_path: Path):
    layer = subject().layers[0]
    empty = type(layer)("first", type(layer.scores)(
        np.zeros((0, 2), np.int32), SIDE, np.zeros(0, np.float32), "probability", "probability"
    ))  # fmt: skip
    write_folder(tmp_path / "ph", subject(layers=[empty], truth=None))
    show(seen.page, tmp_path / "ph" / "index.html")
    expect(seen.page.locator("#count")).to_have_text("No patch of this slide was scored.")
    seen.page.keyboard.press("n")
    expect(seen.page.locator("#patch-found")).to_be_hidden()


@pytest.mark.parametrize(("width", "height"), [(1000, 640), (420, 800)])
def test_small_windows_lose_nothing(browser: Browser, folder: Path, width: int, height: int):
    with watched(browser, width, height) as small:
        show(small.page, index(folder))
        small.page.keyboard.press("n")
        wide = small.page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width
        for name in ("#run", "#opacity", "#patch-picture", "#tops button", "#scale-words"):
            small.page.locator(name).first.scroll_into_view_if_needed()
            expect(small.page.locator(name).first).to_be_in_viewport()


def test_a_missing_tile_is_told(browser: Browser, tmp_path: Path):
    write_folder(tmp_path / "ph", subject())
    for tile in (tmp_path / "ph" / "tiles" / "1").iterdir():
        tile.unlink()
    context = browser.new_context()
    page = context.new_page()
    page.goto((tmp_path / "ph" / "index.html").as_uri())
    expect(page.locator("#broken")).to_contain_text("Copy the whole folder again")
    context.close()


REACH_OUT = """async () => {
  const refused = [];
  document.addEventListener("securitypolicyviolation", e => refused.push(e.effectiveDirective));
  await fetch("http://127.0.0.1:9/").catch(() => null);
  const image = new Image();
  await new Promise(done => { image.onerror = done; image.src = "http://127.0.0.1:9/i"; });
  const script = document.createElement("script");
  script.textContent = "window.ran = true";
  document.body.append(script);
  await new Promise(done => setTimeout(done, 50));
  return [window.ran === true, refused.sort()];
}"""


def test_the_page_cannot_reach_out(browser: Browser, folder: Path):
    """Were a script smuggled in: it may not run, and no address can be reached."""
    context = browser.new_context()
    page = context.new_page()
    show(page, index(folder))
    ran, refused = page.evaluate(REACH_OUT)
    context.close()
    assert not ran
    assert refused == ["connect-src", "img-src", "script-src-elem"]


def test_of_squares_on_one_spot_the_strip_shows_the_best_in_its_patch(
    seen: Watched, tmp_path: Path
):
    scores = replace(grid_scores(), unit="square")
    wide = Size(3 * SIDE.width, 3 * SIDE.height)
    write_folder(tmp_path / "p", subject(layers=[Layer("a", scores, wide)], most_patches=3))
    show(seen.page, index(tmp_path / "p"))
    expect(seen.page.locator("#count")).to_contain_text("squares coloured")
    chosen = [int(n) for n in seen.page.eval_on_selector_all(
        "#tops button", "all => all.map(one => one.dataset.patch)"
    )]  # fmt: skip
    assert chosen[0] == int(scores.values.argmax())
    away = np.abs(scores.xy_l0[chosen][:, None] - scores.xy_l0[chosen][None])
    near = (away < np.array(wide) - 2).all(axis=2)
    assert near.sum() == len(chosen) > 3  # each is near itself alone
    seen.page.locator("#tops button").last.click()  # it reaches beyond the slide, or is enlarged
    expect(seen.page.locator("#fact-shown")).to_contain_text("384 \u00d7 417 px")
    expect(seen.page.locator("#patch-picture")).to_have_attribute("data-ready", re.compile("_"))


def test_the_whole_slide_is_seen_on_opening(seen: Watched, folder: Path):
    show(seen.page, index(folder))
    opened = view_of(seen.page)
    seen.page.keyboard.press("0")
    assert view_of(seen.page) == opened


def test_without_known_micrometres_the_page_counts_pixels(seen: Watched, tmp_path: Path):
    write_folder(tmp_path / "p", subject(mpp_known=False))
    show(seen.page, index(tmp_path / "p"))
    expect(seen.page.locator("#scale")).to_be_hidden()
    expect(seen.page.locator("#where")).to_contain_text("not known")
    seen.page.locator("#tops button").first.click()
    expect(seen.page.locator("#fact-size")).to_have_text("128 \u00d7 139 px")
    expect(seen.page.locator("#patch-origin")).to_contain_text("px of the slide per pixel")
