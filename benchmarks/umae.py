"""A step of UMAE's pre-training, beside a plain MAE of timm's parts.

    python benchmarks/umae.py [--small] [--base] [--device cpu|cuda] [--json FILE]

Made-up pictures in memory; forward, backward and a step of AdamW:

* the plain MAE written out with timm's own vision transformer and blocks, each picture alone;
* wsikit's plain MAE, all switches off: the same arithmetic;
* MAE with joint sequences and UMAE whole, which take other arithmetic and are not judged.

Without `--base` this is the small model, of which a processor takes a few steps a second. Then, for
ViT-B at 4 x 144 tokens and 16 items, what a step keeps in memory: weights, gradients, AdamW's two
moments, and every tensor that the forward pass saves for the backward one, counted one by one with
torch's hooks on its meta device, where nothing is computed. Attention there saves its weights too,
which fused kernels on a GPU do not; what the backward pass and the allocator take beside that is
not counted. On a GPU the measured peak is given as well.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np
import torch
from shared.report import at_most, line, options, report
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from wsikit.encoders.umae.masks import MaskOptions, Masks, draw_masks, joined
from wsikit.encoders.umae.model import UMAE, UMAEOptions
from wsikit.encoders.umae.sizes import SIZES, UMAESize

MAPS = 4
SLOWER = 1.15
GPU_BYTES = 24 * 2**30
PLAIN = UMAEOptions("small", MaskOptions(uniform=False), ccp=False, rca=False, joint=False)


class TimmMAE(nn.Module):
    """He et al. (2022) in a few lines of timm."""

    def __init__(self, size: UMAESize) -> None:
        super().__init__()
        self.vit = VisionTransformer(
            size.input_px, size.patch_px, embed_dim=size.width, depth=size.depth,
            num_heads=size.heads, num_classes=0,
        )  # fmt: skip
        self.embed = nn.Linear(size.width, size.decoder_width)
        self.mask = nn.Parameter(torch.zeros(1, 1, size.decoder_width))
        self.place = nn.Parameter(torch.zeros(1, size.side**2 + 1, size.decoder_width))
        self.blocks = nn.Sequential(*(
            Block(size.decoder_width, size.decoder_heads, qkv_bias=True)
            for _ in range(size.decoder_depth)
        ))  # fmt: skip
        self.norm = nn.LayerNorm(size.decoder_width)
        self.pixels = nn.Linear(size.decoder_width, 3 * size.patch_px**2)
        self.size = size

    def forward(self, pictures: Tensor, kept: Tensor) -> Tensor:
        """Return the loss of (B, 3, S, S) pictures of which (B, K) patches are seen."""
        vit, px = self.vit, self.size.patch_px
        tokens = vit.patch_embed(pictures) + vit.pos_embed[:, 1:]
        seen = tokens.gather(1, kept[..., None].expand(-1, -1, tokens.shape[-1]))
        start = (vit.cls_token + vit.pos_embed[:, :1]).expand(len(seen), -1, -1)
        seen = self.embed(vit.norm(vit.blocks(torch.cat([start, seen], 1))))
        whole = self.mask.expand(len(seen), self.size.side**2, -1)
        whole = whole.scatter(1, kept[..., None].expand(-1, -1, seen.shape[-1]), seen[:, 1:])
        whole = self.blocks(torch.cat([seen[:, :1], whole], 1) + self.place)
        found = self.pixels(self.norm(whole[:, 1:]))
        cut = pictures.unfold(2, px, px).unfold(3, px, px).permute(0, 2, 3, 1, 4, 5).flatten(3)
        hidden = torch.ones(kept.shape[0], self.size.side**2, device=kept.device)
        hidden = hidden.scatter(1, kept, 0.0)
        errors = (found - cut.flatten(1, 2)).square().mean(-1)
        return (errors * hidden).sum() / hidden.sum()


def made_up(options: UMAEOptions, size: UMAESize, items: int) -> tuple[Tensor, Masks]:
    """Return pictures and masks."""
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randn(items, MAPS, 3, size.input_px, size.input_px, generator=generator)
    length = 3 * size.patch_px**2
    masks = [
        draw_masks(options.mask, size.side, length, MAPS, np.random.default_rng(n))
        for n in range(items)
    ]
    return pictures, joined(masks)


def stepper(model: nn.Module, loss: Callable[[], Tensor]) -> Callable[[], None]:
    """Return what takes one step."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.05, fused=True)

    def step() -> None:
        optimiser.zero_grad()
        loss().backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    return step


def contender(options: UMAEOptions, size: UMAESize, items: int, device: Any) -> Callable[[], None]:
    """Return a step of one of our models."""
    model = UMAE(options, size).to(device)
    pictures, masks = made_up(options, size, items)
    pictures, masks = pictures.to(device), masks.to(device)
    return stepper(model, lambda: model(pictures, masks).losses().mean())


