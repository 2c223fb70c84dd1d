"""Method C (Si et al. 2024): UMAE, a masked autoencoder of pictures at four magnifications.

An encoder learns, without labels, to restore pictures of one specimen at 40, 100, 200 and 400x from
a quarter of their patches, and then to tell benign from malignant at one magnification.

    UNM   one patch of every 2 x 2 is kept, a quarter of those are noise    encoders/umae/masks.py
    CCTE  the patches of all four, one sequence, through a ViT              encoders/umae/model.py
    CCP   q, k, v: 3x3 convolutions over two orders of the magnifications
                                                           encoders/umae/cross_convolution.py
    RCAD  a decoder a magnification, which restores pixels                  encoders/umae/model.py
    RCA   it first looks at the other three, one by one      encoders/umae/cross_attention.py
    loss  mean squared error over hidden patches, summed over magnifications (equation 11)
    AdamW, 1e-4, decay 0.05, 16 items a step, less every 40 epochs       training/masked/options.py
    then  global token -> LN -> linear, on pictures of one magnification       training/patches/

UNM, CCP and RCA are switches; with all off and each picture by itself what is left is a plain MAE
(He et al. 2022). The source's "feature map" between global token and norm is not described; here
there is none. `pipelines/umae.py` does it all, from BreakHis to the tables. What else the source
leaves open stands in docs/umae.md.
"""

from __future__ import annotations

from typing import NamedTuple

from wsikit.methods.method import METHODS
from wsikit.methods.patch_method import PatchMethod

UMAE_FINE_TUNING = METHODS.register("umae")(
    PatchMethod(
        "softmax",
        "fine-tuning of an encoder that was pre-trained on four magnifications (UMAE)",
        encoder="umae-base",
        note=(
            "This run fine-tuned an encoder on single pictures. A slide here is one specimen at one"
            " magnification; its probability is the mean over its pictures."
        ),
    )
)


class Switches(NamedTuple):
    """Which parts a pre-training has; see `UMAEOptions`."""

    unm: bool
    ccp: bool
    rca: bool
    joint: bool = True


ABLATION = {
    "scratch": None,
    "MAE, each picture alone": Switches(unm=False, ccp=False, rca=False, joint=False),
    "MAE": Switches(unm=False, ccp=False, rca=False),
    "MAE+UNM": Switches(unm=True, ccp=False, rca=False),
    "MAE+CCP": Switches(unm=False, ccp=True, rca=False),
    "MAE+RCA": Switches(unm=False, ccp=False, rca=True),
    "MAE+UNM+CCP": Switches(unm=True, ccp=True, rca=False),
    "MAE+UNM+RCA": Switches(unm=True, ccp=False, rca=True),
    "MAE+CCP+RCA": Switches(unm=False, ccp=True, rca=True),
    "UMAE": Switches(unm=True, ccp=True, rca=True),
}
"""The rows of the source's table 3, and two more: no pre-training (None), and the MAE of He et al.,
which sees each picture by itself. The source does not say which of the two its "MAE" is."""
