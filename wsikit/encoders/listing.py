"""Say what encoders there are, how wide, under which licence, and whether they are at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wsikit.encoders.hub import cached_file
from wsikit.encoders.mammography import CBAM_PREFIX
from wsikit.encoders.registry import (
    ENCODERS,
    FILE_PREFIX,
    HUB_PREFIX,
    TIMM_PREFIX,
    encoder_path,
    encoder_spec,
)
from wsikit.encoders.spec import EncoderSpec

FORMS = {
    f"{TIMM_PREFIX}NAME": "any backbone of timm",
    f"{CBAM_PREFIX}NAME": "a convolutional one with CBAM on its last map",
    f"{HUB_PREFIX}OWNER/NAME": "any timm backbone on the Hugging Face hub",
    f"{FILE_PREFIX}PATH": "an encoder that a run saved, the run's folder, or a weights file",
}
"""What a name may be beside those listed."""


def list_encoders(names: list[str]) -> list[dict[str, Any]]:
    """Describe encoders, without building them or fetching weights.

    Of an `hf-hub:` name that is not listed, what the repository says of itself is fetched.

    Args:
        names: as a user writes them; none means all that are listed by name.

    Returns:
        One table an encoder, fit for JSON. `at_hand` says whether its weights lie on this machine;
        `weights` names the file or, where there is none yet, the repository it would come from.

    Raises:
        ConfigError: there is no such encoder.
        WeightsError: what describes it is not at hand.
    """
    return [_entry(name, encoder_spec(name)) for name in names or ENCODERS]


def _entry(name: str, spec: EncoderSpec) -> dict[str, Any]:
    source = str(encoder_path(name)) if name.startswith(FILE_PREFIX) else spec.hub
    found = _found(name, spec)
    return {
        "name": name,
        "features": spec.features,
        "input_px": spec.input_px,
        "mean": list(spec.mean),
        "std": list(spec.std),
        "licence": spec.licence,
        "network": spec.timm_name,
        "pooling": spec.pooling,
        "weights": str(found) if found else source,
        "source": source,
        "files": list(spec.hub_files) if spec.hub else [],
        "gated": spec.gated,
        "at_hand": found is not None,
        "note": spec.note,
    }


def _found(name: str, spec: EncoderSpec) -> Path | None:
    if name.startswith(FILE_PREFIX):
        return encoder_path(name)
    return cached_file(spec.hub, spec.hub_files) if spec.hub else None
