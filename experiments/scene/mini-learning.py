# The plain block with a rate of P * H * W for its memory: docs/scene.md says why.
_base_ = '../../configs/mini_cityscapes/fcn_r18-w16-d8-sr_1xb4-600_mini-cityscapes-128x256.py'
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'sr.memory': dict(lr_mult=1536, decay_mult=0)}))
