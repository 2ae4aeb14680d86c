# Control: one memory, so its weight is always 1. A learned bias map of the same size that recalls nothing.
_base_ = './deeplabv3_r50-d8-sr_4xb2-80k_cityscapes-512x1024.py'
model = dict(backbone=dict(sr=dict(num_memories=1)))
