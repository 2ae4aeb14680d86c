"""A memory of low rank is a memory like another: the same arithmetic, start, sizes and tools, in fewer numbers."""

import json
import math
from functools import partial

import numpy as np
import pytest
import scipy.fft
import torch
import torch.utils.flop_counter
import trained_block
from exporting import export, picture, predicted, segmentor_of, write_network
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.runner import save_checkpoint
from mmengine.runner.checkpoint import load_state_dict
from tiny_config import SR, write_config
from trained_block import PlainBlock

from mmseg_sr import SRBlock
from mmseg_sr.config import load_config
from mmseg_sr.cost.count import block_multiply_adds, count_multiply_adds
from mmseg_sr.memory.interventions import without
from mmseg_sr.models.low_rank import LowRankMemory, memory_blocks
from mmseg_sr.runs.models import build_model
from mmseg_sr.scene.places import place_of
from mmseg_sr.scene.scene_block import SceneSRBlock

sizes = st.tuples(st.integers(1, 7), st.integers(1, 7))
layouts = st.sampled_from([torch.contiguous_format, torch.channels_last])
LOW = SR.replace('hidden_channels=4', 'hidden_channels=4, num_memories=3, memory_rank=2')
NAME = 'backbone.layer3.sr'
trained = partial(trained_block.trained, memory_rank=2)


def full(block: SRBlock) -> SRBlock:
    """The paper's block with the same memory, each number of it the sum over the ranks that it stands for."""
    vectors, maps = (part.detach().double().numpy() for part in (block.memory.channels, block.memory.maps))
    memory = np.zeros((len(vectors), vectors.shape[1], *maps.shape[2:]))
    for p, c, i, j in np.ndindex(memory.shape):
        memory[p, c, i, j] = sum(vectors[p, c, r] * maps[p, r, i, j] for r in range(vectors.shape[2]))
    twin = PlainBlock(block.in_channels, block.memory_size, block.num_memories, hidden_channels=4).double()
    state = {name: value for name, value in block.state_dict().items() if 'memory' not in name}
    twin.load_state_dict({**state, 'memory': torch.from_numpy(memory)})
    return twin


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3), sizes, sizes, st.integers(1, 3), st.integers(1, 4), layouts, st.integers(0, 99))
def test_it_computes_what_the_full_memory_does_at_every_size(batch, size, other, memories, rank, layout, seed):
    rank = min(rank, math.prod(size))
    block = trained(memory_size=size, num_memories=memories, memory_rank=rank, seed=seed).double()
    x = torch.randn(batch, 6, *other, dtype=torch.float64).to(memory_format=layout)
    wanted = full(block)(x)
    out = block(x)
    torch.testing.assert_close(out, wanted)
    assert out.is_contiguous(memory_format=layout)


@settings(max_examples=20, deadline=None)
@given(sizes, sizes, layouts)
def test_it_recalls_what_lies_at_its_place_in_the_scene(size, other, layout):
    block = trained(memory_size=size, memory_rank=1, kind=SceneSRBlock).double()
    x, twin = torch.randn(2, 6, *other, dtype=torch.float64).to(memory_format=layout), full(block)
    boxes = (0.1, 0.7, 0.0, 1.0), (0.9, 0.2, 0.3, 0.5)
    block.place = twin.place = torch.stack([place_of(box, other, other) for box in boxes])
    torch.testing.assert_close(block(x), twin(x), rtol=1e-6, atol=1e-6)  # places are float32


def test_in_half_precision_places_stay_exact():
    block = trained(memory_size=(64, 128), memory_rank=1, kind=SceneSRBlock)
    ramp = (torch.arange(128.0) - 119).clamp(min=0) / 8  # where places are largest, and so their rounding
    block.memory.maps.data = ramp.expand(3, 1, 64, 128).clone()
    block.memory.channels.data.fill_(1)
    x, block.place = torch.zeros(1, 6, 16, 128), place_of((0.0, 1.0, 0.0, 1.0), (64, 128), (64, 128))[None]
    out = block.bfloat16()(x.bfloat16())
    torch.testing.assert_close(out[0, 0, 0].float(), ramp, rtol=0, atol=0.01)


@pytest.mark.parametrize('size', [(2, 3), (4, 2)])
@pytest.mark.parametrize('placed', [False, True])
def test_gradients_are_right(size, placed):
    block = trained(3, (2, 3), 2, kind=SceneSRBlock).double()
    if placed:
        block.place = place_of((0.1, 0.7, 0.0, 1.0), size, size).expand(2, -1, -1, -1)
    x = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    names = [name for name, _ in block.named_parameters()]

    def run(x, *parameters):
        return torch.func.functional_call(block, dict(zip(names, parameters, strict=True)), (x,))

    assert torch.autograd.gradcheck(run, (x, *block.parameters()))


