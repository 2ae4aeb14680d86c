"""Draw street scenes in the layout of Cityscapes."""
