# Control: one memory, so its weight is always 1. A learned bias map of the same size that recalls nothing.
_base_ = './fcn_m-v2-d16-sr_1xb8-800_camvid-160x160.py'
model = dict(backbone=dict(sr=dict(num_memories=1)))