@settings(max_examples=30, deadline=None)
@given(sizes, st.data())
def test_the_maps_start_as_the_smoothest_there_are(size, data):
    rank = data.draw(st.integers(1, min(6, math.prod(size))))
    maps = SRBlock(6, size, 2, memory_rank=rank).memory.maps.detach().double().numpy()
    np.testing.assert_array_equal(maps[0], maps[1])
    spectra = scipy.fft.dctn(maps[0], axes=(1, 2), norm='ortho') / math.prod(size) ** 0.5
    found = [np.argwhere(spectrum.round(6)) for spectrum in spectra]
    assert all(len(places) == 1 for places in found), 'one frequency each'
    lengths = sorted((i**2 + j**2 for i, j in np.ndindex(size)))[:rank]
    assert [int((place[0] ** 2).sum()) for place in found] == lengths
    assert len({tuple(place[0]) for place in found}) == rank
    np.testing.assert_allclose(spectra.max(axis=(1, 2)), 1, atol=1e-6)


def test_from_the_start_a_step_of_the_vectors_moves_the_memory_as_a_full_one_is_moved_summed_over_cells():
    block = SRBlock(2, (3, 4), num_memories=1, memory_rank=1)
    direction = torch.randn(5, 2, 3, 4)
    block(torch.randn(5, 2, 3, 4)).backward(direction)
    wanted = torch.einsum('nchw,hw->c', direction, block.memory.maps[0, 0])
    torch.testing.assert_close(block.memory.channels.grad[0, :, 0], wanted)
    assert not block.memory.maps.grad.any()


def test_a_part_of_a_block_or_nonsense_in_a_checkpoint_is_an_error():
    block, state = trained(), trained().state_dict()
    for name in ('memory.maps', 'memory.channels'):
        with pytest.raises(ValueError, match=f'{name} is missing'):
            load_state_dict(block, {key: value for key, value in state.items() if key != name})
    with pytest.raises(ValueError, match='memory.channels, memory.maps is missing'):
        load_state_dict(block, {key: value for key, value in state.items() if 'memory' not in key})
    for shape in ((3, 6), (3, 6, 1), (2, 6, 2)):
        with pytest.raises(ValueError, match='do not make one SR block'):
            load_state_dict(block, {**state, 'memory.channels': torch.zeros(shape)})


