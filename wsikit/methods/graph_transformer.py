"""Method A (CN115409783A): a graph transformer over the feature-space kNN graph of a slide.

The plainest form: a positional code is added to each patch's feature, transformer blocks and GCN
layers follow, a GCN scores every patch, the softmax of the scores pools them, and two fully
connected layers give the slide's class. Trained with cross-entropy on slide labels. Departures: the
encoder is any of `wsikit.encoders` (the source trains VGG16 with AM-softmax); training ends by
early stopping on validation slides and not at a set training loss.
"""

from __future__ import annotations

from wsikit.methods.method import METHODS, Method

GRAPH_TRANSFORMER = METHODS.register("graph_transformer")(
    Method("graph_transformer", "transformer + GCN over the kNN graph (CN115409783A)")
)
