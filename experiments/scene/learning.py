# A rate of P * H * W for the memory, and no weight decay: docs/scene.md says why.
_base_ = './sr.py'
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'sr.memory': dict(lr_mult=300, decay_mult=0)}))
