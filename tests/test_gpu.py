"""On a GPU the block computes what it does on a CPU, and the tools train there too; skipped where there is none."""

import copy
import shutil
from pathlib import Path

import pytest
import torch
from in_process import ROOT, command, python
from killing import differences, losses
from tiny_config import SR, write_config
from trained_block import trained

from mmseg_sr import SRBlock
from mmseg_sr.config import load_config
from mmseg_sr.cost.workload import Drill
from mmseg_sr.experiments.logs import scalars
from mmseg_sr.runs.models import build_model

if not torch.cuda.is_available():
    pytest.skip('a GPU, and TEST_GPU=1, are needed', allow_module_level=True)

SIZES = [(4, 5), (9, 3)]
CLOSE = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 6e-2}  # relative to the largest number of a tensor


def block_of(rank: int | None, dtype: torch.dtype = torch.float32) -> SRBlock:
    """A block with weights that are neither equal nor one of them all."""
    return trained(memory_rank=rank, scale=0.3).to(dtype)


def trained_on(block: SRBlock, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """The output, and the gradients of a sum that weighs each of its numbers differently."""
    x = x.detach().requires_grad_()
    out = block(x)
    weights = torch.linspace(-1, 1, out.numel(), dtype=torch.float64).reshape(out.shape).to(out.device, out.dtype)
    (out * weights).sum().backward()
    gradients = {name: parameter.grad for name, parameter in block.named_parameters()}
    return {'out': out, 'x': x.grad, **gradients}


def assert_close(ours: dict[str, torch.Tensor], exact: dict[str, torch.Tensor], part: float) -> None:
    assert ours.keys() == exact.keys()
    for name, tensor in ours.items():
        assert tensor.device.type == 'cuda', name
        far = (tensor.double().cpu() - exact[name]).abs().max() / exact[name].abs().max()
        assert far < part, f'{name}: {float(far):.2g} of its largest number away'


@pytest.fixture(autouse=True)
def exact_products():
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('rank', [None, 2])
@pytest.mark.parametrize('dtype', CLOSE)
@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
def test_outputs_and_gradients_are_those_of_float64_on_a_cpu(layout, dtype, rank, size):
    block = block_of(rank, dtype)
    x = torch.randn(3, 6, *size).to(dtype).to(memory_format=layout)
    exact = trained_on(copy.deepcopy(block).double(), x.double())
    ours = trained_on(block.cuda(), x.cuda())
    assert_close(ours, exact, CLOSE[dtype])
    assert ours['out'].dtype == dtype and ours['out'].is_contiguous(memory_format=layout)


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('rank', [None, 2])
@pytest.mark.parametrize('given', [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize('autocast', [torch.bfloat16, torch.float16])
def test_under_autocast_too_where_the_softmax_stays_float32(autocast, given, rank, size):
    block, weights = block_of(rank), []
    x = torch.randn(3, 6, *size).to(given)
    exact = trained_on(copy.deepcopy(block).double(), x.double())
    block.gate.register_forward_hook(lambda module, args, output: weights.append(output))
    with torch.autocast('cuda', dtype=autocast):
        ours = trained_on(block.cuda(), x.cuda())
    assert weights[0].dtype == torch.float32 and ours['out'].dtype == given
    assert_close(ours, exact, max(CLOSE[autocast], CLOSE[given]))


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('rank', [None, 2])
def test_compiled_too(rank, size):
    block, x = block_of(rank), torch.randn(3, 6, *size)
    exact = trained_on(copy.deepcopy(block).double(), x.double())
    block.cuda().compile(fullgraph=True)
    assert_close(trained_on(block, x.cuda()), exact, CLOSE[torch.float32])


def train(config: Path, work: Path, *more: object) -> dict[int, dict[str, float]]:
    """Train as a user does; the losses by iteration."""
    python(ROOT / 'tools/train.py', config, '--work-dir', work, *more)
    return losses(work)


def test_a_training_is_that_of_a_cpu_up_to_rounding_and_mixed_precision_is_close(tmp_path):
    config = write_config(tmp_path, extra=SR)
    python(ROOT / 'tools/train.py', config, '--work-dir', tmp_path / 'cpu', CUDA_VISIBLE_DEVICES='-1')
    expected = losses(tmp_path / 'cpu')
    for work, more, part in (('gpu', [], 1e-2), ('amp', ['--amp'], 5e-2)):
        ours = train(config, tmp_path / work, *more)
        assert ours.keys() == expected.keys() and ours[1].keys() == expected[1].keys()
        assert ours[1]['loss'] == pytest.approx(expected[1]['loss'], rel=part)
        assert sum('mIoU' in line for line in scalars(tmp_path / work)) == 1


def test_a_deterministic_training_is_the_same_to_the_bit_with_and_without_a_stop(tmp_path):
    config = write_config(
        tmp_path,
        extra=SR
        + "model['decode_head']['dropout_ratio'] = 0.5\n"
        + "model['backbone']['sr']['memory_size'] = (3, 5)\n"  # the map's is (4, 4): resizes have derivatives too
        + "default_hooks['exact_resume'] = dict(type='ExactResumeHook')\n"
        + "default_hooks['checkpoint']['interval'] = 2\n",
    )
    for work in ('whole', 'again'):
        train(config, tmp_path / work, '--deterministic')
    (tmp_path / 'stopped').mkdir()
    shutil.copy(tmp_path / 'whole/iter_2.pth', tmp_path / 'stopped')
    train(config, tmp_path / 'stopped', '--deterministic', '--resume')
    whole, *others = (
        torch.load(tmp_path / work / 'iter_4.pth', weights_only=False, map_location='cpu')
        for work in ('whole', 'again', 'stopped')
    )
    for other in others:
        assert differences(other['state_dict'], whole['state_dict']) == []
        assert differences(other['optimizer'], whole['optimizer']) == []


LOOKS = {
    'test': ['{config}', '{weights}', '--tta'],
    'ablate': ['{config}', '{weights}', '--out', 'ablation.json'],
    'visualize_sr': ['{config}', '{weights}', '--num-images', '2', '--pictures', '1', '--dpi', '20', '--out', 'out'],
    'report_page': ['{config}', '{weights}', '--out', 'page.html'],
    'predict': ['{config}', '{weights}', '{data}', '--out', 'predicted'],
    'export': ['{config}', '{weights}', '--format', 'torch-export', '--out', 'network.pt2'],
    'cost': ['{config}', '--rounds', '1', '--out', 'cost.json'],
}


@pytest.fixture(scope='module')
def trained_network(tmp_path_factory) -> dict[str, Path]:
    home = tmp_path_factory.mktemp('home')
    config = write_config(home, extra=SR)
    train(config, home / 'work')
    return dict(config=config, weights=home / 'work/iter_4.pth', data=home / 'data/img')


@pytest.mark.parametrize('tool', LOOKS)
def test_every_tool_that_runs_a_network_runs_it_there(tool, trained_network, call):
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    done = call(tool, *(word.format(**trained_network) for word in LOOKS[tool]))
    assert done.status == 0, done.out + done.err
    assert torch.cuda.max_memory_allocated() > before, 'it ran on the CPU'


def test_the_peak_of_a_training_leaves_out_what_else_lies_there(tmp_path):
    cfg = load_config(write_config(tmp_path, extra=SR))
    drill = Drill(build_model(cfg), cfg, (64, 64), batch=2, device='cuda')
    alone = drill.peak_bytes()
    other = torch.empty(2**28, dtype=torch.uint8, device='cuda')
    assert drill.peak_bytes() == pytest.approx(alone, rel=0.1)
    assert other.is_cuda


def test_one_process_of_nccl_is_a_training_without_one(tmp_path):
    config = write_config(tmp_path, extra=SR)
    alone = train(config, tmp_path / 'alone')
    done = command(ROOT / 'tools/dist_train.sh', config, 1, '--work-dir', tmp_path / 'nccl')
    assert done.status == 0, done.out + done.err
    assert losses(tmp_path / 'nccl')[1]['loss'] == pytest.approx(alone[1]['loss'], rel=1e-2)
    tested = command(ROOT / 'tools/dist_test.sh', config, tmp_path / 'nccl/iter_4.pth', 1)
    assert tested.status == 0 and 'mIoU' in tested.out + tested.err, tested.out + tested.err


def test_more_processes_than_gpus_are_refused(tmp_path):
    config = write_config(tmp_path, extra=SR)
    done = command(ROOT / 'tools/dist_train.sh', config, torch.cuda.device_count() + 1, '--work-dir', tmp_path / 'work')
    assert done.status and 'more processes on this machine than its' in done.out + done.err
