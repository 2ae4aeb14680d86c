"""Frozen stages: the block learns in them when asked to; and memory-only fine-tuning changes the memory only."""

import copy
import pickle

import pytest
import torch
import yaml
from drawn_streets import make_mini_cityscapes
from in_process import python
from tiny_config import write_config
from trained_block import built

from mmseg_sr.checkpoints.reading import read_checkpoint
from mmseg_sr.config import load_config
from mmseg_sr.cost.count import without_blocks
from mmseg_sr.errors import UserError
from mmseg_sr.hooks.sr_only import freeze_all_but_sr
from mmseg_sr.runs.launch import train
from mmseg_sr.runs.models import build_model

LEAF = 'configs/mini_cityscapes/fcn_r18-w16-d8-sr-memory-only_1xb4-600_mini-cityscapes-128x256.py'
BACKBONES = {
    'ResNet': dict(type='ResNetV1c', depth=18, base_channels=8, stem_channels=8, norm_eval=True),
    'MobileNetV2': dict(type='MobileNetV2', widen_factor=0.25, out_indices=(2, 4), norm_eval=True),
}
IMAGES = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
SR = """
model['backbone'] = dict(
    type='SRBackbone',
    backbone=dict(model['backbone'], frozen_stages={frozen}),
    sr=dict(after='layer3', memory_size=(4, 4), keep_trainable={keep}),
)
optim_wrapper['optimizer'].update(lr=0.1, weight_decay=0.1)
"""
ONLY = "custom_hooks = [dict(type='SROnlyHook')]\n"


def build(kind, frozen_stages=3, **options):
    cfg = dict(BACKBONES[kind], frozen_stages=frozen_stages)
    sr = dict(after='layer3', memory_size=(4, 6), num_memories=3, **options)
    network = built(dict(type='SRBackbone', backbone=cfg, sr=sr))
    torch.nn.init.normal_(network.layer3.sr.memory, generator=torch.Generator().manual_seed(2))
    return network


