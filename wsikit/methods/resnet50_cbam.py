"""Method D: ResNet50 with CBAM, from patches of lesions to whole mammograms (Xu et al. 2021).

Patches P of 224 px, cut around lesions, teach the network what benign and malignant masses look
like; whole breasts G of 512 px are learnt by the same network, starting from what P taught:

    network  ResNet50's last feature map -> CBAM -> mean -> one layer   encoders/cbam.py
    augment  flips both ways, turned by 0-20 degrees, zoomed            training/patches/warp.py
    P        Adam 1e-3, cross-entropy, batches of 32, 150 epochs        this file
    G        SGD 1e-2, momentum 0.9, batches of 4, 200 epochs           configs/resnet50_cbam.yaml
    both     lr x 0.2 after 10 epochs without better accuracy of validation, end after 20

What this method holds as its defaults is P; the recipe `pipelines/resnet50_cbam.py` trains P, then
G with `train.patch.start`. The source splits pictures: P 80/10/10 and G 60/20/20, so one patient
may be on two sides, and P may hold patients of G's test side. Here patients are split, once for
both, and a start that saw a held-out patient is refused. r, the zoom, and weight decay (none here)
are not in the source.
"""

from __future__ import annotations

from wsikit.methods.method import METHODS
from wsikit.methods.patch_method import PatchMethod

RESNET50_CBAM = METHODS.register("resnet50_cbam")(
    PatchMethod(
        "softmax",
        "mammograms: ResNet50 with CBAM, patches first and then whole images (Xu et al. 2021)",
        encoder="resnet50_cbam",
        epochs=150,
        patience=20,
        settings={
            "lr": 1e-3,
            "weight_decay": 0.0,
            "class_weights": "none",
            "patch": {
                "optimiser": "adam",
                "batch_size": 32,
                "lr_factor": 0.2,
                "lr_patience": 10,
                "choose": "accuracy",
                "quarters": False,
                "rotate": 20.0,
                "zoom": 0.1,
            },
        },
        note=(
            "This run trained a network on single pictures, each with its lesion's or mammogram's"
            " label. A slide's probability is the mean over its pictures."
        ),
    )
)
