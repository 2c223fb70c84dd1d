"""DSMIL (Li, Li, Eliceiri 2021): the critical patch, and all patches weighed by likeness to it.

Two streams are trained, each on the slide's label, and averaged: the largest patch score of the
positive class (of more than two: of each), and a classifier of the bag in which a patch weighs as
much as it resembles the patch that had it. Departures: features of one magnification (the paper
joins two); they come from any encoder (the paper trains its own by contrast) and pass an embedding;
the optimiser, its rate and the stopping are this program's.
"""

from __future__ import annotations

from wsikit.methods.method import METHODS, Method

DSMIL = METHODS.register("dsmil")(
    Method("dsmil", "critical patch and likeness to it (Li et al. 2021)")
)
