"""SRBlock computes the paper's three steps, starts as the identity, and moves between sizes."""

import copy
import logging
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.hooks import EMAHook  # noqa: F401  (registers what ExponentialMovingAverage needs)
from mmengine.model import ExponentialMovingAverage
from mmengine.registry import MODELS
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


@settings(max_examples=30, deadline=None)
@given(sizes, sizes, st.booleans(), st.integers(0, 99))
def test_at_another_size_map_and_sum_are_resized_and_nothing_else(size, other, channels_last, seed):
    block = trained(memory_size=size, seed=seed).double()
    x = torch.randn(2, 6, *other, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    resized = F.interpolate(block.squeeze(x), size, mode='bilinear', align_corners=False, antialias=False)
    weights = block.gate(resized.flatten(1))
    blocks = F.interpolate(block.memory, other, mode='bilinear', align_corners=False, antialias=False)
    expected = x + torch.einsum('np,pchw->nchw', weights, blocks)
    given_x = x.to(memory_format=torch.channels_last) if channels_last else x
    torch.testing.assert_close(block(given_x), expected)


def test_at_the_trained_size_no_resize_is_in_the_way(monkeypatch):
    monkeypatch.setattr('mmseg_sr.models.block.plain_resize', None)
    monkeypatch.setattr('mmseg_sr.models.recall.resize', None)
    x = torch.randn(2, 6, 4, 5)
    assert trained()(x).shape == x.shape


@pytest.mark.parametrize('size', [(4, 5), (9, 3)])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
def test_an_untrained_block_is_the_identity_bit_for_bit(size, dtype, layout):
    block = SRBlock(6, (4, 5), 3).to(dtype)
    x = torch.randn(2, 6, *size).to(dtype).to(memory_format=layout)
    out = block(x)
    assert torch.equal(out, x) and out.dtype == x.dtype
    assert out.is_contiguous(memory_format=layout)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize('size', [(4, 5), (9, 3)])
def test_under_autocast_the_identity_holds_for_every_input_dtype_and_the_softmax_is_float32(dtype, size):
    block, seen = SRBlock(6, (4, 5), 3), []
    block.gate.register_forward_hook(lambda module, args, output: seen.append(output))
    for x in (torch.randn(2, 6, *size), torch.randn(2, 6, *size).to(dtype)):
        with torch.autocast('cpu', dtype=dtype):
            out = block(x)
        assert torch.equal(out, x) and out.dtype == x.dtype
    assert all(weights.dtype == torch.float32 for weights in seen)


def test_autocast_is_close_to_float32():
    block, x = trained(), torch.randn(2, 6, 4, 5)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        out = block(x.bfloat16())
    # The squeezed map is rounded to 8 bits, so the scores are: compare what this rounding allows.
    with torch.no_grad():
        squeezed = block.squeeze.bfloat16()(x.bfloat16()).float()
        expected = recall_add(x.bfloat16().float(), block.gate(squeezed.flatten(1)), block.memory)
    torch.testing.assert_close(out.float(), expected, rtol=2e-2, atol=5e-2)


def test_the_weights_of_an_image_sum_to_one_and_depend_on_the_image():
    block, seen = trained(), []
    block.gate.register_forward_hook(lambda module, args, output: seen.append(output))
    block(0.05 * torch.randn(3, 6, 4, 5))  # small: larger scores saturate the softmax
    torch.testing.assert_close(seen[0].sum(dim=1), torch.ones(3))
    assert (seen[0][0] - seen[0][1]).abs().max() > 1e-3


def test_an_image_is_not_changed_by_its_batch():
    block, x = trained().double(), torch.randn(4, 6, 4, 5, dtype=torch.float64)
    torch.testing.assert_close(block(x), torch.cat([block(each[None]) for each in x]))


@pytest.mark.parametrize('size', [(4, 5), (8, 10)])
def test_the_input_is_left_untouched(size):
    x = torch.randn(2, 6, *size)
    before = x.clone()
    trained()(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize('size', [(2, 3), (4, 2)])
def test_gradients_are_right(size):
    block = trained(3, (2, 3), 2, 2).double()
    x = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    names = [name for name, _ in block.named_parameters()]

    def run(x, *parameters):
        return torch.func.functional_call(block, dict(zip(names, parameters, strict=True)), (x,))

    assert torch.autograd.gradcheck(run, (x, *block.parameters()))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 64), sizes, st.integers(1, 12), st.integers(1, 32))
def test_it_has_the_parameters_of_equation_1_and_its_biases(channels, size, num_memories, hidden):
    block = SRBlock(channels, size, num_memories, hidden)
    cells = math.prod(size)
    equation = channels + cells * hidden + hidden * num_memories + num_memories * channels * cells
    assert sum(p.numel() for p in block.parameters()) == equation + (1 + hidden + num_memories)


