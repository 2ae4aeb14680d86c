_base_ = './mini-placed-learning.py'
model = dict(backbone=dict(sr=dict(memory_rank=4)))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'sr.memory': dict(lr_mult=1, decay_mult=1)}))
