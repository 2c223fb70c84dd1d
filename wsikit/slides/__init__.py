"""Source images: one narrow interface, a back-end for each family of formats."""
