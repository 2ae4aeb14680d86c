"""The arms of experiments/recall_*.yaml: each begins as the identity, and recalls what its description says."""

import copy

import numpy as np
import pytest
import torch
from scipy.special import softmax
from tiny_config import write_config
from tiny_report import write_checkpoint

from experiments.recall.arms import ChoosingSRBlock, ClassRecall, PixelBottleneck, PixelRecall
from mmseg_sr.memory.interventions import recalling, without

ARMS = {
    'pixel': lambda: PixelRecall(12, num_memories=5),
    'classes': lambda: ClassRecall(12, num_classes=4, rank=3),
    'choosing': lambda: ChoosingSRBlock(12, memory_size=(4, 6), num_memories=3, steps=2),
    'bottleneck': lambda: PixelBottleneck(12, hidden_channels=5),
}


def map_of(height: int = 4, width: int = 6) -> torch.Tensor:
    return torch.randn(2, 12, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize('name', ARMS)
def test_it_begins_as_the_identity_and_draws_no_numbers_of_the_networks(name):
    torch.manual_seed(3)
    block = ARMS[name]()
    after = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(after, torch.rand(1))
    for x in (map_of(), map_of(5, 9)):
        assert torch.equal(block(x), x)


def test_a_gate_learns_only_where_the_memories_differ():
    for std, learns in ((0.0, False), (0.7, True)):
        block = ChoosingSRBlock(12, memory_size=(4, 6), steps=2, std=std)
        (block(map_of()) ** 2).sum().backward()
        assert bool(block.gate[0].weight.grad.any()) == learns and block.memory.grad.any()
        assert block.memory.std().item() == pytest.approx(std, rel=0.1)


@pytest.mark.parametrize('name', ARMS)
def test_what_was_trained_is_loaded_whole(name):
    block, other = ARMS[name](), ARMS[name]()
    with torch.no_grad():
        for value in block.state_dict().values():
            value.copy_(torch.randn_like(value) if value.is_floating_point() else 7)
    other.load_state_dict(copy.deepcopy(block.state_dict()))
    other.eval()
    block.eval()
    assert torch.equal(block(map_of()), other(map_of())) and not torch.equal(block(map_of()), map_of())


def test_each_cell_recalls_by_itself_as_a_loop_in_float64():
    block, x = ARMS['pixel'](), map_of()
    torch.nn.init.normal_(block.memory)
    kernel, bias, memory = (each.detach().double().numpy() for each in (*block.gate[0].parameters(), block.memory))
    expected = x.double().numpy().copy()
    for image in expected:
        for row in range(image.shape[1]):
            for column in range(image.shape[2]):
                weights = softmax(kernel[:, :, 0, 0] @ image[:, row, column] + bias)
                image[:, row, column] += weights @ memory[:, :, 0, 0]
    np.testing.assert_allclose(block(x).detach().numpy(), expected, atol=1e-5)


def test_the_averages_are_those_of_the_classes_features_and_move_slowly():
    block, x = ARMS['classes'](), map_of()
    labels = torch.zeros(2, 8, 12, dtype=torch.long)  # of the image: twice the map's size
    labels[:, 4:], labels[:, :, 10:] = 2, 255
    block(x)
    block.loss(labels)
    first = x[:, :, :2, :5].mean((0, 2, 3)), x[:, :, 2:, :5].mean((0, 2, 3))
    torch.testing.assert_close(block.averages[[0, 2]], torch.stack(first))
    assert not block.averages[[1, 3]].any(), 'classes that no label has'
    block(2 * x)
    block.loss(labels)
    torch.testing.assert_close(block.averages[0], 0.9 * first[0] + 0.1 * 2 * first[0])


def test_the_loss_of_the_addresses_is_the_cross_entropy_of_their_softmax():
    block, x = ARMS['classes'](), map_of()
    labels = torch.randint(0, 4, (2, 4, 6))
    labels[0, 0] = 255
    block(x)
    scores = block.gate[0](x)
    torch.testing.assert_close(block.loss(labels), torch.nn.functional.cross_entropy(scores, labels, ignore_index=255))


def test_the_gate_starts_warm_and_cools_down_in_training_alone():
    block, x = ARMS['choosing'](), map_of()
    logits = block.gate[:-1](x.mean((2, 3)))
    block.eval()
    block(x)
    block.train()
    for heat in (30, 15.5, 1, 1):
        torch.testing.assert_close(block.gate(x.mean((2, 3))), (logits / heat).softmax(-1))


@pytest.mark.parametrize('name', ['pixel', 'classes', 'choosing'])
def test_the_ablations_reach_it(name):
    block, x = ARMS[name]().eval(), map_of()
    with torch.no_grad():
        for value in block.state_dict().values():
            value.copy_(torch.randn_like(value) if value.is_floating_point() else 7)
    recalled = block(x) - x
    with without(block):
        assert torch.equal(block(x), x)
    weights = torch.zeros(block.num_memories)
    weights[1] = 1
    with recalling(block, weights):
        one = block(x) - x
    assert not torch.equal(one, recalled)
    if name != 'choosing':  # one vector everywhere
        torch.testing.assert_close(one, one[:1, :, :1, :1].expand_as(one), atol=1e-5, rtol=0)


def test_a_step_that_moves_the_averages_has_gradients_all_the_same():
    block, x = ARMS['classes'](), map_of().to(memory_format=torch.channels_last).requires_grad_()
    torch.nn.init.normal_(block.write.weight)
    labels = torch.randint(0, 4, (2, 8, 12))
    (block(x).square().mean() + block.loss(labels)).backward()
    assert all(weight.grad is not None for weight in block.parameters())


def test_figures_of_weights_in_each_cell_are_refused_by_a_sentence(call, tmp_path):
    config = write_config(
        tmp_path,
        extra="custom_imports['imports'].append('experiments.recall.arms')\n"
        "model['backbone'] = dict(type='InsertedBackbone', backbone=model['backbone'],\n"
        "    insert=dict(pixel=dict(after='layer3', type='PixelRecall')), use=['pixel'])\n",
    )
    write_checkpoint(config, tmp_path / 'weights.pth')
    message = call('visualize_sr', config, tmp_path / 'weights.pth', '--num-images', 1).mistake
    assert 'weighs its memories in each cell' in message
