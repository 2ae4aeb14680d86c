"""Backbones for a CPU, with ImageNet weights from the package index, made of parts of mmseg."""