def test_one_memory_block_can_be_taken_out():
    block, x = trained(num_memories=3), torch.randn(2, 6, 4, 5)
    twin = full(block)
    with without(block, 1), without(twin, 1):
        torch.testing.assert_close(block(x), twin(x.double()).float(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(block(x), full(block)(x.double()).float(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('size', [(4, 5), (8, 10)])
def test_its_multiply_adds_are_those_of_its_matrix_products(size, layout):
    block = trained(in_channels=32, num_memories=3, memory_rank=4)
    x = torch.randn(2, 32, *size).to(memory_format=layout)
    with torch.utils.flop_counter.FlopCounterMode(display=False) as counter:
        block(x)
    assert block_multiply_adds(block, x.shape) == counter.get_total_flops() // 2
    resizes = 0 if size == (4, 5) else 4 * (2 * 4 * 5 + 12 * 8 * 10)  # mmengine's: four for each number it makes
    counted = count_multiply_adds(torch.nn.Sequential(block), x)
    assert counted['all'] == counted['sr'] + resizes == block_multiply_adds(block, x.shape) + resizes


@pytest.fixture(scope='module')
def home(tmp_path_factory):
    """A config with a memory of low rank, and a checkpoint in which it counts."""
    folder = tmp_path_factory.mktemp('low rank')
    config = write_config(folder, extra=LOW + "custom_hooks = [dict(type='SRMonitorHook', interval=2)]\n")
    torch.manual_seed(0)
    model = build_model(load_config(config))
    torch.nn.init.normal_(model.get_submodule(NAME).memory.channels)
    save_checkpoint({'state_dict': model.state_dict(), 'meta': {}}, str(folder / 'weights.pth'))
    return folder


def memory_in(checkpoint):
    """The memory blocks of a checkpoint."""
    weights = torch.load(checkpoint, weights_only=False)['state_dict']
    return memory_blocks(weights[f'{NAME}.memory.channels'], weights[f'{NAME}.memory.maps'])


def test_it_is_trained_watched_and_tested_like_another(home, call):
    done = call('train', home / 'tiny.py', '--work-dir', home / 'trained')
    assert done.status == 0, done.err
    (scalars,) = (home / 'trained').glob('*/vis_data/scalars.json')
    rows = [json.loads(line) for line in scalars.read_text().splitlines()]
    numbers = next(row for row in reversed(rows) if f'sr/{NAME}/memory_norm' in row)
    assert numbers[f'sr/{NAME}/memory_gradient'] > 0
    norm = memory_in(home / 'trained/iter_4.pth').norm().item()
    assert 0 < numbers[f'sr/{NAME}/memory_norm'] == pytest.approx(norm, rel=1e-4)
    assert call('test', home / 'tiny.py', home / 'trained/iter_4.pth')[0] == 0


def test_a_file_tells_of_it(home, call):
    done = call('inspect_checkpoint', home / 'weights.pth')
    block = done.document[str(home / 'weights.pth')]['sr_blocks'][NAME]
    norms = memory_in(home / 'weights.pth').flatten(1).norm(dim=1).tolist()
    assert block.pop('norms') == pytest.approx(norms, rel=1e-5)
    assert block == dict(in_channels=32, memory_size=[4, 4], num_memories=3, hidden_channels=4, memory_rank=2)
    assert '3 memories of 32 x 4 x 4, rank 2, 4 hidden' in done.out


def test_a_small_file_of_a_huge_memory_is_told_of_without_making_it(call, tmp_path):
    weights = {f'sr.{name}': torch.ones(shape) for name, shape in (
        ('squeeze.weight', (1, 10**6, 1, 1)), ('gate.0.weight', (1, 10**6)), ('gate.1.weight', (1, 1)),
        ('memory.channels', (1, 10**6, 1)), ('memory.maps', (1, 1, 1000, 1000)),
    )}  # fmt: skip
    torch.save({'state_dict': weights}, tmp_path / 'huge.pth')
    (told,) = call('inspect_checkpoint', tmp_path / 'huge.pth').document.values()
    assert told['sr_blocks']['sr']['norms'] == pytest.approx([10**6])
    weights |= {'sr.memory.channels': torch.ones(1, 10**6, 2), 'sr.memory.maps': torch.ones(1, 2, 1, 1)}
    weights['sr.gate.0.weight'] = torch.ones(1, 1)
    torch.save({'state_dict': weights}, tmp_path / 'impossible.pth')
    assert 'no SR block' in call('inspect_checkpoint', tmp_path / 'impossible.pth')[1]


def test_it_is_drawn_and_ablated(home, call):
    words = home / 'tiny.py', home / 'weights.pth', '--out'
    drawn = call('visualize_sr', *words, home / 'drawn', '--dpi', 50).document
    norms = memory_in(home / 'weights.pth').flatten(1).norm(dim=1).tolist()
    assert drawn['blocks'][NAME]['norms'] == pytest.approx(norms, rel=1e-4)
    done = call('ablate', *words, home / 'ablation.json')
    assert done.status == 0, done.err
    variants = json.loads((home / 'ablation.json').read_text())['variants']
    assert sum('memory' in name for name in variants) >= 3


@pytest.mark.parametrize('dynamic', [False, True])
def test_it_is_exported_as_it_is(tmp_path, dynamic):
    pytest.importorskip('onnx', reason='pip install "mmseg-sr[export]" to test exported networks')
    from mmseg_sr.serving.predict import OnnxRuntime

    extra = "model['backbone']['sr']['memory_rank'] = 2\n"
    config, checkpoint = write_network(tmp_path, extra=extra)
    done = export(config, checkpoint, tmp_path / 'net.onnx', *['--dynamic'] * dynamic)
    (block,) = done.document['blocks']
    assert block == dict(name=NAME, form='recall', resized=dynamic, memory=[3, 32, 4, 4])
    run, image = OnnxRuntime(tmp_path / 'net.onnx'), picture((51, 133) if dynamic else (64, 64))
    wanted = predicted(segmentor_of(config, checkpoint), image).seg_logits.data[None]
    got = run(np.ascontiguousarray(image.transpose(2, 0, 1))[None])
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4 * wanted.abs().max().item())


def test_a_memory_of_low_rank_tells_its_sizes():
    assert repr(LowRankMemory(3, 8, (4, 6), rank=2)) == 'LowRankMemory(3, 8, size=(4, 6), rank=2)'
