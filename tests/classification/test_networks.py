"""Networks and protocol are the paper's, value by value, and so are most of the parameters that its tables publish."""

import copy
import json

import pytest
import torch
from in_process import ROOT
from mmengine.registry import MODELS, DefaultScope
from torch import nn

pytest.importorskip('mmpretrain', reason='classifiers need the extra [classification]')

from audit import PUBLISHED, counted
from mmpretrain.structures import DataSample

from mmseg_sr import SRBlock
from mmseg_sr.config import load_config
from mmseg_sr.cost.workload import Drill
from mmseg_sr.experiments.plan import load
from mmseg_sr.runs.models import build_model

CONFIGS = ROOT / 'configs/classification'
LEAVES = sorted(CONFIGS.glob('*.py'))
CIFAR = [path for path in LEAVES if '_cifar' in path.name and '-w16' not in path.name]
AUDIT = json.loads((ROOT / 'results/audit.json').read_text())


def test_there_are_five_networks_for_each_cifar_and_one_for_imagenet():
    networks = ('resnet18', 'resnet34', 'resnet50', 'vgg16', 'vgg19')
    assert {path.stem for path in LEAVES} == {
        *(
            f'{name}_1xb128-{length}_{data}'
            for name in networks
            for data, length in (('cifar10', '64k'), ('cifar100', '70k'))
        ),
        'resnet18-w16_1xb128-1k_cifar100',
        'resnet50_4xb32-4504k_imagenet',
    }


@pytest.mark.parametrize('path', CIFAR, ids=lambda path: path.stem)
def test_cifar_follows_the_paper(path):
    cfg = load_config(path)
    ten = path.stem.endswith('cifar10')
    optimizer, (schedule,) = cfg.optim_wrapper.optimizer, cfg.param_scheduler
    assert (optimizer.type, optimizer.lr, optimizer.momentum) == ('SGD', 0.1, 0.9)
    assert optimizer.weight_decay == (1e-4 if ten else 5e-4)
    epochs, drops, gamma = (182, (90, 136), 0.1) if ten else (200, (60, 120, 160), 0.2)
    assert (schedule.type, schedule.by_epoch, schedule.gamma) == ('MultiStepLR', False, gamma)
    assert all(abs(step - 45_000 / 128 * drop) <= 0.5 for step, drop in zip(schedule.milestones, drops, strict=True))
    assert abs(cfg.train_cfg.max_iters - 45_000 / 128 * epochs) <= 0.5
    assert cfg.train_cfg.val_interval == 352 and cfg.default_hooks.checkpoint.save_best == 'top1'
    train, val, test = (cfg[f'{split}_dataloader'] for split in ('train', 'val', 'test'))
    assert train.batch_size == 128 and train.sampler.shuffle
    assert [each.dataset.ann_file for each in (train, val, test)] == ['train.txt', 'val.txt', 'test.txt']
    load_image, crop, flip, pack = train.dataset.pipeline
    assert (crop.type, crop.crop_size, crop.padding, flip.type, flip.prob) == (
        'RandomCrop',
        (32, 32),
        4,
        'RandomFlip',
        0.5,
    )
    assert val.dataset.pipeline == test.dataset.pipeline == [load_image, pack]
    assert cfg.model.data_preprocessor.to_rgb and len(cfg.model.data_preprocessor.std) == 3
    assert cfg.model.head.num_classes == (10 if ten else 100)
    assert cfg.model.backbone.use == [], 'what a row of a table has is said by its experiment'


def test_imagenet_follows_the_paper():
    cfg = load_config(CONFIGS / 'resnet50_4xb32-4504k_imagenet.py')
    optimizer, (schedule,), epoch = cfg.optim_wrapper.optimizer, cfg.param_scheduler, 1_281_167 / 128
    assert (optimizer.lr, optimizer.momentum, optimizer.weight_decay) == (0.1, 0.9, 1e-4)
    assert schedule.gamma == 0.1 and len(schedule.milestones) == 5
    assert all(abs(step - epoch * 75 * (k + 1)) <= 0.5 for k, step in enumerate(schedule.milestones))
    assert abs(cfg.train_cfg.max_iters - 450 * epoch) <= 0.5
    assert 4 * cfg.train_dataloader.batch_size == 128, '4 GPUs with 32 images'
    _, crop, flip, _ = cfg.train_dataloader.dataset.pipeline
    assert (crop.type, crop.scale, flip.type) == ('RandomResizedCrop', (224, 224), 'RandomFlip')
    _, edge, centre, _ = cfg.test_dataloader.dataset.pipeline
    assert (edge.scale, edge.edge, centre.crop_size) == (256, 'short', 224)
    assert load(ROOT / 'experiments/imagenet.yaml').checkpoint == 'last', 'the test is on the validation images'
    assert load(ROOT / 'experiments/cifar100.yaml').checkpoint == 'best'


