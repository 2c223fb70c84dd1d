"""CLAM with one attention branch (Lu et al. 2021): gated attention, and a clustering loss.

Attention ranks the patches; those it ranks first and last are told apart by a further classifier,
whose loss (a smooth SVM) shapes the embedding. The slide's loss weighs 0.7, the patches' 0.3, and 8
patches are taken from either end, as published. For classes that exclude each other, such as
subtypes, set `subtyping`. Departures: the optimiser, its rate and the stopping are this program's,
the same for all methods.
"""

from __future__ import annotations

from wsikit.methods.method import METHODS, Method

CLAM_SB = METHODS.register("clam_sb")(
    Method("clam_sb", "gated attention and a clustering loss (Lu et al. 2021)")
)
