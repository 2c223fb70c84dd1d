"""What a slide, a store, a run or this machine holds."""
