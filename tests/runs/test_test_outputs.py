"""What a test writes: predictions where evaluators expect them, a submission that Cityscapes' own scripts accept."""

import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as official
from drawn_streets import make_mini_cityscapes
from mmengine.config import Config
from mmseg.evaluation import CityscapesMetric
from PIL import Image
from tiny_config import SR, write_config
from tiny_report import write_checkpoint

from mmseg_sr.config import load_config
from mmseg_sr.errors import UserError
from mmseg_sr.runs.test_outputs import KeepFolders, for_submission, with_confusion, with_drawings, with_predictions

CONFIG = 'configs/mini_cityscapes/fcn_r18-w16-d8-sr_1xb4-600_mini-cityscapes-128x256.py'


def test_every_evaluator_that_writes_gets_its_own_folder(tmp_path):
    evaluators = [dict(type='ClassIoUMetric'), dict(type='CityscapesMetric', output_dir='x'), dict(type='DumpResults')]
    cfg = Config(dict(test_evaluator=evaluators))
    ready = with_predictions(cfg, tmp_path)
    assert ready.test_evaluator[0] == dict(type='ClassIoUMetric', output_dir=str(tmp_path))
    assert ready.test_evaluator[1] == dict(
        type='CityscapesMetric', output_dir=str(tmp_path / 'CityscapesMetric'), keep_results=True
    )
    assert ready.test_evaluator[2] == dict(type='DumpResults')
    assert cfg.test_evaluator[1].output_dir == 'x'


def test_an_iou_metric_is_asked_for_confusion_matrices():
    evaluators = [dict(type='CityscapesMetric'), dict(type='IoUMetric')]
    ready = with_confusion(Config(dict(test_evaluator=evaluators)), Path('c.npz'))
    assert ready.test_evaluator[1] == dict(type='ClassIoUMetric', confusion_file='c.npz')
    with pytest.raises(UserError, match='no IoUMetric'):
        with_confusion(Config(dict(test_evaluator=evaluators[0])), Path('c.npz'))


def test_a_submission_reads_no_labels_and_keeps_every_view(root):
    cfg = load_config(root / CONFIG)
    ready = for_submission(cfg, Path('out'))
    assert all('LoadAnnotations' in str(part) for part in (cfg.test_dataloader, cfg.tta_pipeline))
    assert 'LoadAnnotations' not in str(ready.test_dataloader) + str(ready.tta_pipeline)
    before, after = (each.tta_pipeline[1].transforms for each in (cfg, ready))
    assert [len(choice) for choice in after] == [len(choice) for choice in before if len(choice) != 1] + [1]
    assert np.prod([len(choice) for choice in after]) == 12, 'six scales, with and without flip'


@pytest.fixture
def submit(root, call, tmp_path, monkeypatch):
    """Test a network of random weights on drawn streets whose labels of val are away, and give the folder written."""
    make_mini_cityscapes(tmp_path / 'data', train=2, val=3)
    shutil.move(tmp_path / 'data/gtFine/val', tmp_path / 'withheld/val')
    monkeypatch.setenv('MINI_CITYSCAPES_ROOT', str(tmp_path / 'data'))
    write_checkpoint(root / CONFIG, tmp_path / 'random.pth')

    def submit(*options: str) -> Path:
        words = [root / CONFIG, tmp_path / 'random.pth', '--format-only', '--out', tmp_path / 'out']
        assert call('test', *words, '--work-dir', tmp_path / 'work', *options).document['metrics'] == {}
        return tmp_path / 'out'

    return submit


@pytest.mark.parametrize('options', [[], ['--tta']], ids=['one view', 'six scales and flip'])
def test_cityscapesscripts_finds_and_takes_a_submission(submit, tmp_path, monkeypatch, options):
    out = submit(*options)
    truths = sorted(map(str, (tmp_path / 'withheld').rglob('*_labelIds.png')))
    assert len(truths) == 3
    monkeypatch.setattr(official.args, 'predictionPath', str(out))
    monkeypatch.setattr(official.args, 'predictionWalk', None)
    for name, value in dict(evalInstLevelScore=False, JSONOutput=False, quiet=True).items():
        monkeypatch.setattr(official.args, name, value)
    predictions = [official.getPrediction(official.args, truth) for truth in truths]  # exits where a name is wrong
    assert len(set(predictions)) == len(list(out.iterdir())) == 3
    scores = official.evaluateImgLists(predictions, truths, official.args)
    assert 0 < scores['averageScoreClasses'] < 1
    ids = np.unique([np.array(Image.open(prediction)) for prediction in predictions])
    assert len(ids) > 1 and set(ids) <= set(official.args.evalLabels), 'label ids, not train ids'


