"""Read, check, save, find and publish checkpoints."""
