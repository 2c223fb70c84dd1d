"""A small store and small encoders that extraction is tested on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from wsikit.config import load_config
from wsikit.encoders.network import Encoder
from wsikit.encoders.spec import EncoderSpec
from wsikit.phantoms.slide import write_phantom
from wsikit.phantoms.spec import PhantomSpec
from wsikit.stages.cohort import source_slides
from wsikit.stages.tiling.tile import run_tile
from wsikit.types import Mpp, Size

WIDTH = 6
INPUT_PX = 32


class TinyBackbone(nn.Module):
    """Two convolutions; `before` sees each batch first and may raise, `after` the features."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.one = nn.Conv2d(3, 8, 5, stride=2)
            self.two = nn.Conv2d(8, WIDTH, 3, stride=2)
        self.before: Callable[[Tensor], object] = lambda pictures: None
        self.after: Callable[[Tensor], Tensor] = lambda features: features

    def forward(self, pictures: Tensor) -> Tensor:
        self.before(pictures)
        return self.after(self.two(torch.relu(self.one(pictures))).mean(dim=(2, 3)))


def tiny_encoder(name: str = "tiny", seed: int = 0) -> Encoder:
    spec = EncoderSpec(name, name, "", WIDTH, input_px=INPUT_PX)
    return Encoder(spec, TinyBackbone(seed), "random")


def make_store(folder: Path, sizes: dict[str, Size]) -> Path:
    """Tile one phantom of each size into patches of 64 px."""
    slides = folder / "slides"
    slides.mkdir()
    for seed, (slide_id, size) in enumerate(sizes.items()):
        spec = PhantomSpec(slide_id, size, Mpp(0.5, 0.49), seed, seed % 2 == 1, "dune")
        write_phantom(spec, slides / f"{slide_id}.tiff")
    run_tile(source_slides([slides]), folder / "store", load_config(None, ["tile.size=64"]).tile)
    return folder / "store"


def add_empty_slide(store: Path, folder: Path, name: str = "glass") -> None:
    """Tile a slide of bare glass into a store of `make_store`."""
    from PIL import Image

    Image.new("RGB", (300, 200), (244, 243, 245)).save(folder / f"{name}.png")
    sources = source_slides([folder / f"{name}.png"], Mpp(0.5, 0.49))
    assert run_tile(sources, store, load_config(None, ["tile.size=64"]).tile).empty == [name]


def cut_shards(store: Path, slide_id: str) -> dict[Path, bytes]:
    """Cut the end off every shard of a slide, as a broken copy has it; return what they held."""
    whole = {}
    for shard in (store / "slides" / f"{slide_id}.zarr" / "0" / "c").rglob("*"):
        if shard.is_file():
            whole[shard] = shard.read_bytes()
            shard.write_bytes(whole[shard][:-40])
    return whole


def feature_files(store: Path) -> dict[str, bytes]:
    """Return every file of every slide's features."""
    return {
        str(path.relative_to(store)): path.read_bytes()
        for path in sorted(store.glob("slides/*.zarr/features/**/*"))
        if path.is_file()
    }


def plain_features(
    encoder: Encoder, pixels: np.ndarray, batch: int, dtype: str = "float16"
) -> np.ndarray:
    """Compute (N, D) features of (N, H, W, 3) pixels by a loop with nothing around it."""
    with torch.inference_mode():
        parts = [
            encoder(torch.from_numpy(pixels[i : i + batch]).permute(0, 3, 1, 2)).numpy()
            for i in range(0, len(pixels), batch)
        ]
    return np.concatenate(parts).astype(dtype)
