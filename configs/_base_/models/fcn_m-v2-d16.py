# A CPU's network: MobileNetV2 with ImageNet weights, of which the stem and two stages, the costliest, stay as they are,
# and a narrow FCN head.
# The weights were trained with 'same' padding, hence Conv2dAdaptivePadding.
_base_ = './fcn_r50-d8.py'
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    pretrained=None,
    backbone=dict(
        _delete_=True,
        type='MobileNetV2',
        strides=(1, 2, 2, 2, 1, 1, 1),
        dilations=(1, 1, 1, 1, 1, 2, 2),
        out_indices=(1, 2, 4, 6),
        conv_cfg=dict(type='Conv2dAdaptivePadding'),
        norm_cfg=norm_cfg,
        frozen_stages=2,
        init_cfg=dict(type='Pretrained', checkpoint='{{$MOBILENET_V2_WEIGHTS:weights/mobilenet_v2_imagenet_fp16.pth}}'),
    ),
    decode_head=dict(in_channels=320, channels=64, num_convs=1, concat_input=False, norm_cfg=norm_cfg),
    auxiliary_head=dict(in_channels=96, channels=32, norm_cfg=norm_cfg),
)