def test_other_data_sets_get_class_ids(tmp_path):
    cfg = load_config(write_config(tmp_path, 'config.py', ''))
    assert for_submission(cfg, tmp_path).test_evaluator.type == 'ClassIoUMetric'


@pytest.mark.parametrize('hooks', [None, dict(visualization=None)])
def test_a_config_without_hooks_draws_too(hooks, tmp_path):
    ready = with_drawings(Config(dict(default_hooks=hooks)), tmp_path)
    assert ready.default_hooks.visualization == dict(type='SegVisualizationHook', draw=True, interval=1)
    assert ready.visualizer.save_dir == str(tmp_path) and ready.visualizer.vis_backends == [
        dict(type='LocalVisBackend')
    ]


FOLDERS = """
test_dataloader = dict(test_dataloader, batch_size=2, dataset=dict(dataset, img_suffix='.png'))
"""


@pytest.fixture
def namesakes(call, tmp_path) -> Path:
    """A config of six images in three folders, of which each has a 0.png and a 1.png, and random weights."""
    config = write_config(tmp_path, extra=FOLDERS + SR)
    for place in ('img', 'ann'):
        files = sorted((tmp_path / 'data' / place).iterdir())
        shutil.copy(files[0], files[0].with_name('5.png'))
        for index, file in enumerate([*files, files[0].with_name('5.png')]):
            target = file.parent / 'abc'[index // 2] / f'{index % 2}.png'
            target.parent.mkdir(exist_ok=True)
            shutil.move(file, target)
    write_checkpoint(config, tmp_path / 'random.pth')
    return config


NAMES = [f'{folder}/{name}.png' for folder in 'abc' for name in '01']


def written(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob('*.png'))}


def test_images_of_one_name_in_several_folders_keep_their_folders(namesakes, call, tmp_path):
    test = partial(call, 'test', namesakes, tmp_path / 'random.pth')
    metrics = test('--out', tmp_path / 'out', '--show-dir', tmp_path / 'show').document['metrics']
    predicted = written(tmp_path / 'out')
    assert list(predicted) == NAMES and len(set(predicted.values())) == 5, 'the first image is there twice'
    (legend,) = tmp_path.glob('show/**/legend.png')
    drawn = [path.relative_to(tmp_path / 'show') for path in sorted(legend.parent.glob('*/*.png'))]
    colours = {colour for _, colour in Image.open(legend).convert('RGB').getcolors(9999)}
    palette = load_config(namesakes).test_dataloader.dataset.metainfo.palette
    assert colours >= {(grey, grey, grey) for (grey,) in palette}, 'a legend beside the folders, of all classes'
    assert [f'{path.parent.name}/{path.name[5:6]}.png' for path in drawn] == NAMES
    test('--format-only', '--out', tmp_path / 'only')
    assert written(tmp_path / 'only') == written(tmp_path / 'out')
    assert metrics == test().document['metrics']
    test(
        '--format-only', '--out', tmp_path / 'b', '--cfg-options', 'test_dataloader.dataset.data_prefix.img_path=img/b'
    )
    assert written(tmp_path / 'b') == {name: written(tmp_path / 'out')[f'b/{name}'] for name in ('0.png', '1.png')}


class Images(list):
    """A data set of the images at these paths."""

    def get_data_info(self, index: int) -> dict:
        return {'img_path': self[index]}


def keep_folders(metric: object, *paths: str) -> None:
    loader = SimpleNamespace(dataset=Images(paths))
    evaluator = SimpleNamespace(metrics=[metric])
    KeepFolders().before_test(SimpleNamespace(test_evaluator=evaluator, test_dataloader=loader, hooks=[]))


@pytest.mark.parametrize(('second', 'kept'), [('/d/b/1.png', False), ('/d/b/0.png', True)])
def test_label_ids_of_cityscapes_lie_in_one_folder_where_their_names_differ(second, kept, tmp_path):
    metric = CityscapesMetric(output_dir=str(tmp_path / 'out'), keep_results=True)
    stock = metric.process
    keep_folders(metric, '/d/a/0.png', second)
    assert (metric.process != stock) == kept


@pytest.mark.parametrize('paths', [('/d/0.png', '/d/0.jpg'), ('s3://a/0.png', 's3://b/0.png'), ('a/0.png', '/d/0.png')])
def test_two_images_whose_predictions_would_have_one_name_are_refused(paths):
    with pytest.raises(UserError, match=f'{paths[0]} and {paths[1]} would have the same name'):
        keep_folders(SimpleNamespace(output_dir='out', process=None), *paths)
