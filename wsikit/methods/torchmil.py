"""torchmil's models, each by its own name there: `torchmil:ABMIL`, `torchmil:PatchGCN`, ...

They are trained like all other methods, on the sum of the losses each defines for itself.
"""

from __future__ import annotations

from functools import cache

from wsikit.methods.method import METHODS, Method


@cache
def torchmil_method(name: str) -> Method:
    """Return the method that trains a model of torchmil; whether there is one, its head says."""
    return Method(f"torchmil:{name}", f"{name} of torchmil")


METHODS.register_family("torchmil:", torchmil_method)