@pytest.mark.parametrize(
    'name', ['resnet18_1xb128-70k_cifar100', 'vgg16_1xb128-70k_cifar100', 'resnet50_4xb32-4504k_imagenet']
)
def test_weights_start_as_in_the_paper(name):
    model = build_model(load_config(CONFIGS / f'{name}.py'))
    model.init_weights()
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            fan_in = module.weight[0].numel()
            fan_out = module.weight.shape[0] * module.weight[0, 0].numel()
            normal = isinstance(module, nn.Conv2d) and name.startswith('vgg')
            std = (2 / fan_out if normal else 2 / fan_in) ** 0.5
            assert module.weight.std().item() == pytest.approx(std, rel=0.1)
            bounded = module.weight.abs().max().item() <= std * 3**0.5 * 1.0001
            assert bounded != normal, 'uniform, but for the convolutions of a VGG'
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):
            assert (module.weight == 1).all(), 'no last norm starts at zero'


STAGE = {('R18', 3): (256, 8), ('R18', 4): (512, 4), ('R50', 3): (1024, 8), ('R50', 4): (2048, 4)}
STAGE |= {('R34', key): STAGE['R18', key] for key in (3, 4)}
STAGE |= {(vgg, key): shape for vgg in ('VGG16', 'VGG19') for key, shape in ((2, (128, 8)), (4, (512, 2)))}


def equation(row: dict, quarter: bool = False) -> int:
    """Eq. (1) of the paper for the SR block of a row."""
    if row['M'] is None:
        return 0
    channels, side = (1024, 14) if row['table'] == 'III' else STAGE[row['row'].partition('+')[0], row['M']]
    hidden = 8 if row['table'] != 'III' else 32 if 'DB' in row['row'] else 16
    channels, cells, memories = channels // 4 if quarter else channels, side * side, row['P']
    return channels + cells * hidden + hidden * memories + memories * channels * cells


