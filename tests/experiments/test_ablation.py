"""An ablation finds dynamic recall where it was planted, and none where there is none; the model stays as it was."""

import json
from contextlib import ExitStack

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from tiny_config import SR, write_config
from tiny_report import write_checkpoint
from torch import nn

from mmseg_sr import SRBlock
from mmseg_sr.experiments.ablation import ablate, over_checkpoints, verdict
from mmseg_sr.memory.interventions import recalling, variants


class Planted(nn.Module):
    """Predicts the class whose memory it recalls, and recalls by the sign of the picture: 0 for +, 1 for -."""

    def __init__(self, num_memories: int = 2):
        super().__init__()
        self.block = SRBlock(in_channels=2, memory_size=(2, 2), num_memories=num_memories, hidden_channels=1)
        self.block.reset_parameters()
        for parameter in self.block.parameters():
            nn.init.zeros_(parameter)
        with torch.no_grad():
            self.block.squeeze.weight[0, 0] = 1
            self.block.gate[0].weight[:] = 1
            self.block.gate[1].weight[0] = 2  # the score of memory 0 follows the sign
            for index in range(num_memories):
                self.block.memory[index, index] = 1

    def test_step(self, data: dict) -> list[SegDataSample]:
        x = data['inputs'][0][None].expand(1, 2, 2, 2).clone()
        recalled = self.block(x) - x
        (sample,) = data['data_samples']
        sample.pred_sem_seg = PixelData(data=recalled.argmax(1))
        return [sample]


class Pictures(list):
    """Pictures of one sign each, labelled by it; one pixel is void."""

    def __init__(self, signs: str):
        for sign in signs:
            truth = torch.full((1, 2, 2), '+-'.index(sign))
            truth[0, 0, 0] = 255
            value = 1.0 if sign == '+' else -1.0
            sample = SegDataSample(gt_sem_seg=PixelData(data=truth))
            self.append({'inputs': torch.full((1, 2, 2), value), 'data_samples': sample})


def test_planted_dynamic_recall_is_found_whole():
    result = ablate(Planted(), Pictures('++-'), Pictures('+--+'), ['plus', 'minus'])
    scores = {name: row['mIoU'] for name, row in result['variants'].items()}
    assert scores == {
        'as trained': 100.0,
        'removed': 25.0,  # one class everywhere: IoU 50 and 0
        'static recall': 25.0,
        'shuffled': 0.0,  # two pictures away is always the other sign
        'without memory 0 of block': 25.0,
        'without memory 1 of block': 25.0,
        'only memory 0 of block': 25.0,
        'only memory 1 of block': 25.0,
    }
    assert result['variants']['removed']['IoU'] == {'plus': 50.0, 'minus': 0.0}
    assert result['variants']['shuffled']['change']['mIoU'] == -100.0
    assert result['verdict'].startswith('Without SR blocks mIoU changes by -75.00')
    assert result['verdict'].endswith('Checkpoints of 1 seed: no verdict, which needs 3 or more.')
    high, low = torch.softmax(torch.tensor([8.0, 0.0]), 0).tolist()
    assert result['static_weights']['block'] == pytest.approx([(2 * high + low) / 3, (2 * low + high) / 3])


def test_several_networks_are_summed_up():
    rows = [{'mIoU': 40.0, 'mAcc': 50.0, 'aAcc': 80.0}, {'mIoU': 42.0, 'mAcc': 52.0, 'aAcc': 80.0}]
    losses = {'as trained': (0, 0), 'removed': (2, 4), 'static recall': (1, 2)}
    results = [
        {'variants': {name: {**row, 'mIoU': row['mIoU'] - loss[index]} for name, loss in losses.items()}}
        for index, row in enumerate(rows)
    ]
    summary = over_checkpoints(results)
    assert summary['variants']['as trained']['mAcc'] == {'mean': 51.0, 'std': pytest.approx(2**0.5)}
    change = summary['variants']['removed']['change']
    # Student's t of two values: mean -3, standard error 1, quantile of one degree of freedom 12.706.
    assert [change[key] for key in ('mIoU', 'low', 'high')] == pytest.approx([-3, -15.706, 9.706], abs=1e-3)
    assert summary['verdict'].endswith('Checkpoints of 2 seeds: no verdict, which needs 3 or more.')
    with pytest.raises(ValueError, match='different SR blocks'):
        over_checkpoints([results[0], {'variants': {'as trained': rows[0]}}])


