# One memory, always weighted 1, with a rate of 4 * H * W.
_base_ = './placed.py'
model = dict(backbone=dict(sr=dict(num_memories=1)))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'sr.memory': dict(lr_mult=768, decay_mult=0)}))