def attention(row: dict) -> int:
    """What SE, or CBAM, adds in each residual block: two layers, and biases or a 3x3 convolution."""
    depths = {'R18': (2, 2, 2, 2), 'R34': (3, 4, 6, 3), 'R50': (3, 4, 6, 3)}[row['row'][:3]]
    widths = [64 * 2**stage * (4 if row['row'].startswith('R50') else 1) for stage in range(4)]
    kind = next((kind for kind in ('SE', 'CBAM') if kind in row['row'].split('+')), None)
    own = {'SE': lambda c: c + c // 16, 'CBAM': lambda c: 2 * 9}.get(kind)
    each = [2 * c * (c // 16) + own(c) for c in widths] if own else [0] * 4
    return sum(count * number for count, number in zip(depths, each, strict=True))


def test_the_audit_is_eq_1_of_the_paper_and_36_of_46_rows_round_to_its_figures():
    rows = AUDIT['rows']
    assert [row['published'] for row in rows] == [figure for figures in PUBLISHED.values() for figure in figures]
    for row in rows:
        extra = equation(row) + (attention(row) if row['table'] == 'II' else 0)
        assert row['extra'] == extra, row
        assert row['quarter'] == (equation(row, quarter=True) if row['quarter'] else None)
        percent = 100 * (row['quarter'] or extra) / row['base']
        assert row['rounds'] == (f'{percent:.2f}' == f'{row["published"]:.2f}') == (row['fits'] is None)
    assert (AUDIT['fit'], AUDIT['of']) == (sum(row['rounds'] for row in rows), len(rows)) == (36, 46)


BUILT = {'I': ('R18+D2D+SR', 'VGG19+SR'), 'II': ('R34+SE+SR', 'R50+CBAM+SR'), 'III': ('R50+DB+SR',), 'V': ('R34+D+SR',)}


@pytest.mark.parametrize(('table', 'experiment'), PUBLISHED)
def test_the_networks_that_are_built_have_the_parameters_of_the_audit(table, experiment):
    arms = load(ROOT / f'experiments/{experiment}.yaml').arms
    for name in BUILT[table]:
        (row,) = (row for row in AUDIT['rows'] if (row['table'], row['row']) == (table, name))
        assert counted(arms[name]) - counted(arms[name.partition('+')[0]]) == row['extra']


@pytest.mark.parametrize(
    ('experiment', 'arm', 'size'),
    [
        ('cifar100', 'R18+DB+SR', 32),
        ('cifar100', 'R50+D+SR', 32),
        ('cifar100', 'VGG16+SR', 32),
        ('cifar10', 'VGG19+SR', 32),
        ('table2', 'R34+CBAM+SR', 32),
        ('imagenet', 'R50+D2D+SR-P20', 224),
    ],
)
def test_a_network_of_a_row_trains_and_its_memory_is_as_large_as_the_map(experiment, arm, size):
    from mmseg_sr.experiments.settings import resolve

    cfg = resolve(load(ROOT / f'experiments/{experiment}.yaml').arms[arm])
    model = build_model(cfg)
    model.init_weights()
    (block,) = (module for module in model.modules() if isinstance(module, SRBlock))
    sizes = []
    block.register_forward_pre_hook(lambda module, args: sizes.append(tuple(args[0].shape[-2:])))
    drill = Drill(model, cfg, (size, size), batch=2)
    for group in drill.optim_wrapper.param_groups:
        group['lr'] = 0.01
    before = copy.deepcopy(block.state_dict())
    drill.train()
    drill.train()
    assert {*sizes} == {block.memory_size}
    assert all(weight.isfinite().all() for weight in model.parameters())
    assert not torch.equal(before['memory'], block.memory) and not torch.equal(
        before['squeeze.weight'], block.squeeze.weight
    )


def test_drop_block_drops_whole_squares_in_training_only():
    cfg = load_config(CONFIGS / 'resnet18-w16_1xb128-1k_cifar100.py', {'model.backbone.use': ['DB']})
    stage = build_model(cfg).backbone.layer3
    shown = stage.DB.train()(torch.ones(4, 16, 8, 8))
    holes = (shown == 0).float()
    assert (nn.functional.avg_pool2d(holes, 3, stride=1) == 1).any() and 0 < holes.mean() < 0.3
    assert torch.equal(stage.DB.eval()(shown), shown)


def small(scope: str, memory: tuple[int, int]) -> dict:
    resnet = dict(type=f'{scope}.ResNet', depth=18, base_channels=8, stem_channels=8, norm_cfg=dict(type='BN'))
    resnet |= dict(zero_init_residual=False)
    block = dict(type='SRBlock', memory_size=memory, num_memories=3, hidden_channels=8, after='layer3')
    return dict(type='InsertedBackbone', backbone=resnet, insert=dict(SR3=block), use=['SR3'])


def test_a_classifier_with_sr_starts_a_segmentor_with_sr(tmp_path):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        head = dict(type='LinearClsHead', num_classes=4, in_channels=64)
        neck = dict(type='GlobalAveragePooling')
        classifier = MODELS.build(
            dict(type='ImageClassifier', backbone=small('mmpretrain', (14, 14)), neck=neck, head=head)
        )
    classifier.init_weights()
    nn.init.normal_(classifier.backbone.layer3.SR3.memory)
    loss = classifier(torch.rand(2, 3, 64, 64), [DataSample().set_gt_label(1)] * 2, mode='loss')['loss']
    assert loss.isfinite()
    torch.save(dict(state_dict=classifier.state_dict()), tmp_path / 'classifier.pth')

    backbone = small('mmseg', (32, 64))
    start = dict(type='Pretrained', checkpoint=str(tmp_path / 'classifier.pth'), prefix='backbone.')
    backbone['backbone'] |= dict(init_cfg=start)
    with DefaultScope.overwrite_default_scope('mmseg'):
        head = dict(type='FCNHead', in_channels=64, channels=8, num_convs=1, num_classes=3)
        segmentor = MODELS.build(dict(type='EncoderDecoder', backbone=backbone, decode_head=head))
    segmentor.init_weights()
    moved = SRBlock(32, (32, 64), num_memories=3, hidden_channels=8)
    moved.load_state_dict(classifier.backbone.layer3.SR3.state_dict())
    ours, theirs = segmentor.backbone.state_dict(), classifier.backbone.state_dict()
    for key, value in ours.items():
        own = moved.state_dict()[key.removeprefix('layer3.SR3.')] if 'SR3' in key else theirs[key]
        assert torch.equal(value, own), key