def timm_step(size: UMAESize, items: int, device: Any) -> Callable[[], None]:
    """Return a step of the MAE of timm's parts on the same pictures."""
    model = TimmMAE(size).to(device)
    pictures, masks = made_up(PLAIN, size, items)
    flat = pictures.flatten(0, 1).to(device), masks.kept.flatten(0, 1).to(device)
    return stepper(model, lambda: model(*flat))


def seconds(steps: dict[str, Callable[[], None]], rounds: int, device: Any) -> dict[str, float]:
    """Time contenders in turn, so that what else the machine does meets all of them."""
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if device == "cuda":
                torch.cuda.synchronize()
            if number:  # the first one warms up
                taken[name].append(time.perf_counter() - start)
    return {name: median(times) for name, times in taken.items()}


def step_bytes(options: UMAEOptions, items: int) -> tuple[int, int]:
    """Count what a step keeps: weights with all that AdamW holds, and saved tensors."""
    with torch.device("meta"):
        model = UMAE(options)
    weights = {tensor.untyped_storage()._cdata for tensor in model.parameters()}
    own = sum(tensor.numel() for tensor in model.parameters())
    saved: dict[int, int] = {}
    held: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            saved[storage._cdata] = storage.nbytes()
            held.append(tensor)  # so that no address is used twice
        return tensor

    size = SIZES[options.size]
    height, width = options.mask.kept_shape(size.side)
    counts = (items, MAPS, height * width), (items, MAPS, options.mask.noised(size.side))
    with torch.device("meta"), torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        pictures = torch.empty(items, MAPS, 3, size.input_px, size.input_px)
        kept, noised = (torch.empty(count, dtype=torch.int64) for count in counts)
        noise = torch.empty(*counts[1], 3 * size.patch_px**2)
        model(pictures, Masks(kept, noised, noise)).losses().mean()
    return 16 * own, sum(saved.values())


def measured_peak(options: UMAEOptions, items: int, precision: torch.dtype) -> tuple[float, float]:
    """Return GiB and seconds of a step on the GPU."""
    model = UMAE(options).cuda()
    pictures, masks = (part.to(torch.device("cuda")) for part in made_up(
        options, SIZES[options.size], items
    ))  # fmt: skip

    def loss() -> Tensor:
        with torch.autocast("cuda", precision, enabled=precision != torch.float32):
            return model(pictures, masks).losses().mean()

    step = stepper(model, loss)
    torch.cuda.reset_peak_memory_stats()
    took = seconds({"": step}, 5, "cuda")[""]
    return torch.cuda.max_memory_allocated() / 2**30, took


def main() -> None:
    """Measure and report."""
    parser = options(__doc__)
    parser.add_argument("--base", action="store_true", help="time ViT-B too")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    asked = parser.parse_args()
    name = "tiny" if asked.small else "base" if asked.base else "small"
    items, rounds = (2, 2) if asked.small else (4, 9)
    size = SIZES[name]
    whole = UMAEOptions(name)
    steps = {
        "timm's parts": timm_step(size, items, asked.device),
        "plain MAE": contender(replace(PLAIN, size=name), size, items, asked.device),
        "joint MAE": contender(replace(PLAIN, size=name, joint=True), size, items, asked.device),
        "UMAE": contender(whole, size, items, asked.device),
    }
    taken = seconds(steps, rounds, asked.device)
    patches = items * MAPS * size.side**2
    rows = [line(f"{one}, {name}", patches / took, "patches/s", 0) for one, took in taken.items()]
    states, saved = step_bytes(UMAEOptions("base"), 16)
    rows += [
        line("ViT-B: weights, gradients, moments", states / 2**30, "GiB"),
        line("ViT-B: saved by 16 items, 32 bit", saved / 2**30, "GiB"),
    ]
    bars = [
        at_most("plain MAE / timm's parts", taken["plain MAE"] / taken["timm's parts"], SLOWER),
        at_most("ViT-B, 16 items / 24 GiB", (states + saved) / GPU_BYTES, 1.0),
    ]
    if asked.device == "cuda":
        for precision in (torch.float32, torch.bfloat16):
            gib, took = measured_peak(UMAEOptions("base"), 16, precision)
            word = str(precision).removeprefix("torch.")
            rows += [
                line(f"ViT-B on the GPU, {word}: peak", gib, "GiB"),
                line(f"ViT-B on the GPU, {word}", 16 * MAPS * 529 / took, "patches/s", 0),
            ]
    report(rows, bars, asked)


if __name__ == "__main__":
    main()
