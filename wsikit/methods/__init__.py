"""One file a method: wires encoder, head and losses, and reads like its source."""

from wsikit.methods.abmil import ABMIL
from wsikit.methods.graph_transformer import GRAPH_TRANSFORMER
from wsikit.methods.method import METHODS, Method

__all__ = ["ABMIL", "GRAPH_TRANSFORMER", "METHODS", "Method"]