def test_the_initial_state_is_the_papers():
    torch.manual_seed(0)
    block = SRBlock(4096, (32, 64), 8, hidden_channels=64)
    assert torch.count_nonzero(block.memory) == 0
    for weight, fan_in in ((block.squeeze.weight, 4096), (block.gate[0].weight, 2048), (block.gate[1].weight, 64)):
        bound = fan_in**-0.5
        assert 0.95 * bound < weight.abs().max() <= bound
        assert abs(weight.std().item() - bound / 3**0.5) < 0.06 * bound


def test_building_and_initialising_leave_the_random_stream_as_it_was():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    SRBlock(6, (4, 5)).init_weights()
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
def test_compiled_it_computes_the_same(layout):
    block, x = trained(), torch.randn(2, 6, 4, 5).to(memory_format=layout)
    compiled = torch.compile(block, backend='aot_eager', fullgraph=True)
    torch.testing.assert_close(compiled(x), block(x))
    torch.testing.assert_close(compiled(torch.cat([x, x], dim=2)), block(torch.cat([x, x], dim=2)))


@pytest.mark.parametrize('size', [(4, 5), (8, 10)])
def test_exported_it_computes_the_same(size):
    block, x = trained().eval(), torch.randn(2, 6, *size)
    exported = torch.export.export(block, (x,))
    torch.testing.assert_close(exported.module()(x), block(x))
    resized = any('upsample' in str(node.target) for node in exported.graph.nodes)
    assert resized == (size != block.memory_size)


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


@pytest.mark.parametrize('load', [torch.nn.Module.load_state_dict, load_state_dict], ids=['torch', 'mmengine'])
@settings(max_examples=15, deadline=None)
@given(old=sizes, new=sizes, seed=st.integers(0, 99))
def test_a_moved_checkpoint_computes_what_the_old_block_computed_at_that_size(load, old, new, seed):
    block = trained(memory_size=old, seed=seed).double()
    moved = trained(memory_size=new, seed=seed + 1).double()
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


def test_moving_a_checkpoint_warns_with_both_sizes(monkeypatch):
    seen = []
    monkeypatch.setattr(
        'mmseg_sr.models.resize_state.print_log', lambda message, **options: seen.append((message, options))
    )
    network = torch.nn.Sequential(trained(memory_size=(8, 3)))
    network.load_state_dict({f'0.{key}': value for key, value in trained().state_dict().items()})
    ((message, options),) = seen
    assert message.startswith('0: ') and '(4, 5)' in message and '(8, 3)' in message
    assert options['level'] == logging.WARNING


@pytest.mark.parametrize('load', [torch.nn.Module.load_state_dict, load_state_dict], ids=['torch', 'mmengine'])
@pytest.mark.parametrize(
    ('options', 'word'),
    [
        (dict(in_channels=7), 'in_channels=6 in the config, the checkpoint has 7: take the backbone'),
        (dict(num_memories=2), 'num_memories=3 in the config, the checkpoint has 2: set num_memories=2'),
        (dict(hidden_channels=9), 'hidden_channels=4 in the config, the checkpoint has 9: set hidden_channels=9'),
    ],
)
def test_another_c_p_or_u_in_a_checkpoint_is_an_error_that_names_it(load, options, word):
    with pytest.raises(ValueError, match='Only memory_size may differ') as error:
        load(trained(), trained(**options).state_dict())
    assert word in str(error.value)


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


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(in_channels=0), 'in_channels must be a positive integer, got 0'),
        (dict(in_channels=2.5), 'in_channels must be a positive integer, got 2.5'),
        (dict(num_memories=-1), 'num_memories must be a positive integer, got -1'),
        (dict(hidden_channels='16'), "hidden_channels must be a positive integer, got '16'"),
        (dict(memory_size=4), r'memory_size must be \(H, W\).*, got 4'),
        (dict(memory_size=(4, 0)), 'the width in memory_size must be a positive integer, got 0'),
        (dict(memory_size=(True, 4)), 'the height in memory_size must be a positive integer, got True'),
        (dict(memory_size=(4, 5, 6)), r'memory_size must be \(H, W\).*, got \(4, 5, 6\)'),
    ],
)
def test_impossible_options_are_value_errors_with_the_value(options, message):
    with pytest.raises(ValueError, match=message):
        SRBlock(**{**dict(in_channels=6, memory_size=(4, 5)), **options})


@pytest.mark.parametrize('shape', [(1, 5, 4, 5), (6, 4, 5), (1, 6, 20)])
def test_an_input_of_the_wrong_shape_is_a_value_error(shape):
    with pytest.raises(ValueError, match=r'\(N, 6, h, w\)'):
        trained()(torch.randn(shape))


def test_it_is_in_the_root_registry():
    assert MODELS.get('SRBlock') is SRBlock
