# ResNet-18 a quarter as wide (w16: 16 base channels): 3 MB of weights, trained in minutes on a CPU.
_base_ = './fcn_r50-d8.py'
model = dict(
    pretrained=None,
    backbone=dict(depth=18, base_channels=16, stem_channels=16),
    decode_head=dict(in_channels=128, channels=64, num_convs=1, concat_input=False),
    auxiliary_head=dict(in_channels=64, channels=32),
)
