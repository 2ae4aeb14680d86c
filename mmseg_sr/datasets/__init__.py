"""Prepare, build, load and check the datasets."""
