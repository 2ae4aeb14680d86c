"""A checkpoint is described from the file alone."""

import hashlib

import pytest
import torch

from mmseg_sr import SRBlock

RELEASED = 'checkpoints/fcn_r18-w16-d8-sr_1xb4-2k_mini-cityscapes-128x256-1f1f0802.safetensors'


def block_state(prefix: str = 'backbone.layer3.sr.') -> dict:
    block = SRBlock(6, (4, 5), num_memories=3, hidden_channels=7)
    block.memory.data[1].fill_(2)
    return {f'{prefix}{name}': value for name, value in block.state_dict().items()}


def test_released_weights_tell_where_they_come_from(call, root):
    (told,) = call('inspect_checkpoint', root / RELEASED).document.values()
    assert told['sha256'] == hashlib.sha256((root / RELEASED).read_bytes()).hexdigest()
    assert told['iter'] == 2000 and len(told['classes']) == 19 and told['metrics']['mIoU'] > 20
    assert told['resumable'] is False and not told['not_finite'] and 'mmseg_sr' in told['versions']
    (block,) = told['sr_blocks'].values()
    assert block['memory_size'] == [16, 32] and all(norm > 0 for norm in block['norms'])


@pytest.mark.parametrize(
    'meta', [{'CLASSES': ('road', 'car'), 'PALETTE': [[1, 2, 3]] * 2}, {'dataset_meta': {'classes': ['road', 'car']}}]
)
def test_the_classes_of_earlier_checkpoints_are_told_too(call, tmp_path, meta):
    torch.save({'state_dict': block_state(), 'meta': meta}, tmp_path / 'a.pth')
    (told,) = call('inspect_checkpoint', tmp_path / 'a.pth').document.values()
    assert told['classes'] == ['road', 'car']


def test_blocks_and_bad_numbers_are_found_and_no_config_is_needed(call, tmp_path):
    weights = block_state() | {'head.memory': torch.ones(2), 'head.w': torch.tensor([1.0, float('nan')])}
    torch.save({'state_dict': weights, 'meta': {}, 'optimizer': {}, 'message_hub': {}}, tmp_path / 'a.pth')
    done = call('inspect_checkpoint', tmp_path / 'a.pth')
    (told,) = done.document.values()
    assert told['sr_blocks'] == {
        'backbone.layer3.sr': {
            'in_channels': 6,
            'memory_size': [4, 5],
            'num_memories': 3,
            'hidden_channels': 7,
            'memory_rank': None,
            'norms': [0.0, pytest.approx((4 * 6 * 4 * 5) ** 0.5), 0.0],
        }
    }
    assert told['not_finite'] == ['head.w'] and told['resumable'] is True
    assert 'NaN or infinite: head.w' in done.out and '3 memories of 6 x 4 x 5, 7 hidden' in done.out


def test_what_is_no_file_of_a_checkpoint_is_one_message(call, tmp_path):
    (tmp_path / 'page.pth').write_text('<html>')
    address = f'mmseg_sr://{RELEASED}'
    for source, word in (
        (tmp_path / 'none.pth', 'no such checkpoint'),
        (tmp_path / 'page.pth', 'web page'),
        (address, f'{address} is an address'),
    ):
        assert word in call('inspect_checkpoint', source).mistake
