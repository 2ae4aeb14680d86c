"""SRBlock computes the paper's three steps, starts as the identity, and moves between sizes."""

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.hooks import EMAHook  # noqa: F401  (registers what ExponentialMovingAverage needs)
from mmengine.model import ExponentialMovingAverage
from mmengine.runner.checkpoint import load_state_dict
from trained_block import trained

from mmseg_sr import SRBlock
from mmseg_sr.models.recall import recall_add

sizes = st.tuples(st.integers(1, 7), st.integers(1, 7))


def reference(block: SRBlock, x: torch.Tensor) -> np.ndarray:
    """The paper's arithmetic as loops over images, memory blocks, channels and cells, in float64."""
    state = {name: value.detach().double().numpy() for name, value in block.state_dict().items()}
    out = x.detach().double().numpy().copy()
    (num_memories, channels, height, width), batch = state['memory'].shape, len(out)
    for n in range(batch):
        squeezed = np.zeros((height, width))
        for c in range(channels):
            squeezed += state['squeeze.weight'][0, c, 0, 0] * out[n, c]
        squeezed = (squeezed + state['squeeze.bias'][0]).reshape(-1)
        hidden = state['gate.0.weight'] @ squeezed + state['gate.0.bias']
        scores = state['gate.1.weight'] @ hidden + state['gate.1.bias']
        weights = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
        for p in range(num_memories):
            out[n] += weights[p] * state['memory'][p]
    return out


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3), st.integers(1, 5), sizes, st.integers(1, 4), st.integers(1, 5), st.integers(0, 99))
def test_it_equals_a_float64_loop_at_the_trained_size(batch, channels, size, num_memories, hidden, seed):
    block = trained(channels, size, num_memories, hidden, seed)
    x = torch.randn(batch, channels, *size, generator=torch.Generator().manual_seed(seed))
    # The softmax turns the rounding of large float32 scores into a relative error: close here, exact in float64.
    np.testing.assert_allclose(block(x).detach().numpy(), reference(block, x), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(block.double()(x.double()).detach().numpy(), reference(block, x), rtol=1e-10, atol=1e-10)


def test_at_the_trained_size_no_resize_is_in_the_way(monkeypatch):
    monkeypatch.setattr('mmseg_sr.models.block.plain_resize', None)
    monkeypatch.setattr('mmseg_sr.models.recall.resize', None)
    x = torch.randn(2, 6, 4, 5)
    assert trained()(x).shape == x.shape


@pytest.mark.parametrize('size', [(4, 5), (9, 3)])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize('autocast', [None, torch.bfloat16, torch.float16])
@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('rank', [None, 2])
def test_an_untrained_block_is_the_identity_bit_for_bit_and_its_softmax_is_not_autocast(
    size, dtype, autocast, layout, rank
):
    block, weights = SRBlock(6, (4, 5), 3, memory_rank=rank).to(dtype if autocast is None else torch.float32), []
    block.gate.register_forward_hook(lambda module, args, output: weights.append(output))
    x = torch.randn(2, 6, *size).to(dtype).to(memory_format=layout)
    with torch.autocast('cpu', dtype=autocast, enabled=autocast is not None):
        out = block(x)
    assert torch.equal(out, x) and out.dtype == x.dtype and out.is_contiguous(memory_format=layout)
    assert weights[0].dtype == (torch.float32 if autocast else dtype)


def test_autocast_is_close_to_float32():
    block, x = trained(), torch.randn(2, 6, 4, 5)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        out = block(x.bfloat16())
    # The squeezed map is rounded to 8 bits, so the scores are: compare what this rounding allows.
    with torch.no_grad():
        squeezed = block.squeeze.bfloat16()(x.bfloat16()).float()
        expected = recall_add(x.bfloat16().float(), block.gate(squeezed.flatten(1)), block.memory)
    torch.testing.assert_close(out.float(), expected, rtol=2e-2, atol=5e-2)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 64), sizes, st.integers(1, 12), st.integers(1, 32), st.none() | st.integers(1, 9))
def test_it_has_the_parameters_of_equation_1_and_its_biases(channels, size, num_memories, hidden, rank):
    cells = math.prod(size)
    rank = rank and min(rank, channels, cells)
    block = SRBlock(channels, size, num_memories, hidden, memory_rank=rank)
    memory = rank * (channels + cells) if rank else channels * cells
    equation = channels + cells * hidden + hidden * num_memories + num_memories * memory
    assert sum(p.numel() for p in block.parameters()) == equation + (1 + hidden + num_memories)


def test_the_initial_state_is_the_papers():
    torch.manual_seed(0)
    block = SRBlock(4096, (32, 64), 8, hidden_channels=64)
    assert torch.count_nonzero(block.memory) == 0
    for weight, fan_in in ((block.squeeze.weight, 4096), (block.gate[0].weight, 2048), (block.gate[1].weight, 64)):
        bound = fan_in**-0.5
        assert 0.95 * bound < weight.abs().max() <= bound
        assert abs(weight.std().item() - bound / 3**0.5) < 0.06 * bound


def test_building_and_initialising_leave_the_random_stream_as_it_was_and_every_memory_starts_with_the_same_gate():
    torch.manual_seed(3)
    expected, blocks = torch.rand(4), []
    for rank in (None, 2):
        torch.manual_seed(3)
        blocks.append(SRBlock(6, (4, 5), 3, memory_rank=rank))
        blocks[-1].init_weights()
        assert torch.equal(torch.rand(4), expected)
    full, low = (block.state_dict() for block in blocks)
    assert all(torch.equal(low[name], value) for name, value in full.items() if name != 'memory')
    assert not low['memory.channels'].any()