def step(network, times=1):
    """Gradients after the last of several training passes, each begun with ``train()`` as a Runner does."""
    for _ in range(times):
        network.zero_grad()
        network.train()
        sum(each.square().mean() for each in network(IMAGES)).backward()
    return {name: weight.grad for name, weight in network.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize('kind', BACKBONES)
def test_a_block_that_is_kept_trainable_learns_in_a_frozen_stage_as_in_a_free_one(kind):
    frozen, free = step(build(kind, keep_trainable=True), times=3), step(build(kind, frozen_stages=-1))
    ours = [name for name in frozen if '.sr.' in name]
    assert len(ours) == 7 and frozen.keys() < free.keys()
    for name in frozen:
        torch.testing.assert_close(frozen[name], free[name])
    assert not any(name.startswith(('stem', 'conv1', 'layer1', 'layer2')) for name in frozen)
    assert [name for name in frozen if name.startswith('layer3')] == ours


@pytest.mark.parametrize('kind', BACKBONES)
def test_by_itself_a_block_is_frozen_with_its_stage(kind):
    assert not any('.sr.' in name for name in step(build(kind)))
    assert any('.sr.' in name for name in step(build(kind, frozen_stages=2)))


def test_a_frozen_block_is_frozen_from_the_start_and_one_kept_trainable_never():
    # DDP and the optimizer look before the first train(): what changes then they would wait for, or not know.
    assert not any(weight.requires_grad for weight in build('ResNet').layer3.sr.parameters())
    assert all(weight.requires_grad for weight in build('ResNet', keep_trainable=True).layer3.sr.parameters())


@pytest.mark.parametrize('copier', [copy.deepcopy, lambda network: pickle.loads(pickle.dumps(network))])
def test_a_copy_of_the_network_keeps_its_own_block_trainable(copier):
    network = build('ResNet', keep_trainable=True)
    twin = copier(network)
    assert 'layer3.sr.memory' in step(twin)
    assert network.layer3.sr.memory.grad is None


def test_evaluation_makes_nothing_trainable_and_a_network_whose_block_was_taken_out_trains():
    network = build('ResNet', keep_trainable=True).requires_grad_(False)
    network.eval()
    network(IMAGES)
    assert not any(weight.requires_grad for weight in network.parameters())
    assert not any('.sr.' in name for name in step(without_blocks(build('ResNet', keep_trainable=True))))


def test_memory_only_training_finds_a_block_that_train_has_frozen():
    network = build('MobileNetV2')  # which freezes its stages there, and not when it is built
    network.train()
    freeze_all_but_sr(network)
    assert {name for name, weight in network.named_parameters() if weight.requires_grad} == {
        name for name, _ in network.named_parameters() if '.sr.' in name
    }


def test_whether_to_keep_it_trainable_is_yes_or_no():
    with pytest.raises(ValueError, match="keep_trainable must be True or False, got 'yes'"):
        build('ResNet', keep_trainable='yes')


def differences(before, after):
    """Names of the tensors that are not the same, bit for bit; those of blocks apart."""
    assert {name for name in after if '.sr.' not in name} == set(before) - {name for name in before if '.sr.' in name}
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    return {name for name in changed if '.sr.' not in name}, {name for name in changed if '.sr.' in name}


def test_memory_only_fine_tuning_of_released_weights_changes_nothing_else(call, root, tmp_path, monkeypatch):
    make_mini_cityscapes(tmp_path / 'data', train=4, val=1)
    monkeypatch.setenv('MINI_CITYSCAPES_ROOT', str(tmp_path / 'data'))
    options = ['train_cfg.max_iters=3', 'train_cfg.val_interval=2', 'default_hooks.checkpoint.interval=3']
    options += ['train_dataloader.num_workers=0', 'train_dataloader.persistent_workers=False']
    options += ['val_dataloader.num_workers=0', 'val_dataloader.persistent_workers=False']
    status, _, stderr = call('train', root / LEAF, '--work-dir', tmp_path / 'work', '--cfg-options', *options)
    assert status == 0, stderr
    released = read_checkpoint(load_config(root / LEAF).load_from)['state_dict']
    trained = read_checkpoint(tmp_path / 'work/iter_3.pth')['state_dict']
    assert any(name.endswith('running_mean') for name in released)
    assert differences(released, trained) == (set(), set())
    memory = trained['backbone.layer3.sr.memory']
    assert memory.abs().amin(dim=(1, 2, 3)).min() > 0, 'every memory block has learned'


def test_the_memory_only_config_starts_from_the_weights_of_the_model_index(root):
    index = yaml.safe_load((root / 'configs/mini_cityscapes/metafile.yaml').read_text())
    weights = {model['Name']: model.get('Weights') for model in index['Models']}
    assert load_config(root / LEAF).load_from == weights['fcn_r18-w16-d8_1xb4-2k_mini-cityscapes-128x256']


@pytest.fixture(scope='module')
def home(tmp_path_factory):
    """Configs that start from the same weights: one frozen up to the block, kept trainable or not, one memory-only."""
    home = tmp_path_factory.mktemp('frozen')
    start = home / 'start.pth'
    begin = f'load_from = {str(start)!r}\ntrain_cfg["val_interval"] = 2\n'
    for name, changes in {
        'kept': SR.format(frozen=3, keep=True),
        'frozen': SR.format(frozen=3, keep=False),
        'memory_only': SR.format(frozen=-1, keep=False) + ONLY,
    }.items():
        write_config(home, f'{name}.py', changes + begin)
    torch.manual_seed(0)
    model = build_model(load_config(home / 'kept.py'))
    torch.save({'state_dict': model.state_dict()}, start)
    return home


def trained(home, name):
    """What a run changed, blocks apart, and its checkpoint."""
    checkpoint = read_checkpoint(home / f'work/{name}/iter_4.pth')
    start = read_checkpoint(home / 'start.pth')['state_dict']
    return *differences(start, checkpoint['state_dict']), checkpoint


def test_without_frozen_stages_memory_only_training_leaves_weights_and_statistics_alone(home):
    runner = train(load_config(home / 'memory_only.py'))
    others, blocks, checkpoint = trained(home, 'memory_only')
    assert not others and 'backbone.layer3.sr.memory' in blocks
    assert not any(weight.requires_grad for name, weight in runner.model.named_parameters() if '.sr.' not in name)
    assert len(checkpoint['optimizer']['state']) == 7, 'momentum for the block only'


def test_two_processes_train_what_is_not_frozen_without_looking_for_unused_parameters(home):
    script = home / 'both.py'
    script.write_text(
        'import sys, torch\n'
        'from mmseg_sr.config import load_config\n'
        'from mmseg_sr.runs.launch import train\n'
        'torch.distributed.init_process_group("gloo")\n'
        'for path in sys.argv[1:]:\n'
        '    runner = train(load_config(path, {"launcher": "pytorch"}))\n'
        '    memory = runner.model.module.backbone.layer3.sr.memory.detach()\n'
        '    seen = [torch.empty_like(memory) for _ in range(2)]\n'
        '    torch.distributed.all_gather(seen, memory)\n'
        '    assert torch.equal(*seen), path\n'
        'torch.distributed.destroy_process_group()\n'
    )
    names = ['kept', 'frozen', 'memory_only']
    words = '-m', 'torch.distributed.run', '--nproc_per_node=2', '--standalone', script
    python(*words, *(home / f'{name}.py' for name in names))
    changed = {name: trained(home, name)[:2] for name in names}
    memory = 'backbone.layer3.sr.memory'
    assert memory in changed['kept'][1] and not changed['frozen'][1]
    assert memory in changed['memory_only'][1] and not changed['memory_only'][0]
    for name in ('kept', 'frozen'):
        assert any('.layer4.' in each for each in changed[name][0])
        assert not any(each.startswith(('backbone.conv1', 'backbone.layer3')) for each in changed[name][0])


@pytest.mark.parametrize(
    ('changes', 'message'),
    [('', 'no SR block'), (SR.format(frozen=3, keep=False), 'backbone.layer3.sr is in a frozen stage')],
)
def test_memory_only_training_without_a_block_that_can_learn_is_one_message(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        train(load_config(write_config(tmp_path, extra=changes + ONLY)))
