"""What every encoder must do, whatever its network: inherit, and give a fixture `encoder`."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2.functional import resize

from wsikit.encoders.encoder import Encoder, encoder_id

TOLERANCE = 1e-4
"""Of the largest feature: float32 sums taken in another order differ by less."""


def pixels(count: int, height: int = 96, width: int = 96, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, height, width), generator=generator).to(torch.uint8)


def encode(encoder: Encoder, patches: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return encoder(patches)


def assert_near(here: torch.Tensor, there: torch.Tensor) -> None:
    torch.testing.assert_close(here, there, rtol=0, atol=TOLERANCE * there.abs().max().item())


class EncoderConformance:
    """The suite; `encoder` is the encoder under test, built once for all of it."""

    @pytest.fixture(scope="class")
    @classmethod
    def encoder(cls) -> Encoder:
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def together(cls, encoder: Encoder) -> torch.Tensor:
        """The features of two patches, in one batch."""
        return encode(encoder, pixels(2))

    def test_one_finite_vector_a_patch(self, encoder: Encoder, together: torch.Tensor) -> None:
        assert together.shape == (2, encoder.features)
        assert together.dtype == torch.float32
        assert together.isfinite().all()
        assert together.abs().max() < 60_000  # float16 holds it

    def test_patches_are_told_apart(self, together: torch.Tensor) -> None:
        apart = (together[0] - together[1]).norm() / together[0].norm()
        assert apart > 1e-3

    def test_the_same_patches_give_the_same_bits(
        self, encoder: Encoder, together: torch.Tensor
    ) -> None:
        assert torch.equal(encode(encoder, pixels(2)), together)

    def test_the_size_of_a_batch_does_not_matter(
        self, encoder: Encoder, together: torch.Tensor
    ) -> None:
        assert_near(encode(encoder, pixels(2)[1:]), together[1:])

    def test_an_empty_batch_has_no_features(self, encoder: Encoder) -> None:
        side = encoder.spec.input_px
        assert encode(encoder, pixels(0, side, side)).shape == (0, encoder.features)

    def test_patches_of_another_size_are_resized(self, encoder: Encoder) -> None:
        side = encoder.spec.input_px
        patch = pixels(1, side + 37, 2 * side // 3)
        resized = resize(patch.float(), [side, side], InterpolationMode.BILINEAR, antialias=True)
        assert_near(encode(encoder, patch), encode(encoder, resized))

    def test_whole_numbers_are_what_floats_of_0_to_255_are(
        self, encoder: Encoder, together: torch.Tensor
    ) -> None:
        assert_near(encode(encoder, pixels(2)[:1].float()), together[:1])

    def test_it_comes_frozen_and_in_evaluation(self, encoder: Encoder) -> None:
        assert not encoder.training
        assert not any(parameter.requires_grad for parameter in encoder.parameters())

    def test_every_parameter_gets_a_gradient_where_it_is_asked_for(self, encoder: Encoder) -> None:
        encoder.requires_grad_(True)
        try:
            encoder(pixels(1, seed=1)).square().mean().backward()
            silent = [
                name
                for name, parameter in encoder.named_parameters()
                if parameter.grad is None or not parameter.grad.any()
            ]
        finally:
            encoder.requires_grad_(False).zero_grad()
        assert silent == []

    def test_the_id_is_a_file_name(self, encoder: Encoder) -> None:
        name = encoder_id(encoder)
        assert f"-{encoder.weights}-" in name
        assert not set(name) & set(' /\\:*?"<>|')

    def test_gpu_agrees(self, encoder: Encoder, together: torch.Tensor) -> None:
        if not torch.cuda.is_available():
            pytest.skip("no GPU")
        there = encode(encoder.to("cuda"), pixels(2).to("cuda")).cpu()
        encoder.to("cpu")
        torch.testing.assert_close(there, together, rtol=0, atol=1e-2 * together.abs().max().item())
