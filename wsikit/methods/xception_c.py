"""Method E: Xception-C on regions of interest of mammograms.

    network   Xception, its down-sampling shortcuts pooled (A), SE blocks after its last two
              separable convolutions (B); C is A and B: encoders/xception.py
    head      FC 1024, FC 256, each with BN, ReLU and dropout 0.5; FC 1, sigmoid:
              heads/dense_classifier.py
    training  SGD 1e-4, binary cross-entropy, batches of 16, 50 epochs; lr x 0.2 after 7 epochs
              without lower validation loss, end after 13; all layers, from ImageNet's weights
    pictures  299 px around the lesion, flipped, moved and turned

The source stores six copies of each training picture and splits afterwards, so copies of one
picture stand on both sides. Here patients are split first and pictures are changed on the fly, anew
in each epoch. Angles and distances are not in the source: up to 20 degrees and a tenth of the side.
Nor is SGD's momentum, which is 0 here, as in Keras.
"""

from __future__ import annotations

from wsikit.heads.dense_classifier import DENSE
from wsikit.methods.method import METHODS
from wsikit.methods.patch_method import PatchMethod

XCEPTION_C = METHODS.register("xception_c")(
    PatchMethod(
        DENSE,
        "mammograms: Xception with pooled shortcuts and SE, on regions of interest",
        encoder="xception_c",
        epochs=50,
        patience=13,
        settings={
            "lr": 1e-4,
            "weight_decay": 0.0,
            "class_weights": "none",
            "patch": {
                "optimiser": "sgd",
                "momentum": 0.0,
                "batch_size": 16,
                "lr_factor": 0.2,
                "lr_patience": 7,
                "choose": "loss",
                "quarters": False,
                "rotate": 20.0,
                "shift": 0.1,
            },
        },
        note=(
            "This run trained a network on single pictures, each with its lesion's label. A slide's"
            " probability is the mean over its pictures."
        ),
    )
)
