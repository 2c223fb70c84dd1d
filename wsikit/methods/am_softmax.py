"""Step 2 of method A (CN115409783A): a VGG16 trained with AM-softmax, for use as an encoder.

Slides are split first. Every patch inherits its slide's label. A network whose features and whose
last fully connected layer W are normalised learns to tell the classes apart with a margin (Wang,
Cheng, Liu and Liu 2018) for 100 epochs; without W it is the encoder. `softmax` is the same with an
ordinary last layer and cross-entropy, so that the margin's part can be measured.

Not in the source, and ours: s = 30 and m = 0.35 (Wang et al. 2018), AdamW, quarter turns and flips
drawn anew each epoch, the best epoch by the loss of validation slides. The source's network is
VGG16; here it may be any encoder.
"""

from __future__ import annotations

from wsikit.methods.method import METHODS
from wsikit.methods.patch_method import PatchMethod

AM_SOFTMAX = METHODS.register("am-softmax")(
    PatchMethod("am-softmax", "an encoder trained on patches with AM-softmax (CN115409783A)")
)

SOFTMAX = METHODS.register("softmax")(
    PatchMethod("softmax", "an encoder trained on patches with plain softmax, to compare with")
)
