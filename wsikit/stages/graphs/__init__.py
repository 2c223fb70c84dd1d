"""Features or places in, the edges between patches out."""
