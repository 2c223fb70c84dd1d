"""Features to and from the layouts of other tools."""
