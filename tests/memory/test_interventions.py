"""Inside a ``with`` block an SR block recalls something else; after it, it is as before."""

import pytest
import torch

from mmseg_sr.memory.interventions import recalling, scaling, without
from mmseg_sr.models.block import SRBlock


@pytest.fixture
def block() -> SRBlock:
    block = SRBlock(in_channels=3, memory_size=(4, 6), num_memories=3, hidden_channels=2)
    torch.nn.init.normal_(block.memory)
    return block


@pytest.mark.parametrize('index', [0, 2, None])
def test_without_a_memory_block_the_others_keep_their_weights(block, index):
    x, kept = torch.randn(2, 3, 4, 6), block.memory.detach().clone()
    kept[slice(None) if index is None else index] = 0
    weights = block.gate(block.squeeze(x).flatten(1))
    with without(block, index):
        torch.testing.assert_close(block(x), x + torch.einsum('np,pchw->nchw', weights, kept))


@pytest.mark.parametrize('index', [-1, 3, 1.5])
def test_without_a_memory_block_that_is_not_there(block, index):
    with pytest.raises(ValueError, match=f'0 .. 2, got {index}'), without(block, index):
        pass


def test_a_scaled_memory_block_is_that_much_of_it_and_zero_is_none(block):
    x = torch.randn(2, 3, 4, 6)
    plain = block(x)
    with scaling(block, torch.ones(3)):
        assert torch.equal(block(x), plain)
    with without(block, 0), without(block, 1):
        two = block(x)
    with scaling(block, torch.tensor([0.0, 0.0, 1.0])):
        assert torch.equal(block(x), two), 'within one another they add up'
    with scaling(block, torch.zeros(3)):
        assert torch.equal(block(x), x)
    with recalling(block, torch.tensor([0.2, 0.3, 0.5])), scaling(block, torch.tensor([2.0, 0.5, 1.5])):
        expected = x + torch.einsum('p,pchw->chw', torch.tensor([0.4, 0.15, 0.75]), block.memory)
        torch.testing.assert_close(block(x), expected)


def test_scaling_leaves_nothing_also_after_an_exception(block):
    x, memory = torch.randn(2, 3, 4, 6), block.memory.detach().clone()
    plain = block(x)
    with pytest.raises(RuntimeError, match='inside'), scaling(block, torch.zeros(3)):
        assert torch.equal(block.memory, memory)
        raise RuntimeError('inside')
    assert torch.equal(block(x), plain) and not block.gate._forward_hooks
    with pytest.raises(ValueError, match=r'factors must be \(3,\)'), scaling(block, torch.zeros(2)):
        pass