@pytest.mark.parametrize('rank', [None, 2])
@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
def test_compiled_it_computes_the_same(layout, rank):
    block, x = trained(memory_rank=rank), torch.randn(2, 6, 4, 5).to(memory_format=layout)
    compiled = torch.compile(block, backend='aot_eager', fullgraph=True)
    for each in (x, torch.cat([x, x], dim=2)):
        torch.testing.assert_close(compiled(each), block(each))


@pytest.mark.parametrize('rank', [None, 2])
@pytest.mark.parametrize('size', [(4, 5), (8, 10)])
def test_exported_it_computes_the_same(size, rank):
    block, x = trained(memory_rank=rank).eval(), torch.randn(2, 6, *size)
    exported = torch.export.export(block, (x,))
    torch.testing.assert_close(exported.module()(x), block(x))
    assert any('upsample' in str(node.target) for node in exported.graph.nodes) == (size != block.memory_size)


def test_a_deep_copy_and_a_moving_average_are_blocks_of_their_own():
    block = trained()
    twin, average = copy.deepcopy(block), ExponentialMovingAverage(block, momentum=0.5)
    memory = block.memory.detach().clone()
    block.memory.data.add_(1)
    average.update_parameters(block)
    average.update_parameters(block)
    assert torch.equal(twin.memory, memory)
    torch.testing.assert_close(average.module.memory, memory + 1.0, atol=0.6, rtol=0)
    x = torch.randn(1, 6, 4, 5)
    assert not torch.equal(block(x), twin(x))


@pytest.mark.parametrize('rank', [None, 1])
@pytest.mark.parametrize('load', [torch.nn.Module.load_state_dict, load_state_dict], ids=['torch', 'mmengine'])
@settings(max_examples=15, deadline=None)
@given(old=sizes, new=sizes, seed=st.integers(0, 99))
def test_a_moved_checkpoint_computes_what_the_old_block_computed_at_that_size(load, rank, old, new, seed):
    block = trained(memory_size=old, seed=seed, memory_rank=rank).double()
    moved = trained(memory_size=new, seed=seed + 1, memory_rank=rank).double()
    state = block.state_dict()
    before = {key: value.clone() for key, value in state.items()}
    load(moved, state)
    x = torch.randn(2, 6, *new, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(moved(x), block(x))
    assert all(torch.equal(state[key], before[key]) for key in before)


@settings(max_examples=15, deadline=None)
@given(old=sizes, new=sizes, value=st.floats(-3, 3))
def test_a_moved_gate_answers_a_constant_map_as_before(old, new, value):
    block, moved = trained(memory_size=old).double(), trained(memory_size=new).double()
    moved.load_state_dict(block.state_dict())
    constant = [torch.full((1, math.prod(size)), value, dtype=torch.float64) for size in (old, new)]
    torch.testing.assert_close(moved.gate(constant[1]), block.gate(constant[0]))


@pytest.mark.parametrize('load', [torch.nn.Module.load_state_dict, load_state_dict], ids=['torch', 'mmengine'])
@pytest.mark.parametrize(
    ('option', 'ours', 'theirs', 'advice'),
    [
        ('in_channels', 6, 7, 'take the backbone'),
        ('num_memories', 3, 2, 'set num_memories=2'),
        ('hidden_channels', 4, 9, 'set hidden_channels=9'),
        ('memory_rank', 2, 3, 'set memory_rank=3'),
        ('memory_rank', None, 3, 'set memory_rank=3'),
        ('memory_rank', 2, None, 'set memory_rank=None'),
    ],
)
def test_another_c_p_u_or_r_in_a_checkpoint_is_an_error_that_names_it(load, option, ours, theirs, advice):
    with pytest.raises(ValueError, match='Only memory_size may differ') as error:
        load(trained(**{option: ours}), trained(**{option: theirs}).state_dict())
    assert f'{option}={ours} in the config, the checkpoint has {theirs}: {advice}' in str(error.value)


def test_a_part_of_a_block_or_nonsense_in_a_checkpoint_is_an_error():
    state = trained().state_dict()
    with pytest.raises(ValueError, match='gate.0.weight is missing'):
        load_state_dict(trained(), {key: value for key, value in state.items() if key != 'gate.0.weight'})
    with pytest.raises(ValueError, match='do not make one SR block'):
        load_state_dict(trained(), {**state, 'memory': torch.zeros(3, 6, 9, 9)})


def test_without_resize_another_size_is_an_error_that_points_to_slide():
    block = trained(resize=False)
    assert block(torch.randn(1, 6, 4, 5)).shape == (1, 6, 4, 5)
    with pytest.raises(ValueError, match=r'\(4, 5\).*\(8, 10\).*slide'):
        block(torch.randn(1, 6, 8, 10))


@pytest.mark.parametrize('shape', [(1, 5, 4, 5), (6, 4, 5), (1, 6, 20)])
def test_an_input_of_the_wrong_shape_is_a_value_error(shape):
    with pytest.raises(ValueError, match=r'\(N, 6, h, w\)'):
        trained()(torch.randn(shape))
