"""The parts of a drawn street: where things stand, what they look like, and the paint."""
