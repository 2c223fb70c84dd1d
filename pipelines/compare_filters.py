"""Compare the background filters on slides: the tables and pictures of `docs/filters.md`.

    python pipelines/compare_filters.py OUT SLIDE[@MPP]... [--size 256] [--min-foreground 0.1]
        [--truth DIR] [--fields PICTURE[@MPP]...] [--phantoms]

Each slide is read whole at full resolution, so this is for slides of up to some hundred million
pixels. `--truth` holds `<name>_mask.png`, white where tumour is. `--fields` are pictures that show
tissue in focus; they are blurred to see what the blur filter makes of it. Writes `OUT/tables.md`,
`OUT/<name>.jpg` and, of the patches that `tissue` and `rgb all` judge differently,
`OUT/<name>-disputed.jpg`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage
from skimage.color import rgb2hsv
from skimage.filters import threshold_otsu

from wsikit.geometry import PatchGrid
from wsikit.phantoms.scanners import SCANNERS
from wsikit.phantoms.slide import strips
from wsikit.phantoms.spec import PhantomSpec
from wsikit.phantoms.truth import tissue_mask as phantom_truth
from wsikit.slides.open import open_slide
from wsikit.slides.overview import read_overview
from wsikit.slides.resample import area_average
from wsikit.slides.slide import Slide
from wsikit.tissue.entropy import ENTROPY_CUT, channel_entropy
from wsikit.tissue.rgb import ChannelRule, bright, rgb_foreground
from wsikit.tissue.shares import foreground_shares
from wsikit.tissue.sharpness import COARSEST_MPP, SHARPNESS_CUT, sharpness
from wsikit.tissue.tissue_mask import tissue_mask
from wsikit.types import BoolMask, Box, Mpp, Size, UInt8Image

SWEEP = (0.05, 0.1, 0.15, 0.25, 0.5)
OVERVIEW_MPP = 8.0
FIELD_SHARE = 0.25
WINDOW_L0 = 200
COARSE_MPP = (2.0, 4.0, 8.0, 16.0)
TUMOUR = 0.5
BLURS_UM = (0.0, 1.0, 1.5, 2.0, 3.0, 4.0)
PANEL_PX = 460
DISPUTED_PX = 110
KEPT = (0, 130, 60)
DROPPED = (200, 30, 30)

RULES: tuple[ChannelRule, ...] = ("all", "any")

Shares = NDArray[np.float32]


@dataclass
class Compared:
    """One slide and what each filter measures of its patches, (rows, cols) each.

    `least` is the share of foreground from which a patch is kept.
    """

    name: str
    mpp: Mpp
    grid: PatchGrid
    least: float
    overview: UInt8Image
    overview_scale: tuple[float, float]
    shares: dict[str, Shares]
    seconds: dict[str, float]
    coarse: dict[tuple[ChannelRule, float], Shares]
    tumour: Shares | None
    disputed: list[UInt8Image]

    def kept(self, filter_name: str) -> BoolMask:
        """Tell which patches a filter keeps."""
        cut = ENTROPY_CUT if filter_name == "entropy" else self.least
        return np.asarray(self.shares[filter_name] >= cut)


def compare(slide: Slide, size: int, least: float, truth: Path | None) -> Compared:
    """Apply every filter to one slide at full resolution."""
    name = slide.path.stem
    grid = PatchGrid(slide.size_l0, (1.0, 1.0), size)
    image = slide.read(Box(0, 0, grid.cols * size, grid.rows * size))
    shares: dict[str, Shares] = {}
    seconds: dict[str, float] = {}

    def measure(filter_name: str, work: Callable[[], Shares]) -> None:
        work()  # compiles
        start = time.perf_counter()
        shares[filter_name] = work()
        seconds[filter_name] = time.perf_counter() - start

    for rule in RULES:
        measure(f"rgb {rule}", partial(_rgb, image, (1.0, 1.0), grid, rule))
    measure("entropy", lambda: _entropy(image, grid))
    overview, scale = read_overview(slide, OVERVIEW_MPP)
    mpp = Mpp(slide.mpp.x * scale[0], slide.mpp.y * scale[1])
    measure("tissue", lambda: foreground_shares(tissue_mask(overview, mpp), scale, grid))
    coarse = {
        (rule, step): _rgb(*read_overview(slide, step, 1 << 15), grid, rule)
        for step in COARSE_MPP
        if step > 1.5 * slide.mpp.x
        for rule in RULES
    }
    tumour = _tumour(truth / f"{name}_mask.png", grid) if truth else None
    compared = Compared(
        name, slide.mpp, grid, least, overview, scale, shares, seconds, coarse, tumour, []
    )
    for row, col in np.argwhere(compared.kept("tissue") != compared.kept("rgb all")):
        patch = image[row * size : (row + 1) * size, col * size : (col + 1) * size]
        compared.disputed.append(_framed(patch, bool(compared.kept("tissue")[row, col])))
    return compared


def _framed(patch: UInt8Image, kept: bool) -> UInt8Image:
    """Shrink a patch, and frame it green where `tissue` keeps it, red where `rgb all` does."""
    small = Image.fromarray(patch).resize((DISPUTED_PX, DISPUTED_PX), Image.Resampling.BOX)
    ImageDraw.Draw(small).rectangle(
        (0, 0, DISPUTED_PX - 1, DISPUTED_PX - 1), outline=KEPT if kept else DROPPED, width=3
    )
    return np.asarray(small)


def _rgb(
    image: UInt8Image, scale: tuple[float, float], grid: PatchGrid, rule: ChannelRule
) -> Shares:
    window = max(1, round(WINDOW_L0 / max(scale)))
    return foreground_shares(rgb_foreground(bright(image, 200, rule), window), scale, grid)


def _entropy(image: UInt8Image, grid: PatchGrid) -> Shares:
    side = grid.patch_px
    values = [
        [
            channel_entropy(image[y : y + side, x : x + side])
            for x in range(0, grid.cols * side, side)
        ]
        for y in range(0, grid.rows * side, side)
    ]
    return np.asarray(values, np.float32)


def _tumour(path: Path, grid: PatchGrid) -> Shares | None:
    if not path.exists():
        return None
    mask = np.asarray(Image.open(path).convert("L")) > 127
    scale = (grid.slide_px.width / mask.shape[1], grid.slide_px.height / mask.shape[0])
    return foreground_shares(mask, scale, grid)


def counts_table(slides: Sequence[Compared]) -> list[str]:
    """Patches each filter keeps, and of the patches with tumour; which two filters dispute."""
    names = list(slides[0].shares)
    titles = [*(f"`{n}`" for n in names), "only `tissue`", "only `rgb all`"]
    lines = ["| slide | um/px | all patches | " + " | ".join(titles) + " |"]
    lines.append("|---" * (3 + len(titles)) + "|")
    for slide in slides:
        tumour = slide.tumour is not None and slide.tumour >= TUMOUR
        cells = []
        for name in names:
            kept = slide.kept(name)
            of = f" ({(kept & tumour).sum()} of {np.sum(tumour)})" if np.any(tumour) else ""
            cells.append(f"{kept.sum()}{of}")
        tissue, rgb = slide.kept("tissue"), slide.kept("rgb all")
        cells += [str((tissue & ~rgb).sum()), str((rgb & ~tissue).sum())]
        everything = slide.grid.rows * slide.grid.cols
        lines.append(
            f"| {slide.name} | {slide.mpp.x:g} | {everything} | " + " | ".join(cells) + " |"
        )
    return lines


def sweep_table(slides: Sequence[Compared]) -> list[str]:
    """Patches and tumour patches kept by `tissue` and `rgb all` at several shares."""
    lines = ["| slide | filter | " + " | ".join(f">= {cut}" for cut in SWEEP) + " |"]
    lines.append("|---" * (2 + len(SWEEP)) + "|")
    for slide in slides:
        for name in ("tissue", "rgb all"):
            cells = [str((slide.shares[name] >= cut).sum()) for cut in SWEEP]
            if slide.tumour is not None and (slide.tumour >= TUMOUR).any():
                marked = slide.tumour >= TUMOUR
                lost = [int((marked & (slide.shares[name] < cut)).sum()) for cut in SWEEP]
                cells = [f"{kept} (-{gone})" for kept, gone in zip(cells, lost, strict=True)]
            lines.append(f"| {slide.name} | {name} | " + " | ".join(cells) + " |")
    return lines


def coarse_table(slides: Sequence[Compared]) -> list[str]:
    """Agreement of the RGB filter on a coarser level with the filter at full resolution."""
    lines = ["| slide | rule | looked at, um/px | same decision | mean difference of share |"]
    lines.append("|---|---|---|---|---|")
    for slide in slides:
        for (rule, step), shares in slide.coarse.items():
            fine = slide.shares[f"rgb {rule}"]
            some = (fine > 0) | (shares > 0)
            same = ((fine >= slide.least) == (shares >= slide.least))[some].mean()
            difference = np.abs(fine - shares)[some].mean()
            lines.append(f"| {slide.name} | {rule} | {step:g} | {same:.1%} | {difference:.3f} |")
    return lines


def cost_table(slides: Sequence[Compared]) -> list[str]:
    """Seconds each filter took, reading apart."""
    names = list(slides[0].seconds)
    lines = ["| slide | Mpx | " + " | ".join(f"`{n}`, ms" for n in names) + " |"]
    lines.append("|---" * (2 + len(names)) + "|")
    for slide in slides:
        mpx = slide.grid.slide_px.width * slide.grid.slide_px.height / 1e6
        cells = " | ".join(f"{1e3 * slide.seconds[n]:.0f}" for n in names)
        lines.append(f"| {slide.name} | {mpx:.1f} | {cells} |")
    return lines


def draw(slide: Compared, path: Path) -> None:
    """Draw the slide once for each filter, the patches it keeps outlined."""
    panels = []
    for name in slide.shares:
        whole = Image.fromarray(slide.overview)
        ratio = PANEL_PX / whole.width
        panel = whole.resize((PANEL_PX, max(1, round(whole.height * ratio))), Image.Resampling.BOX)
        _outline(panel, slide, slide.kept(name), ratio)
        titled = Image.new("RGB", (panel.width + 8, panel.height + 18), "white")
        titled.paste(panel, (0, 18))
        title = f"{name}: {slide.kept(name).sum()}"
        ImageDraw.Draw(titled).text((2, 3), title, fill="black")
        panels.append(titled)
    sheet = Image.new("RGB", (2 * panels[0].width, 2 * panels[0].height), "white")
    for index, panel in enumerate(panels):
        sheet.paste(panel, (index % 2 * panel.width, index // 2 * panel.height))
    sheet.save(path, quality=82)


def draw_disputed(slide: Compared, path: Path) -> None:
    """Draw the patches that `tissue` and `rgb all` judge differently, eight to a row."""
    blank = np.full((DISPUTED_PX, DISPUTED_PX, 3), 255, np.uint8)
    patches = slide.disputed + [blank] * (-len(slide.disputed) % 8)
    rows = [np.concatenate(patches[i : i + 8], axis=1) for i in range(0, len(patches), 8)]
    if rows:
        Image.fromarray(np.concatenate(rows)).save(path, quality=82)


def _outline(panel: Image.Image, slide: Compared, kept: BoolMask, ratio: float) -> None:
    ink = ImageDraw.Draw(panel)
    wide = slide.grid.patch_px / slide.overview_scale[0] * ratio
    high = slide.grid.patch_px / slide.overview_scale[1] * ratio
    for row, col in np.argwhere(kept):
        box = (col * wide + 1, row * high + 1, (col + 1) * wide - 1, (row + 1) * high - 1)
        ink.rectangle(box, outline=KEPT, width=2)


def blur_table(fields: Sequence[tuple[str, UInt8Image, Mpp]]) -> list[str]:
    """Sharpness of fields of view as they are, and blurred."""
    lines = ["| blur (standard deviation), um | lowest | median | highest | below the cut |"]
    lines.append("|---|---|---|---|---|")
    for blur in BLURS_UM:
        values = np.asarray(
            [sharpness(_blurred(image, blur, mpp), mpp) for _, image, mpp in fields]
        )
        low, middle, high = np.percentile(values, (0, 50, 100))
        below = int((values < SHARPNESS_CUT).sum())
        lines.append(
            f"| {blur:g} | {low:.3f} | {middle:.3f} | {high:.3f} | {below} of {len(values)} |"
        )
    return lines


def _blurred(image: UInt8Image, blur_um: float, mpp: Mpp) -> UInt8Image:
    if not blur_um:
        return image
    rng = np.random.default_rng(0)
    soft = ndimage.gaussian_filter(
        image.astype(np.float32), (blur_um / mpp.y, blur_um / mpp.x, 0.0)
    )
    # A scanner out of focus still has its camera's noise.
    noisy = np.round(soft + rng.normal(0, 1, image.shape))
    return np.asarray(np.clip(noisy, 0, 255), np.uint8)


def phantom_table() -> list[str]:
    """Intersection over union with the exact tissue of phantoms."""
    down, mpp = 8, Mpp(1.0, 0.98)
    coarse = Mpp(mpp.x * down, mpp.y * down)
    filters: dict[str, Callable[[UInt8Image], BoolMask]] = {
        "tissue": lambda image: tissue_mask(image, coarse),
        "rgb all": lambda image: rgb_foreground(bright(image, 200, "all"), WINDOW_L0 // down),
        "rgb any": lambda image: rgb_foreground(bright(image, 200, "any"), WINDOW_L0 // down),
        "Otsu of grey": lambda image: _otsu(255 - image.mean(axis=2)),
        "Otsu of HSV saturation": lambda image: _otsu(rgb2hsv(image)[..., 1]),
    }
    rows: dict[str, list[float]] = {name: [] for name in filters}
    inked: dict[str, list[float]] = {name: [] for name in filters}
    for seed, (scanner, pen) in enumerate((s, p) for s in SCANNERS for p in (False, True)):
        spec = PhantomSpec("slide", Size(4096, 3072), mpp, seed, seed % 2 == 0, scanner, pen)
        image = np.concatenate([_halved(strip, down) for strip in strips(spec)])
        truth = phantom_truth(spec, down)[: image.shape[0], : image.shape[1]]
        glass_ink = ~truth & (image.min(axis=2) < 150)
        glass_ink = ndimage.binary_erosion(glass_ink, iterations=2)
        for name, filter_ in filters.items():
            mask = filter_(image)
            if pen:
                inked[name].append(float(mask[glass_ink].mean()))
            else:
                rows[name].append(float((mask & truth).sum() / (mask | truth).sum()))
    lines = ["| filter | IoU with the truth: lowest | mean | ink on glass taken for tissue |"]
    lines.append("|---|---|---|---|")
    for name in filters:
        low, mean, ink = min(rows[name]), np.mean(rows[name]), np.mean(inked[name])
        lines.append(f"| {name} | {low:.3f} | {mean:.3f} | {ink:.1%} |")
    return lines


def _otsu(values: NDArray[np.float64]) -> BoolMask:
    return np.asarray(values > threshold_otsu(values))


def _halved(strip: UInt8Image, down: int) -> UInt8Image:
    size = Size(strip.shape[1] // down, strip.shape[0] // down)
    return area_average(strip, (0.0, 0.0), (float(down), float(down)), size)


def _fields(
    arguments: Sequence[str], slides: Sequence[Slide], size: int
) -> list[tuple[str, UInt8Image, Mpp]]:
    """Read pictures, and patches that are mostly tissue of slides fine enough to show focus."""
    fields = []
    for argument in arguments:
        path, mpp = _parse(argument)
        with open_slide(path, mpp) as picture:
            whole = Box(0, 0, *picture.size_l0)
            fields.append((path.stem, picture.read(whole), picture.mpp))
    for slide in slides:
        if max(slide.mpp) > COARSEST_MPP:
            continue
        grid = PatchGrid(slide.size_l0, (1.0, 1.0), size)
        overview, scale = read_overview(slide, OVERVIEW_MPP)
        mask = tissue_mask(overview, Mpp(slide.mpp.x * scale[0], slide.mpp.y * scale[1]))
        for row, col in np.argwhere(foreground_shares(mask, scale, grid) >= FIELD_SHARE):
            box = grid.region_l0(col * size, row * size, size, size)
            fields.append((slide.path.stem, slide.read(box), slide.mpp))
    return fields


def _parse(argument: str) -> tuple[Path, Mpp | None]:
    path, _, mpp = argument.partition("@")
    return Path(path), Mpp(float(mpp), float(mpp)) if mpp else None


def main() -> None:
    """Write tables and pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("slides", nargs="+", help="SLIDE, or SLIDE@MPP where it states none")
    parser.add_argument("--size", type=int, default=256, help="patch side, level-0 px")
    parser.add_argument("--min-foreground", type=float, default=0.1, help="share to keep a patch")
    parser.add_argument("--truth", type=Path, help="folder of NAME_mask.png: where tumour is")
    parser.add_argument("--fields", nargs="*", default=[], help="pictures in focus, as SLIDE@MPP")
    parser.add_argument("--phantoms", action="store_true", help="compare on phantoms too")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    opened = [open_slide(*_parse(argument)) for argument in options.slides]
    compared = [compare(s, options.size, options.min_foreground, options.truth) for s in opened]
    for slide in compared:
        draw(slide, options.out / f"{slide.name}.jpg")
        draw_disputed(slide, options.out / f"{slide.name}-disputed.jpg")
    tables = {
        "Patches kept": counts_table(compared),
        "Least foreground": sweep_table(compared),
        "RGB on a coarser level": coarse_table(compared),
        "Cost": cost_table(compared),
    }
    fields = _fields(options.fields, opened, options.size)
    if fields:
        tables["Sharpness"] = blur_table(fields)
    if options.phantoms:
        tables["Phantoms"] = phantom_table()
    text = "\n\n".join(f"## {title}\n\n" + "\n".join(lines) for title, lines in tables.items())
    (options.out / "tables.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
