"""TransMIL (Shao et al. 2021): a class token, two layers of approximate self-attention, PPEG.

The patches are laid out as a square, so that convolutions between the two layers can tell a patch
what lies around it. Departures: AdamW with this program's rate and stopping (the paper: RAdam with
Lookahead, 2e-4); see the head for the others.
"""

from __future__ import annotations

from wsikit.methods.method import METHODS, Method

TRANS_MIL = METHODS.register("trans_mil")(
    Method("trans_mil", "class token over Nystrom attention (Shao et al. 2021)")
)
