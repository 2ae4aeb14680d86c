# A memory of rank 4, 16 numbers where the full one has 1536; at the stock rate.
_base_ = '../../configs/mini_cityscapes/fcn_r18-w16-d8-sr_1xb4-600_mini-cityscapes-128x256.py'
model = dict(backbone=dict(sr=dict(memory_rank=4)))
