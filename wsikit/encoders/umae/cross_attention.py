"""RCA: let the tokens of one magnification look at the others, one after the other."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

MAGNIFICATIONS = (40, 100, 200, 400)

PARTNERS = tuple(
    tuple(other for other in range(len(MAGNIFICATIONS)) if other != own)
    for own in range(len(MAGNIFICATIONS))
)
"""Whom each magnification looks at, in the order printed: 100x at 40x, 200x, 400x."""


def residual_cross_attention(own: Tensor, others: Sequence[Tensor]) -> Tensor:
    """Return T' of equations 12 and 13.

        A1 = softmax(z_a z_b1^T / sqrt(d)) z_a     T1 = A1 + z_a
        A2 = softmax(T1 z_b2^T / sqrt(d)) T1       T2 = A2 + T1
        A3 = softmax(T2 z_b3^T / sqrt(d)) T2       T' = A3 + A2 + A1 + z_a

    The last line is A3 + T2. The value comes from the sequence itself and the key from the other
    one, place by place, so both must be of one length. (The source prints K Q^T within the softmax
    and Q K^T in the text around it; this is the usual one.)

    Args:
        own: (B, N, d), z_a.
        others: each (B, N, d), z_b1, z_b2, ...

    Returns:
        (B, N, d).
    """
    for other in others:
        own = own + F.scaled_dot_product_attention(own, other, own)
    return own
