"""A run is rehearsed: what would end it later is one message before there is a folder, and the run stays as it was."""

import copy
import re
import weakref
from pathlib import Path

import pytest
import torch
from in_process import ROOT, command
from mmengine.config import Config
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import VISBACKENDS, DefaultScope
from mmengine.visualization import BaseVisBackend, Visualizer
from tiny_config import SR, write_config

from mmseg_sr.config import load_config, prepare
from mmseg_sr.datasets.classes import heads_of
from mmseg_sr.errors import UserError, blame
from mmseg_sr.runs.rehearsal import rehearse
from mmseg_sr.runs.runner import build_network

pytestmark = pytest.mark.usefixtures('fresh')
NECK = "model.neck={'type':'SRNeck','in_channels':[8,16,32,63],'sr':{'in_index':2,'memory_size':(4,4)}}"


@VISBACKENDS.register_module(force=True)
class ServerVisBackend(BaseVisBackend):
    """Log to a server that asks for a key."""

    asked = 0

    def _init_env(self) -> None:
        ServerVisBackend.asked += 1
        raise RuntimeError('no key configured\nuse login')

    experiment = None

    def add_config(self, config, **kwargs) -> None:
        self._init_env()


@VISBACKENDS.register_module(force=True)
class MissingVisBackend(ServerVisBackend):
    """Log by a package that is not installed."""

    def _init_env(self) -> None:
        import a_package_that_nobody_has  # noqa: F401


