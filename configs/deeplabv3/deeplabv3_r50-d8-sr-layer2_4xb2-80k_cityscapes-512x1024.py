# The other reading of 'module 2', counted from 1: after layer2, whose map is 64x128 (stride 8).
_base_ = './deeplabv3_r50-d8-sr_4xb2-80k_cityscapes-512x1024.py'
model = dict(backbone=dict(sr=dict(after='layer2', memory_size=(64, 128))))
