# A memory of rank 16, P*16*(C + H*W) numbers instead of P*C*H*W.
_base_ = './fcn_m-v2-d16-sr_1xb8-800_camvid-160x160.py'
model = dict(backbone=dict(sr=dict(memory_rank=16)))
