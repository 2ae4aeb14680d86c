"""The fast form of the block computes what the plain form computes, forward and backward, and keeps less."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributed._tools.mem_tracker import MemTracker
from trained_block import PlainBlock, plain_resize, trained

from mmseg_sr import SRBlock
from mmseg_sr.models.recall import resize, squeeze

LAYOUTS = [torch.contiguous_format, torch.channels_last]
sizes = st.tuples(st.integers(1, 7), st.integers(1, 7))


def pair(in_channels=6, memory_size=(4, 5), num_memories=3, seed=0) -> tuple[SRBlock, SRBlock]:
    """The fast and the plain form of one trained block."""
    # Small: large scores saturate the softmax, and the gate would get no gradient to compare.
    given = (in_channels, memory_size, num_memories, 4, seed)
    return trained(*given, scale=0.3), trained(*given, scale=0.3, kind=PlainBlock)


def pass_through(block: SRBlock, x: torch.Tensor, direction: torch.Tensor) -> list[torch.Tensor]:
    """Output, gradient of the input and gradients of the parameters."""
    x = x.detach().requires_grad_()
    # The map is used once more, as a residual network does: the joined gradient must not lose that.
    out = block(x)
    ((out * direction).sum() + (0.5 * x * x).sum()).backward()
    return [out.detach(), x.grad, *(parameter.grad for parameter in block.parameters())]


@settings(max_examples=60, deadline=None)
@given(
    batch=st.integers(1, 3),
    channels=st.integers(1, 5),
    size=sizes,
    other=st.none() | sizes,
    num_memories=st.integers(1, 4),
    layout=st.sampled_from(LAYOUTS),
    memory_layout=st.sampled_from(LAYOUTS),
    seed=st.integers(0, 99),
)
def test_values_and_gradients_are_those_of_the_plain_form(
    batch, channels, size, other, num_memories, layout, memory_layout, seed
):
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, channels, *(other or size))
    x = torch.randn(shape, dtype=torch.float64, generator=generator).to(memory_format=layout)
    direction = torch.randn(shape, dtype=torch.float64, generator=generator)
    before = x.clone()
    fast, plain = (block.double().to(memory_format=memory_layout) for block in pair(channels, size, num_memories, seed))
    for got, expected in zip(pass_through(fast, x, direction), pass_through(plain, x, direction), strict=True):
        torch.testing.assert_close(got, expected)
    assert torch.equal(x, before), 'the input is left as it was'


@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize('size', [(4, 5), (9, 3)])
def test_a_layout_stays_what_it_was(layout, size):
    block = pair()[0].to(memory_format=layout)
    x = torch.randn(2, 6, *size).to(memory_format=layout).requires_grad_()
    out = block(x)
    out.backward(torch.randn_like(out))
    assert out.is_contiguous(memory_format=layout) and x.grad.is_contiguous(memory_format=layout)


@pytest.mark.parametrize('layout', [None, *LAYOUTS])
def test_maps_that_are_a_part_of_others_are_taken(layout):
    whole = torch.randn(3, 9, 6, 7)
    x = (whole.transpose(2, 3) if layout is None else whole.to(memory_format=layout))[1:, 2:8, 1:5, 1:6]
    fast, plain = pair()
    torch.testing.assert_close(fast(x), plain(x))


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_is_as_close_as_the_plain_form(dtype):
    fast, plain = (block.to(dtype) for block in pair())
    x, direction = torch.randn(2, 6, 4, 5).to(dtype), torch.randn(2, 6, 4, 5).to(dtype)
    for got, expected in zip(pass_through(fast, x, direction), pass_through(plain, x, direction), strict=True):
        assert got.dtype == dtype
        torch.testing.assert_close(got, expected, rtol=0.05, atol=0.05)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_under_autocast_gradients_keep_the_dtype_of_what_they_belong_to(dtype):
    fast, plain = pair()
    x, direction = torch.randn(2, 6, 4, 5).to(dtype), torch.randn(2, 6, 4, 5).to(dtype)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        results = [pass_through(block, x, direction) for block in (fast, plain)]
    assert results[0][1].dtype == dtype and all(grad.dtype == torch.float32 for grad in results[0][2:])
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, rtol=0.05, atol=0.05)


def test_second_derivatives_are_right():
    # Gradient penalties need them.
    x = torch.randn(2, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(1, 3, 1, 1, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda *inputs: squeeze(*inputs), (x, weight, bias))


@pytest.mark.parametrize(('old', 'new'), [((2, 3), (4, 5)), ((5, 4), (2, 3)), ((1, 4), (3, 1))])
def test_derivatives_of_a_resize_are_right(old, new):
    maps = torch.randn(2, 3, *old, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(resize, (maps, new))
    assert torch.autograd.gradgradcheck(resize, (maps, new))


def test_the_gradient_of_many_maps_is_taken_piece_by_piece(monkeypatch):
    monkeypatch.setattr('mmseg_sr.models.recall.PIECE', 100)
    maps = torch.randn(3, 5, 4, 6, requires_grad=True)
    direction = torch.randn(3, 5, 7, 8)
    (got,) = torch.autograd.grad(resize(maps, (7, 8)), maps, direction)
    (expected,) = torch.autograd.grad(plain_resize(maps, (7, 8)), maps, direction)
    torch.testing.assert_close(got, expected)


def test_what_is_frozen_gets_no_gradient_and_costs_none():
    block = pair()[0]
    block.squeeze.requires_grad_(False)
    block(torch.randn(2, 6, 4, 5)).sum().backward()
    assert block.squeeze.weight.grad is None and block.memory.grad is not None


@pytest.mark.parametrize('size', [(4, 5), (8, 10)])
def test_for_backward_no_second_map_is_kept(size):
    block, x = pair(memory_size=(4, 5))[0], torch.randn(2, 6, *size, requires_grad=True)
    own = {tensor.untyped_storage().data_ptr() for tensor in (x, *block.parameters())}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = block(x)
    assert out.grad_fn is not None and own
    assert sum(kept.values()) < x[0].numel()  # less than the map of one image: squeezed maps, hidden values, weights


@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize('size', [(16, 16), (16, 20)])
def test_forward_holds_the_result_and_no_second_map(size, layout):
    block = SRBlock(64, (16, 16), 3).to(memory_format=layout)
    x = torch.randn(4, 64, *size).to(memory_format=layout)
    recalled = 4 * block.memory[0].numel() * 4 if size != block.memory_size else 0  # the sum, before it is resized
    tracker = MemTracker()
    tracker.track_external(block, x)
    with torch.no_grad(), tracker:
        before = tracker.get_tracker_snapshot()[x.device]['Total']
        block(x)
    held = tracker.get_tracker_snapshot('peak')[x.device]['Total'] - before
    assert held <= 1.1 * (x.numel() * 4 + recalled)
