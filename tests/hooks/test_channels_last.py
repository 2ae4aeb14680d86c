"""A run in channels_last computes what a run in the usual layout computes."""

import pytest
import torch
from tiny_config import SR, write_config
from torch import nn

from mmseg_sr.config import load_config
from mmseg_sr.runs import launch

pytestmark = pytest.mark.usefixtures('fresh')
LAST = "custom_hooks = [dict(type='ChannelsLastHook')]\n"


def test_a_training_in_channels_last_ends_with_the_same_weights_but_for_rounding(tmp_path):
    slow = "optim_wrapper['optimizer'].update(lr=0.001)\n"
    networks, weights = [], []
    for name, extra in {'usual': '', 'last': LAST}.items():
        path = write_config(tmp_path, f'{name}.py', SR + slow + extra)
        networks.append(launch.train(load_config(path)).model)
        weights.append(torch.load(tmp_path / 'work' / name / 'iter_4.pth', weights_only=False)['state_dict'])
    layouts = [
        {m.weight.is_contiguous(memory_format=torch.channels_last) for m in network.modules() if wide(m)}
        for network in networks
    ]
    assert layouts == [{False}, {True}]
    assert weights[0].keys() == weights[1].keys()
    for name, weight in weights[0].items():
        torch.testing.assert_close(weights[1][name], weight, rtol=1e-3, atol=1e-4)


def wide(module: nn.Module) -> bool:
    """Whether a layer has a kernel whose layout can be told."""
    return isinstance(module, nn.Conv2d) and module.in_channels > 1 and module.kernel_size[0] > 1
