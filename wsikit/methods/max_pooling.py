"""Max pooling: the slide is, class by class, the patch that speaks for the class most clearly.

It reads the usual assumption of multiple instance learning to the letter: a slide is positive where
one patch is. So its patch scores localise small lesions, and it learns slowly: a step teaches one
patch a class.
"""

from __future__ import annotations

from wsikit.methods.method import METHODS, Method

MAX_POOLING = METHODS.register("max_pooling")(
    Method("max_pooling", "largest logit of the patches, class by class")
)
