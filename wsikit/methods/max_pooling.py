"""Max pooling: the patch most likely to be positive speaks for the slide.

It reads the usual assumption of multiple instance learning to the letter: a slide is positive where
one patch is. So its patch scores localise small lesions, and it learns slowly: a step teaches one
patch. Where there are more than two classes, each has a patch of its own.
"""

from __future__ import annotations

from wsikit.methods.method import METHODS, Method

MAX_POOLING = METHODS.register("max_pooling")(
    Method("max_pooling", "the patch most likely to be positive")
)
