"""Networks taken out of training: exported, held against PyTorch, and used on images and folders."""
