# The memory of the scene with a rate of P * H * W.
_base_ = './mini-placed.py'
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'sr.memory': dict(lr_mult=576, decay_mult=0)}))
