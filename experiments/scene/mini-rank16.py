# A memory of rank 16 at the network's own rate.
_base_ = '../../configs/mini_cityscapes/fcn_r18-w16-d8-sr_1xb4-600_mini-cityscapes-128x256.py'
model = dict(backbone=dict(sr=dict(memory_rank=16)))
