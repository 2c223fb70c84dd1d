"""Take data sets of pictures into a store, from the layout in which they are published."""
