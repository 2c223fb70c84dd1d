"""Gated attention MIL (Ilse, Tomczak, Welling 2018): what every method is held against."""

from __future__ import annotations

from wsikit.methods.method import METHODS, Method

ABMIL = METHODS.register("abmil")(Method("abmil", "gated attention pooling (Ilse et al. 2018)"))
