"""Every stain method by its name."""

from __future__ import annotations

from collections.abc import Mapping

from wsikit.errors import ConfigError, StoreError
from wsikit.registry import Registry
from wsikit.stain.histogram import HistogramNormaliser
from wsikit.stain.histogram_patch import HistogramPatchNormaliser
from wsikit.stain.macenko import MacenkoNormaliser
from wsikit.stain.normaliser import Identity, Normaliser
from wsikit.stain.reference import Reference
from wsikit.stain.reinhard import ReinhardNormaliser
from wsikit.stain.sample import MIN_TISSUE_PX, StainSample

STAIN_METHODS: Registry[type[Normaliser]] = Registry("stain method")

for _method in (
    Identity,
    HistogramNormaliser,
    HistogramPatchNormaliser,
    ReinhardNormaliser,
    MacenkoNormaliser,
):
    STAIN_METHODS.register(_method.method)(_method)


def check_reference(method: str, reference: Reference) -> None:
    """See, before any slide is read, that a reference can serve a method.

    Raises:
        ConfigError: it cannot, or there is no such method.
    """
    STAIN_METHODS[method].check(reference)


def fit_normaliser(method: str, sample: StainSample, reference: Reference) -> Normaliser:
    """Fit a method to a slide.

    Args:
        method: a name in `STAIN_METHODS`.
        sample: from `gather_sample`.
        reference: what the slide's colours are to become.

    Returns:
        The slide's normaliser. `Identity` with a reason where the slide shows next to no tissue,
        so that nothing is fitted on noise, or where the method cannot work on its stain.

    Raises:
        ConfigError: there is no such method, or the reference cannot serve it.
    """
    chosen = STAIN_METHODS[method]
    chosen.check(reference)
    if chosen is not Identity and sample.nearly_blank:
        return Identity(f"{method}: fewer than {MIN_TISSUE_PX} pixels of tissue were found")
    return chosen.fit(sample, reference)


def normaliser_from_json(data: object) -> Normaliser:
    """Take back what `Normaliser.to_json` gave.

    Args:
        data: what a store holds; it need not be trusted.

    Returns:
        A normaliser whose output is that of the one written, byte for byte.

    Raises:
        StoreError: it is no normaliser that this wsikit knows.
    """
    try:
        if not isinstance(data, Mapping):
            raise ValueError("it is no JSON object")
        return STAIN_METHODS[str(data["method"])].from_json(data)
    except (ConfigError, KeyError, TypeError, ValueError) as error:
        raise StoreError(
            f"a stored stain normalisation cannot be read ({type(error).__name__}: {error!s:.80})",
            "tile the slide again, or use the wsikit that wrote it",
        ) from error
