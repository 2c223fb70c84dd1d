"""One file a method: wires encoder, head and losses, and reads like its source."""

from wsikit.methods.abmil import ABMIL
from wsikit.methods.am_softmax import AM_SOFTMAX, SOFTMAX
from wsikit.methods.clam_sb import CLAM_SB
from wsikit.methods.dsmil import DSMIL
from wsikit.methods.graph_transformer import GRAPH_TRANSFORMER
from wsikit.methods.max_pooling import MAX_POOLING
from wsikit.methods.mean_pooling import MEAN_POOLING
from wsikit.methods.method import METHODS, Method, slide_method
from wsikit.methods.patch_method import PatchMethod
from wsikit.methods.self_distillation import SELF_DISTILLATION, SELF_DISTILLATION_FEATURES
from wsikit.methods.torchmil import torchmil_method
from wsikit.methods.trans_mil import TRANS_MIL

__all__ = [
    "ABMIL",
    "AM_SOFTMAX",
    "CLAM_SB",
    "DSMIL",
    "GRAPH_TRANSFORMER",
    "MAX_POOLING",
    "MEAN_POOLING",
    "METHODS",
    "SELF_DISTILLATION",
    "SELF_DISTILLATION_FEATURES",
    "SOFTMAX",
    "TRANS_MIL",
    "Method",
    "PatchMethod",
    "slide_method",
    "torchmil_method",
]
