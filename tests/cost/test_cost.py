"""What is said of costs is so: parameters, multiply-adds, memory; and a mistake is one message."""

import json
import re
import shlex
from pathlib import Path

import mmseg
import pytest
import torch
from in_process import python
from mmengine.registry import MODELS, DefaultScope
from tiny_config import SR, write_config
from torch.distributed._tools.mem_tracker import MemTracker

from mmseg_sr.config import load_config
from mmseg_sr.cost.count import count_multiply_adds, count_parameters, without_blocks
from mmseg_sr.cost.peak import peak_bytes
from mmseg_sr.cost.timing import in_turn, ratio
from mmseg_sr.cost.workload import Drill
from mmseg_sr.models.find import sr_blocks
from mmseg_sr.runs.models import build_model

FCN = 'configs/fcn/fcn-d6_r50-d16-sr_4xb2-80k_cityscapes-512x1024.py'


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    return write_config(tmp_path_factory.mktemp('cost'), extra=SR)


@pytest.fixture
def model(config):
    return build_model(load_config(config)).eval()


def test_the_published_overheads_are_those_with_the_auxiliary_head(root):
    model = build_model(load_config(root / FCN))
    ours, base = count_parameters(model), count_parameters(without_blocks(model))
    assert round(100 * (ours['all'] / base['all'] - 1), 3) == 12.845
    assert round(100 * (ours['without_auxiliary'] / base['without_auxiliary'] - 1), 2) == 13.49
    assert ours['sr'] == ours['all'] - base['all']


def test_without_its_blocks_a_network_is_the_stock_one(model, config):
    stock = without_blocks(model)
    assert sr_blocks(model) and not sr_blocks(stock)
    image = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(stock(image), model(image))  # untrained: the block is the identity
    model.backbone.layer3.sr.memory.data.fill_(1)
    assert not torch.allclose(stock(image), model(image))
    expected = set(build_model(load_config(write_config(config.parent, 'stock.py'))).state_dict())
    assert set(stock.state_dict()) == expected


@pytest.mark.parametrize('options', [{}, {'model.data_preprocessor.test_cfg.size_divisor': 64}])
@pytest.mark.parametrize('size', [(32, 48), (80, 96)])
def test_images_are_measured_at_the_size_that_is_printed(config, size, options):
    cfg = load_config(config, options)  # whose crop is 64x64
    drill = Drill(build_model(cfg), cfg, size, batch=2)
    seen = []
    drill.model.backbone.register_forward_pre_hook(lambda module, args: seen.append(tuple(args[0].shape)))
    drill.train()
    drill.predict()
    assert seen == [(2, 3, *size), (1, 3, *size)]


def test_blocks_in_a_neck_are_taken_out_too():
    with DefaultScope.overwrite_default_scope('mmseg'):
        neck = MODELS.build(dict(type='SRNeck', in_channels=[4, 8], sr=dict(in_index=1, memory_size=(2, 2))))
    neck.sr['1'].memory.data.fill_(1)
    maps = (torch.randn(1, 4, 4, 4), torch.randn(1, 8, 2, 2))
    assert all(torch.equal(*each) for each in zip(without_blocks(neck)(maps), maps, strict=True))


@pytest.mark.parametrize(
    ('size', 'resizes'),
    # mmengine counts four for each number that a resize makes: the squeezed map, and the sum of 32 channels.
    [((64, 64), 0), ((96, 80), 2 * 4 * (4 * 4 + 32 * 6 * 5))],
)
def test_the_closed_form_is_what_mmengine_counts_more_than_without_the_block(model, size, resizes):
    image = torch.rand(2, 3, *size)
    ours, base = count_multiply_adds(model, image), count_multiply_adds(without_blocks(model), image)
    assert ours['all'] - base['all'] == ours['sr'] + resizes and base['sr'] == 0
    assert 'aten::softmax' in ours['uncounted'] and 'aten::softmax' not in base['uncounted']


def test_a_drill_trains_without_changing_a_parameter_and_knows_its_memory(model, config):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    drill = Drill(model, load_config(config), (64, 64), batch=2)
    peak = drill.peak_bytes()
    assert all(torch.equal(value, before[name]) for name, value in model.named_parameters())
    assert not torch.equal(model.backbone.bn1.running_mean, before['backbone.bn1.running_mean'])
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert drill.state_bytes() == 4 * parameters  # SGD keeps one momentum for each
    assert peak > 3 * 4 * parameters  # weights, gradients, momentum, and maps


def test_rounds_are_in_changing_order_and_compared_one_by_one():
    order = []
    seconds = in_turn({name: lambda name=name: order.append(name) for name in 'abc'}, rounds=3, warmup=0)
    assert ''.join(order) == 'abcbcacab' and all(len(taken) == 3 for taken in seconds.values())
    slow = torch.tensor([1.0, 10.0, 2.0]).numpy()
    assert ratio(1.5 * slow, slow)['ratio'] == pytest.approx(1.5)


