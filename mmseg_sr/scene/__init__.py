"""Let the memory cover the scene instead of the crop."""
