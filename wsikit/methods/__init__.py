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
from wsikit.methods.resnet50_cbam import RESNET50_CBAM
from wsikit.methods.self_distillation import SELF_DISTILLATION, SELF_DISTILLATION_FEATURES
from wsikit.methods.torchmil import torchmil_method
from wsikit.methods.trans_mil import TRANS_MIL
from wsikit.methods.umae import UMAE_FINE_TUNING
from wsikit.methods.xception_c import XCEPTION_C

__all__ = [
    "ABMIL",
    "AM_SOFTMAX",
    "CLAM_SB",
    "DSMIL",
    "GRAPH_TRANSFORMER",
    "MAX_POOLING",
    "MEAN_POOLING",
    "METHODS",
    "RESNET50_CBAM",
    "SELF_DISTILLATION",
    "SELF_DISTILLATION_FEATURES",
    "SOFTMAX",
    "TRANS_MIL",
    "UMAE_FINE_TUNING",
    "XCEPTION_C",
    "Method",
    "PatchMethod",
    "slide_method",
    "torchmil_method",
]