def test_the_tool_compares_and_writes(call, config, tmp_path):
    out = tmp_path / 'made/cost.json'
    words = [config, '--rounds', 2, '--shape', 64, 96, '--batch', 2, '--out', out, '--cfg-options', 'crop_size=(9, 8)']
    done = call('cost', *words)
    assert done.document == json.loads(out.read_text())
    assert shlex.split(done.document['command']) == ['python', 'tools/cost.py', *map(str, words)]
    (result,) = done.document['results']
    assert result['shape'] == [64, 96] and set(result['rows']) == {'baseline', 'SR'}
    assert result['rows']['SR']['memory_mib']['weights'] > result['rows']['baseline']['memory_mib']['weights']
    assert {'low', 'high', 'ratio'} == set(result['ratio']['train'])
    printed = ' '.join(done.out.split())
    assert f'| {config.stem} | +' in printed and 'aten::softmax' in printed
    for name, row in result['rows'].items():
        numbers = f'{row["parameters"]["all"]:,} | {row["multiply_adds"]["all"] / 1e9:,.3f} |'
        speed = [f'{row[what]["images_per_second"]:,.2f}' for what in ('train', 'predict')]
        assert f'| {config.stem} | {name} | 64x96 | {numbers} {" | ".join(speed)} |' in printed
    assert done.err.splitlines()[-1].startswith(
        f'{config.stem}: SR adds {result["rows"]["SR"]["parameters"]["sr"]:,} par'
    )


def test_compiled_it_has_the_state_of_an_optimizer_and_no_peak(call, config, monkeypatch):
    monkeypatch.setattr(torch, 'compile', lambda forward: forward)  # which takes minutes
    (result,) = call('cost', config, '--rounds', 1, '--compile').document['results']
    memory = result['rows']['SR']['memory_mib']
    assert memory['peak_training'] is None and memory['optimizer_state'] > 0


def test_gflops_are_those_that_mmseg_s_tool_prints(call, config, tmp_path):
    tool = Path(mmseg.__file__).parent / '.mim/tools/analysis_tools/get_flops.py'
    theirs = python(tool, config, '--shape', 64, cwd=tmp_path).out
    (result,) = call('cost', '--shape', 64, config, '--rounds', 1, '--batch', 2).document['results']
    (flops,) = re.findall(r'Flops: ([\d.]+)M', theirs)
    assert result['shape'] == [64, 64]
    assert result['rows']['SR']['multiply_adds']['all'] / 1e6 == pytest.approx(float(flops), abs=1e-3)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--shape', 0, 64], '--shape: must be a whole number of at least 1'),
        (['--device', 'nowhere'], '--device nowhere'),
        (['--cfg-options', 'model.backbone.sr.after=layer9'], 'no stage'),
    ],
)
def test_a_mistake_is_one_message(call, config, arguments, message):
    assert message in call('cost', config, *arguments).mistake


def test_a_network_without_blocks_is_refused(call, config):
    assert 'has no SR block' in call('cost', write_config(config.parent, 'stock.py')).mistake


def test_a_config_without_an_optimizer_is_trained_by_sgd_and_in_half_precision_too(model, config):
    cfg = load_config(config)
    cfg.pop('optim_wrapper')
    drill = Drill(model, cfg, (64, 64), batch=1, dtype=torch.bfloat16)
    drill.train()
    drill.predict()
    assert isinstance(drill.optim_wrapper.optimizer, torch.optim.SGD)


def test_the_mixed_precision_of_a_config_gives_way_to_the_dtype_that_is_asked_for(model, config):
    cfg = load_config(config, {'optim_wrapper.type': 'AmpOptimWrapper', 'optim_wrapper.loss_scale': 'dynamic'})
    cfg.optim_wrapper.dtype = 'float16'
    drill, seen = Drill(model, cfg, (64, 64), batch=2), []
    model.decode_head.conv_seg.register_forward_hook(lambda layer, args, output: seen.append(output.dtype))
    drill.train()
    assert seen == [torch.float32]


def test_a_step_is_one_of_the_optimizer_where_a_config_accumulates_several(model, config):
    drill = Drill(model, load_config(config, {'optim_wrapper.accumulative_counts': 4}), (64, 64), batch=2)
    drill.train()
    assert drill.state_bytes() > 0


def test_peak_memory_is_what_was_alive_at_once():
    x = torch.ones(1000, requires_grad=True)

    def step():
        kept = (x * 2).sigmoid()  # sigmoid keeps its result; what it was made of goes
        return kept.sin().sum().backward()  # sin keeps its input, and its result goes

    tracker = MemTracker()
    tracker.track_external(x)
    with tracker:
        step()
    expected = tracker.get_tracker_snapshot('peak')[x.device]['Total']
    x.grad = None
    assert abs(peak_bytes(step, [x]) - expected) <= 4 * 4  # scalars


def test_frozen_weights_are_no_trouble(model, config):
    model.backbone.layer1.requires_grad_(False)
    assert Drill(model, load_config(config), (64, 64), batch=2).peak_bytes() > 0
