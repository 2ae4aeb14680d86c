# The memory of the scene as one of rank 16; at the network's own rate.
_base_ = './mini-placed.py'
model = dict(backbone=dict(sr=dict(memory_rank=16)))
