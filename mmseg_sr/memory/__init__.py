"""Measure what the memory of an SR block does."""
