"""One file a method: wires encoder, head and losses, and reads like its source."""

from wsikit.methods.abmil import ABMIL
from wsikit.methods.am_softmax import AM_SOFTMAX, SOFTMAX
from wsikit.methods.graph_transformer import GRAPH_TRANSFORMER
from wsikit.methods.method import METHODS, Method, slide_method
from wsikit.methods.patch_method import PatchMethod

__all__ = [
    "ABMIL",
    "AM_SOFTMAX",
    "GRAPH_TRANSFORMER",
    "METHODS",
    "SOFTMAX",
    "Method",
    "PatchMethod",
    "slide_method",
]
