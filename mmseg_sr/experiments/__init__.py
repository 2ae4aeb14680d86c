"""Run arms x seeds x modes, and work out what the differences are worth."""
