"""Tell tissue from glass: pure functions on uint8 arrays."""
