"""Export networks, check the export against PyTorch, and predict images."""