def test_the_sentence_follows_the_intervals():
    def change(value: float, half: float) -> dict:
        return {'mIoU': value, 'low': value - half, 'high': value + half}

    assert verdict(change(-0.02, 0.05), change(-0.03, 0.04), 5) == (
        'That the SR blocks change the mIoU of these networks is not shown: without them -0.02 [-0.070, +0.030].'
    )
    assert verdict(change(2, 1), change(0, 1), 3) == (
        'These networks are better without their SR blocks: +2.00 [+1.000, +3.000] mIoU.'
    )
    assert verdict(change(-2, 1), change(-1, 0.5), 3) == (
        'These networks lose 2.00 mIoU without their SR blocks [-3.000, -1.000]. '
        'Dynamic recall makes 50 % of it: with static recall they change by -1.00 [-1.500, -0.500].'
    )
    for static in (change(-0.1, 0.2), change(0.1, 0.05)):
        assert 'That dynamic recall makes any of it is not shown' in verdict(change(-2, 1), static, 3)
    assert 'no verdict' in verdict(change(-2, 1), change(-1, 0.5), 2)


def test_one_memory_has_nothing_dynamic():
    model = Planted(num_memories=1)
    rows = ablate(model, Pictures('+-'), Pictures('+-+'), ['plus', 'minus'])['variants']
    assert list(rows) == ['as trained', 'removed', 'static recall', 'shuffled']
    assert rows['static recall']['mIoU'] == rows['shuffled']['mIoU'] == rows['as trained']['mIoU']


def test_the_model_is_what_it_was_also_after_an_exception():
    model = Planted()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    weights = {'block': torch.tensor([0.3, 0.7])}
    for changes in variants(model, weights, weights).values():
        with pytest.raises(RuntimeError, match='in the middle'), ExitStack() as stack:
            for change in changes:
                stack.enter_context(change)
            raise RuntimeError('in the middle')
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_given_weights_are_used_as_they_are():
    model, x = Planted(), torch.zeros(3, 2, 2, 2)
    with recalling(model.block, torch.tensor([3.0, 5.0])):
        assert torch.equal(model.block(x)[:, :, 0, 0], torch.tensor([[3.0, 5.0]] * 3))
    with pytest.raises(ValueError, match=r'weights must be \(2,\), got \(3,\)'), recalling(model.block, torch.ones(3)):
        pass


def test_the_tool_says_it_in_words_and_refuses_mistakes(tmp_path, call):
    config, stock = write_config(tmp_path, 'with_sr.py', SR), write_config(tmp_path, 'stock.py')
    weights = tmp_path / 'random.pth'
    write_checkpoint(config, weights)
    done = call('ablate', config, weights, weights, '--num-train', 2, '--out', tmp_path / 'a.json')
    assert done.status == 0, done.err
    document = json.loads(done.out.splitlines()[-1])
    assert document == json.loads((tmp_path / 'a.json').read_text())
    assert document['images'] == {'train': 2, 'val': 5} and len(document['variants']) == 4 + 2 * 2
    assert document['verdict'] in done.out and '95 % over checkpoints' in done.out
    first, second = document['checkpoints']
    assert first == second and first['variants'].keys() == document['variants'].keys()
    for name, row in document['variants'].items():
        assert row['mIoU'] == {'mean': pytest.approx(first['variants'][name]['mIoU']), 'std': pytest.approx(0)}

    for words, said in (([stock, weights], 'has no SR block'), ([stock, weights, '--num-val', 0], 'of at least 1')):
        done = call('ablate', *words)
        assert done.status == 2 and said in done.err and 'Traceback' not in done.err
