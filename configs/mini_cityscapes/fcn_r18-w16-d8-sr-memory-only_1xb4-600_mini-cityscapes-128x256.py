# The released network without blocks gets one, and that alone learns: nothing else in it changes.
_base_ = './fcn_r18-w16-d8-sr_1xb4-600_mini-cityscapes-128x256.py'
load_from = 'mmseg_sr://checkpoints/fcn_r18-w16-d8_1xb4-2k_mini-cityscapes-128x256-2fe5d15f.safetensors'
custom_hooks = [dict(type='SROnlyHook')]
