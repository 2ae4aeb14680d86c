# Tested in windows of the training crop: the block is the trained one at every scale, never resized.
_base_ = './fcn-d6_r50-d16-sr_4xb2-80k_cityscapes-512x1024.py'
model = dict(
    backbone=dict(sr=dict(resize=False)),
    test_cfg=dict(mode='slide', crop_size=(512, 1024), stride=(256, 512)),
)
