"""Looking at SR blocks: what is recorded is what happened, and nothing else changes."""

import copy
import gc
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from tiny_config import SR, write_config
from torch import nn

from mmseg_sr import SRBlock
from mmseg_sr.config import load_config
from mmseg_sr.memory.observe import observe, predict
from mmseg_sr.memory.probe import probe
from mmseg_sr.memory.summary import image_rows, summarise
from mmseg_sr.models.find import sr_blocks
from mmseg_sr.runs.models import build_model


def filled(block: SRBlock) -> SRBlock:
    nn.init.normal_(block.memory)
    return block


@pytest.fixture
def network() -> nn.Sequential:
    """Two SR blocks, of different sizes, as '1' and '3'."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        filled(SRBlock(6, memory_size=(4, 6), num_memories=3)),
        nn.Conv2d(6, 5, 3, stride=2, padding=1),
        filled(SRBlock(5, memory_size=(2, 3), num_memories=2)),
    )


def small_fcn(tmp_path: Path, **changes: object) -> nn.Module:
    """A small FCN with a block after layer3, whose map is a sixteenth of the image; pixels are taken as they are."""
    changes |= {'backbone.sr.memory_size': (2, 4), 'backbone.sr.num_memories': 3}
    changes |= {'data_preprocessor.mean': None, 'data_preprocessor.std': None}
    cfg = load_config(write_config(tmp_path, extra=SR), {f'model.{key}': value for key, value in changes.items()})
    model = build_model(cfg).eval()
    filled(model.backbone.layer3.sr)
    return model


@pytest.fixture
def segmentor(tmp_path) -> nn.Module:
    return small_fcn(tmp_path)


def sample(height: int = 32, width: int = 64, labelled: bool = False) -> dict:
    image = torch.rand(3, height, width, generator=torch.Generator().manual_seed(1))
    meta = dict(ori_shape=(height, width), img_shape=(height, width), img_path='a_1.png')
    data_sample = SegDataSample(metainfo=meta)
    if labelled:
        data_sample.gt_sem_seg = PixelData(data=torch.zeros(1, height, width, dtype=torch.long))
    return dict(inputs=image, data_samples=data_sample)


def hooks(model: nn.Module) -> int:
    kinds = ('_forward_hooks', '_forward_pre_hooks', '_forward_hooks_with_kwargs')
    return sum(len(getattr(module, kind)) for module in model.modules() for kind in kinds)


def test_records_the_equation(network):
    x = torch.randn(2, 3, 4, 6)
    with probe(network) as passes:
        network(x)
    assert list(passes) == ['1', '3']
    for name, seen in passes.items():
        before = network[: int(name)](x)
        block = network[int(name)]
        weights = block.gate(block.squeeze(before).flatten(1))
        recalled = torch.einsum('np,pchw->nchw', weights, block.memory)
        torch.testing.assert_close(seen.weights, [weights.detach()])
        torch.testing.assert_close(seen.before, [before.mean(1).detach()])
        torch.testing.assert_close(seen.after, [(before + recalled).mean(1).detach()])
        shift = recalled.flatten(1).norm(dim=1) / before.flatten(1).norm(dim=1)
        torch.testing.assert_close(seen.shift, [shift.detach()])


def test_records_every_pass_and_blocks_by_name(network):
    with probe(network, names=['3']) as passes:
        for height in (4, 5, 9):
            network(torch.randn(1, 3, height, 6))
    assert list(passes) == ['3']
    assert [tuple(each.shape) for each in passes['3'].before] == [(1, 2, 3), (1, 3, 3), (1, 5, 3)]
    assert len(passes['3'].weights) == len(passes['3'].after) == len(passes['3'].shift) == 3


@pytest.mark.parametrize('mode', ['training', 'no_grad', 'inference', 'autocast'])
def test_changes_no_output_and_no_gradient(network, mode):
    x = torch.randn(2, 3, 7, 6)

    def run() -> list[torch.Tensor]:
        network.zero_grad()
        y = network(x)
        if y.requires_grad:
            y.square().sum().backward()
        return [y, *(parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None)]

    contexts = {
        'training': torch.enable_grad(),
        'no_grad': torch.no_grad(),
        'inference': torch.inference_mode(),
        'autocast': torch.autocast('cpu', dtype=torch.bfloat16),
    }
    with contexts[mode]:
        plain = run()
        with probe(network) as passes:
            probed = run()
    assert len(plain) == len(probed) == (1 if mode in ('no_grad', 'inference') else 1 + len(list(network.parameters())))
    for tensor, other in zip(plain, probed, strict=True):
        assert torch.equal(tensor, other)
    for seen in passes.values():
        for record in (*seen.weights, *seen.before, *seen.after, *seen.shift):
            assert record.dtype == torch.float32 and not record.requires_grad


def test_leaves_no_hook(network):
    own = network[1].register_forward_hook(lambda *args: None)
    with probe(network):
        assert hooks(network) > 1
    assert hooks(network) == 1
    with pytest.raises(RuntimeError, match='in the pass'), probe(network):
        raise RuntimeError('in the pass')
    with pytest.raises(ValueError, match=r'\(N, 6, h, w\)'), probe(network):
        network[1](torch.zeros(1, 2, 3, 3))
    assert hooks(network) == 1
    own.remove()
    copy.deepcopy(network)


def test_records_stay_what_they_were(network):
    relu = nn.ReLU(inplace=True)
    x = torch.randn(1, 3, 4, 6)
    with probe(network) as passes:
        relu(network(x)).zero_()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    assert passes['3'].after[0].abs().min() > 0 and passes['3'].weights[0].sum() == pytest.approx(1)


def test_keeps_no_feature_map(network):
    x = torch.randn(1, 3, 40, 60)
    kept = 0
    with probe(network) as passes, torch.no_grad():
        network(x)
        for seen in passes.values():
            for records in vars(seen).values():
                kept += sum(each.untyped_storage().nbytes() for each in records)
        gc.collect()
        maps = [each for each in gc.get_objects() if torch.is_tensor(each) and each.shape[1:] == (6, 40, 60)]
    assert kept == 4 * (2 * 40 * 60 + 2 * 20 * 30 + 3 + 2 + 2)
    assert not maps


def test_wrapped_models_give_the_names_of_the_one_inside(network, segmentor, tmp_path):
    dist.init_process_group('gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(network)
        with probe(wrapped, names=['1']) as passes:
            wrapped(torch.randn(2, 3, 4, 6)).sum().backward()
    finally:
        dist.destroy_process_group()
    assert passes['1'].weights[0].shape == (2, 3)

    with DefaultScope.overwrite_default_scope('mmseg'):
        augmented = MODELS.build(dict(type='SegTTAModel', module=segmentor))
    views = [sample(), sample(16, 32)]
    views[1]['data_samples'].set_metainfo(dict(ori_shape=(32, 64)))
    batch = {key: [[view[key]] for view in views] for key in ('inputs', 'data_samples')}
    with probe(augmented) as passes, torch.no_grad():
        augmented.test_step(batch)
    (name,) = passes
    assert name == 'backbone.layer3.sr' and len(passes[name].weights) == 2
    assert list(sr_blocks(SRBlock(1, memory_size=(1, 1)))) == ['SRBlock']


def test_wrong_names(network):
    with pytest.raises(ValueError, match=r"'2'; there are 1, 3"), probe(network, names=['1', '2']):
        pass
    with pytest.raises(ValueError, match='ReLU has no SR block'), probe(nn.ReLU()):
        pass


def test_observe(segmentor):
    block = segmentor.backbone.layer3.sr
    memory = block.memory.detach().clone()
    seen = observe(segmentor, sample(labelled=True))
    assert seen.path == 'a_1.png' and seen.windows == 1
    assert seen.shares.tolist() == [1, 0, 0, 0]
    view = seen.blocks['backbone.layer3.sr']
    assert view.weights.shape == (3,) and view.before.shape == view.after.shape == (2, 4)
    assert torch.equal(block.memory, memory) and not hooks(segmentor)

    logits = segmentor.test_step({key: [value] for key, value in sample().items()})[0].seg_logits.data
    assert np.array_equal(seen.prediction, logits.argmax(0))
    assert seen.logit_size == pytest.approx(logits.abs().mean().item())
    for index in range(3):
        with torch.no_grad():
            block.memory[index] = 0
        others = segmentor.test_step({key: [value] for key, value in sample().items()})[0].seg_logits.data
        block.memory.data.copy_(memory)
        change = others - logits
        np.testing.assert_allclose(view.score_change[index], change.mean((1, 2)).detach(), rtol=1e-4, atol=1e-7)
        cells = change.abs().mean(0).detach().reshape(2, 16, 4, 16).mean((1, 3))
        np.testing.assert_allclose(view.place_change[index], cells, rtol=1e-4)
        assert view.flips[index] == pytest.approx((others.argmax(0) != logits.argmax(0)).float().mean().item())
    assert observe(segmentor, sample(), ablate=False).blocks['backbone.layer3.sr'].flips is None
    assert observe(segmentor, sample(), ablate=False).shares is None


@torch.no_grad()
def test_the_logits_of_one_channel_are_those_before_the_sigmoid(tmp_path):
    head = {'num_classes': 2, 'out_channels': 1, 'threshold': 0.4}
    model = small_fcn(tmp_path, **{f'decode_head.{key}': value for key, value in head.items()})
    nn.init.normal_(model.decode_head.conv_seg.weight, std=30)
    image = sample()
    given = image['inputs'][None], [image['data_samples'].metainfo]
    model.decode_head.conv_seg.bias.sub_(model.encode_decode(*given).mean())
    logits, prediction, _ = predict(model, image)
    (raw,) = model.encode_decode(*given)
    assert raw.min() < -0.5 < 0.5 < raw.max()
    torch.testing.assert_close(logits, torch.cat([-raw, raw]), rtol=1e-3, atol=1e-4)
    assert torch.equal(prediction, (raw[0].sigmoid() > 0.4).byte())


def test_an_image_of_one_pixel_is_a_segmentors_all_the_same(segmentor):
    image = sample()
    image['data_samples'].set_metainfo(dict(ori_shape=(1, 1)))
    seen, (name,) = observe(segmentor, image, ablate=False), sr_blocks(segmentor)
    assert seen.prediction.shape == (1, 1)
    assert summarise([seen], name, segmentor.backbone.layer3.sr, 'abcd').of == 'pixel'
    assert {row['drive'] for row in image_rows([seen], 'abcd')} == {'a'}


def test_observe_in_slide_mode(segmentor):
    segmentor.test_cfg = ConfigDict(mode='slide', crop_size=(32, 64), stride=(16, 32))
    image = sample(48, 128)
    seen = observe(segmentor, image, ablate=False)
    view = seen.blocks['backbone.layer3.sr']
    windows = [image['inputs'][None, :, top : top + 32, left : left + 64] for top in (0, 16) for left in (0, 32, 64)]
    with probe(segmentor) as passes, torch.no_grad():
        for window in windows:
            segmentor.backbone(window)
    passes = passes['backbone.layer3.sr']
    assert seen.windows == 6 and view.before.shape == (3, 8)
    np.testing.assert_allclose(view.weights, torch.cat(passes.weights).mean(0), rtol=1e-5)
    np.testing.assert_allclose(view.before[0, :2], passes.before[0][0, 0, :2], rtol=1e-5)
    np.testing.assert_allclose(view.after[2, 6:], passes.after[5][0, 1, 2:], rtol=1e-5)
    np.testing.assert_allclose(
        view.before[0, 3], (passes.before[0][0, 0, 3] + passes.before[1][0, 0, 1]) / 2, rtol=1e-5
    )
