"""What workers of tiling import before their first task, named where naming it costs nothing."""

SHARD_TASKS = "wsikit.stages.tiling.slide"
"""The module that holds every task of a slide."""