@pytest.fixture(scope='module')
def home(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp('home')
    write_config(home, 'sr.py', SR)
    cfg = prepare(load_config(home / 'sr.py', {'model.backbone.sr.num_memories': 3}))
    torch.save({'state_dict': build_network(cfg).model.state_dict()}, home / 'three.pth')
    return home


MISTAKES = {
    'optimizer': (['optim_wrapper.optimizer.type=SDG'], 'SDG'),
    'schedule': (["param_scheduler=[{'type':'PolyLr'}]"], 'PolyLr'),
    'schedule option': (["param_scheduler=[{'type':'PolyLR','powr':1}]"], 'powr'),
    'interval of no iteration': (['train_cfg.val_interval=0'], 'train_cfg.val_interval must be .* got 0'),
    'interval that is none': (["train_cfg.dynamic_intervals=[(2,'a')]"], "must be .* got 'a'"),
    'metric of the best': (['default_hooks.checkpoint.save_best=mIou'], "save_best='mIou'.*gives aAcc, mIoU, mAcc"),
    'metric with a prefix': (
        ['val_evaluator.prefix=val', 'default_hooks.checkpoint.save_best=mIoU'],
        'gives val/aAcc, val/mIoU',
    ),
    'metric to stop at': (
        ["custom_hooks=[{'type':'EarlyStoppingHook','monitor':'mIou','strict':True}]"],
        "monitor='mIou'",
    ),
    'metric': (['val_evaluator.type=mIoO'], 'mIoO'),
    'moving average': (["custom_hooks=[{'type':'EMAHook','momentum':5}]"], 'momentum must be'),
    'moving average too late': (["custom_hooks=[{'type':'EMAHook','begin_iter':99}]"], 'begin_iter'),
    'hook': (['default_hooks.logger.type=LogerHook'], 'LogerHook'),
    'visualizer': (['visualizer.type=SegVisualiser'], 'SegVisualiser'),
    'backend': (["visualizer.vis_backends=[{'type':'TensorBord'}]"], 'TensorBord'),
    'backend without its package': (["visualizer.vis_backends=[{'type':'MissingVisBackend'}]"], 'a_package_that'),
    'backend without a key': (["visualizer.vis_backends=[{'type':'ServerVisBackend'}]"], 'no key configured use login'),
    'weights of no address': (['model.pretrained=open-mmlab://nonsense'], 'start from open-mmlab://nonsense .*None'),
    'weights of a package': (  # which is not there, or has no network
        ['model.pretrained=torchvision://resnet18'],
        'start from torchvision://resnet18|cannot download the pretrained weights',
    ),
    'weights of more memories': (
        ["model.init_cfg={'type':'Pretrained','checkpoint':'three.pth'}"],
        'start from three.pth .*num_memories=3',
    ),
    'channels of a head': (['model.decode_head.in_channels=63'], r'to have 63 channels, but got 64 .*\(in decode_head'),
    'map of a head': (['model.decode_head.in_index=7'], 'IndexError'),
    'channels of a neck': ([NECK], r'SRNeck: in_channels=\[8, 16, 32, 63\], and the backbone gives'),
    'class weights': (['model.decode_head.loss_decode.class_weight=[1,2,3]'], 'decode_head.loss_decode'),
    'classes of a trained head': (
        ['model.auxiliary_head.0.num_classes=2'],
        r'label ids 2, .*model.auxiliary_head has 2 classes and the data 4: label 2',
    ),
    'one image for a mean': (
        ['train_dataloader.batch_size=1', 'model.decode_head.type=ASPPHead', 'model.decode_head.num_convs=None'],
        'more than 1 value per channel|num_convs',
    ),
    'windows of the validation': (["model.test_cfg={'mode':'slide'}"], 'stride'),
    'log level': (['log_level=LOUD'], 'LOUD'),
}  # fmt: skip


@pytest.mark.parametrize(('options', 'words'), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line_before_there_is_a_folder(options, words, home, call, tmp_path):
    options = [each.replace('three.pth', str(home / 'three.pth')) for each in options]
    ServerVisBackend.asked = 0
    said = call('train', home / 'sr.py', '--work-dir', tmp_path / 'new/work', '--cfg-options', *options).mistake
    assert re.search(words.replace('three.pth', '.*three.pth'), said), said
    assert not list(tmp_path.iterdir())
    assert ServerVisBackend.asked <= 1, 'a server hears of the run, not of its rehearsal'


def test_a_folder_that_was_there_stays(home, call, tmp_path):
    (tmp_path / 'work/20200101_000000').mkdir(parents=True)
    backend = "visualizer.vis_backends=[{'type':'ServerVisBackend'}]"
    assert 'no key' in call('train', home / 'sr.py', '--work-dir', tmp_path / 'work', '--cfg-options', backend).mistake
    assert [path.name for path in (tmp_path / 'work').iterdir()] == ['20200101_000000']


def test_a_test_is_rehearsed_too(home, call, tmp_path):
    cfg = prepare(load_config(write_config(home, 'stock.py')))
    torch.save({'state_dict': build_network(cfg).model.state_dict()}, home / 'stock.pth')
    for option, words in ((NECK, 'SRNeck: in_channels'), ('default_hooks.timer.type=Clock', 'Clock')):
        words_given = ['--work-dir', tmp_path / 'work', '--out', tmp_path / 'out', '--cfg-options', option]
        assert words in call('test', home / 'stock.py', home / 'stock.pth', *words_given).mistake
        assert not list(tmp_path.iterdir())


def test_several_processes_say_it_once(home, tmp_path):
    given = ['--work-dir', tmp_path / 'work', '--cfg-options', 'model.decode_head.in_channels=63']
    done = command(ROOT / 'tools/dist_train.sh', home / 'sr.py', 2, *given, cwd=tmp_path)
    assert re.search(r'exitcode *: 2\b', done.err), done.err
    assert len(re.findall('^error: cannot train the network.*', done.err, re.M)) == 1
    assert not list(tmp_path.iterdir())


FINE = {
    'one size of images': (["model.backbone.sr={'after':'layer3','memory_size':(4,4),'resize':False}"], ''),
    'one image': (['train_dataloader.batch_size=1'], ''),
    'more classes': (
        ['model.decode_head.num_classes=6', 'model.auxiliary_head=None'],
        'model.decode_head has 6 classes and the data 4: it never sees the others',
    ),
    'fewer classes that are all there are': (
        ['model.auxiliary_head.0.num_classes=3'],
        'model.auxiliary_head has 3 classes and the data 4: label 3 is too high for it',
    ),
    'a loss that takes any label': (
        ['model.auxiliary_head.0.num_classes=2', 'model.auxiliary_head.0.loss_decode.type=DiceLoss'],
        '',
    ),
    'a metric with a prefix': (['val_evaluator.prefix=v', 'default_hooks.checkpoint.save_best=v/mIoU'], ''),
    'no evaluation': (
        ['val_dataloader=None', 'val_cfg=None', 'val_evaluator=None', 'train_cfg.val_interval=0'],
        '',
    ),
}  # fmt: skip


@pytest.mark.parametrize(('options', 'words'), FINE.values(), ids=FINE)
def test_what_can_train_trains(options, words, home, call, tmp_path, monkeypatch):
    monkeypatch.setattr('mmseg_sr.runs.first_batch.SIDE', 32)  # of 64
    given = ['--work-dir', tmp_path, '--cfg-options', 'train_cfg.max_iters=1', *options]
    status, out, errors = call('train', home / 'sr.py', *given)
    assert status == 0, errors
    (log,) = tmp_path.glob('*/*.log')
    assert out.count('classes and the data') == log.read_text().count('classes and the data') == bool(words)
    assert words in out and (tmp_path / 'iter_1.pth').is_file()


def named() -> list[dict]:
    """What mmengine keeps under names for all to find."""
    return [dict(kind._instance_dict) for kind in (MMLogger, MessageHub, DefaultScope, Visualizer)]


def test_a_rehearsal_changes_nothing(home, tmp_path, capfd, monkeypatch):
    cfg = prepare(load_config(home / 'sr.py', {'work_dir': str(tmp_path / 'work')}))
    network = build_network(cfg, 'train_dataloader')
    before, modules = copy.deepcopy(network.model.state_dict()), list(network.model.modules())
    text, kept = cfg.pretty_text, named()
    capfd.readouterr()
    copies = []
    monkeypatch.setattr('mmseg_sr.runs.rehearsal.try_batch', lambda model, _: copies.append(weakref.ref(model)))
    assert rehearse(cfg, network) == ()
    assert copies[0]() is None, 'its memory is free'
    monkeypatch.undo()
    assert rehearse(cfg, network) == ()
    assert list(network.model.modules()) == modules and not network.model.is_init
    assert all(torch.equal(value, before[key]) for key, value in network.model.state_dict().items())
    assert all(weight.grad is None and weight.device.type == 'cpu' for weight in network.model.parameters())
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in modules)
    assert cfg.pretty_text == text and not list(tmp_path.iterdir()) and capfd.readouterr() == ('', '')
    assert named() == kept


def test_a_head_counts_that_is_trained_on_the_labels_as_they_are():
    def heads(*auxiliary: dict) -> dict:
        return heads_of(Config(dict(model=dict(decode_head=dict(num_classes=19), auxiliary_head=list(auxiliary)))))

    assert heads(dict(type='FCNHead', num_classes=5), dict(type='mmseg.FCNHead', num_classes=7)) == {
        'decode_head': 19,
        'auxiliary_head': 5,
    }
    assert heads(dict(type='STDCHead', num_classes=2)) == {'decode_head': 19}, 'it draws boundaries'


def test_a_lost_process_is_no_mistake_in_a_config():
    for error in (torch.distributed.DistBackendError('gone'), RuntimeError('[../gloo/transport/tcp/pair.cc] closed')):
        with pytest.raises(RuntimeError) as raised, blame('train'):
            raise error
        assert raised.value is error
    with pytest.raises(UserError, match='^cannot train: ZeroDivisionError: by zero$'), blame('train'):
        raise ZeroDivisionError('by zero')


@pytest.mark.parametrize(
    ('option', 'words'),
    [
        ('foo.bar=1', "foo.bar: the config has no 'foo' and a run reads none\n"),
        ('max_iter=1', 'is it train_cfg.max_iters?'),
        ('modle.pretrained=None', 'is it model.pretrained?'),
        ('model.test_cfg.modes=slide', 'is it model.test_cfg.mode?'),
        ('train_dataloader.batch_sizes=1', 'is it train_dataloader.batch_size?'),
        ('env_cfg.resource_limit=4096', None),
        ('auto_scale_lr.enable=False', None),
        ('model.backbone.init_cfg=None', None),
    ],
)
def test_an_option_that_nothing_reads_is_said(option, words, home, capfd):
    key, _, value = option.partition('=')
    load_config(home / 'sr.py', {key: value})
    said = capfd.readouterr().out
    assert (words in said) if words else '--cfg-options' not in said
