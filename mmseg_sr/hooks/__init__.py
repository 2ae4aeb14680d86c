"""Hooks of the Runner, one a file."""
