"""Classifiers are trained, tested, compared, measured and published by the same tools, with and without SR blocks."""

import base64
import io
import json
import re

import in_process
import numpy as np
import pytest
import torch
import yaml
from browsing import opened, words
from PIL import Image
from tiny_cifar import CONFIG
from tiny_classifier import write_images

pytest.importorskip('mmpretrain', reason='classifiers need the extra [classification]')

from mmseg_sr.checkpoints.reading import read_checkpoint
from mmseg_sr.config import load_config
from mmseg_sr.errors import UserError
from mmseg_sr.experiments.markdown import sentence
from mmseg_sr.experiments.plan import load
from mmseg_sr.runs.models import load_model

EXPERIMENT = """
name: tiny
baseline: R18
seeds: [0]
primary: {metric: top1}
checkpoint: best
groups: '.*'
arms:
  R18: {config: tiny.py, paper: {top1: [94.04, 0.08]}}
  R18+D2D+SR:
    config: tiny.py
    options: {model.backbone.use: [D2D, SR3], model.backbone.insert.SR3.num_memories: 3}
    paper: {top1: [94.56, 0.13]}
"""


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """An experiment of two arms that has been run, by the real tools."""
    folder = tmp_path_factory.mktemp('classifiers')
    write_images(folder)
    base = in_process.ROOT / 'configs/classification/resnet18_1xb128-64k_cifar10.py'
    (folder / 'tiny.py').write_text(CONFIG.format(base=str(base)))
    (folder / 'tiny.yaml').write_text(EXPERIMENT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('CIFAR10_ROOT', str(folder / 'data'))
        found = in_process.call('experiment', 'run', 'tiny.yaml', folder=folder).document
        assert found == {'rows': 2, 'of': 2, 'failed': []}
        yield folder


@pytest.fixture
def run(folder):
    return lambda *words: in_process.call(*words, folder=folder)


TRAINED = 'work_dirs/tiny/R18+D2D+SR/seed0'
SR = ('--cfg-options', 'model.backbone.use=[D2D,SR3]', 'model.backbone.insert.SR3.num_memories=3')


def test_the_network_that_was_best_in_validation_is_the_one_tested(folder):
    best = folder / TRAINED / 'best.pth'
    assert best.is_symlink() and best.resolve().name.startswith('best_top1_iter_')
    (test,) = (folder / TRAINED / 'test').glob('single-scale-*.json')
    assert json.loads(test.read_text())['checkpoint'].endswith('best.pth')


def test_the_report_compares_top1_with_the_papers_figures_beside(run, folder):
    found = run('experiment', 'report', 'tiny.yaml', '--out', 'report').document
    (top1, top5) = found['differences']
    assert (top1['metric'], top5['metric'], top1['verdict']) == ('top1', 'top5', '1 seed: no verdict')
    assert top1['paper'] == pytest.approx(0.52) and top5['paper'] is None
    assert top1['resampling']['count'] == 40 and top1['over_images'], 'each image by itself'
    assert {row['class'] for row in found['classes']} == {f'kind_{index}' for index in range(10)}
    text = (folder / 'report/report.md').read_text()
    assert 'top1, paper' in text and '94.56 ± 0.13' in text and 'mIoU' not in text.split('## How to read it')[0]


def test_a_question_of_miou_is_refused_with_advice(run, folder):
    wrong = yaml.safe_load((folder / 'tiny.yaml').read_text()) | {'primary': {}}
    (folder / 'wrong.yaml').write_text(yaml.safe_dump(wrong))
    assert 'have no mIoU, mAcc, aAcc, but top1' in run('experiment', 'report', 'wrong.yaml').mistake


def test_an_experiment_of_the_best_needs_a_config_that_saves_it(run, folder):
    (folder / 'unsaved.py').write_text("_base_ = './tiny.py'\ndefault_hooks = dict(checkpoint=dict(save_best=None))\n")
    wrong = (folder / 'tiny.yaml').read_text().replace('tiny.py', 'unsaved.py').replace('name: tiny', 'name: unsaved')
    (folder / 'unsaved.yaml').write_text(wrong)
    assert 'checkpoint: best needs' in run('experiment', 'run', 'unsaved.yaml').mistake
    assert not (folder / 'work_dirs/unsaved').exists()


def test_a_test_counts_what_the_network_says_and_without_sr_what_the_rest_says(run, folder):
    whole, rest = (
        run('test', 'tiny.py', f'{TRAINED}/best.pth', *words, *SR, '--confusion', f'{len(words)}.npz').document
        for words in ((), ('--without-sr',))
    )
    assert {'top1', 'top5', *(f'top1.kind_{index}' for index in range(10))} == whole['metrics'].keys()
    cfg = load_config(folder / 'tiny.py')
    weights = read_checkpoint(folder / TRAINED / 'best.pth')['state_dict']
    torch.save({key: value for key, value in weights.items() if '.SR3.' not in key}, folder / 'stock.pth')
    stock = load_model(cfg, folder / 'stock.pth')
    lines = [line.split() for line in (folder / 'data/test.txt').read_text().splitlines()]
    mean, std = (torch.tensor(cfg.data_preprocessor[key]).view(3, 1, 1) for key in ('mean', 'std'))
    images = [np.asarray(Image.open(folder / 'data' / path)).transpose(2, 0, 1).copy() for path, _ in lines]
    inputs = torch.stack([(torch.from_numpy(image).float() - mean) / std for image in images])
    with torch.no_grad():
        predicted = stock(inputs, mode='tensor').argmax(1)
    labels = torch.tensor([int(label) for _, label in lines])
    assert rest['metrics']['top1'] == pytest.approx(100 * (predicted == labels).float().mean().item())
    with np.load(folder / '1.npz') as file:
        assert np.array_equal(file['predicted'], predicted) and np.array_equal(file['label'], labels)


def test_a_training_goes_on_to_the_same_end(run, folder):
    kept = ('default_hooks.checkpoint.interval=4', 'default_hooks.checkpoint.max_keep_ckpts=2')
    assert run('train', 'tiny.py', '--seed', '0', '--work-dir', 'again', *SR, *kept).status == 0
    (folder / 'again/iter_8.pth').unlink()
    (folder / 'again/last_checkpoint').write_text('iter_4.pth')
    assert run('train', 'tiny.py', '--seed', '0', '--work-dir', 'again', *SR, *kept, '--resume').status == 0
    ours, theirs = (read_checkpoint(folder / place / 'iter_8.pth')['state_dict'] for place in ('again', TRAINED))
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_it_is_published_and_the_file_tests_the_same(run, folder):
    files = run('publish_model', f'{TRAINED}/best.pth', '--out', 'published').document
    (before,) = (folder / TRAINED / 'test').glob('single-scale-*.json')
    after = run('test', 'tiny.py', files['safetensors']['path'], *SR).document
    assert after['metrics'] == json.loads(before.read_text())['metrics']


def test_an_ablation_says_what_the_blocks_are_worth(run):
    val = ('test_dataloader.dataset.ann_file=val.txt',)
    rows = run('ablate', 'tiny.py', f'{TRAINED}/best.pth', '--num-train', '4', *SR).document['variants']
    for name, removed in (('as trained', ()), ('removed', ('--without-sr',))):
        tested = run('test', 'tiny.py', f'{TRAINED}/best.pth', *removed, *SR, *val).document['metrics']
        found = {key: rows[name][key] for key in ('top1', 'top5')}
        found |= {f'top1.{key}': value for key, value in rows[name]['by class'].items()}
        assert found == pytest.approx(tested)
    assert rows['removed']['change']['top1'] == pytest.approx(rows['removed']['top1'] - rows['as trained']['top1'])
    assert len(rows) == 4 + 2 * 3


@pytest.fixture(scope='module')
def page(folder):
    """The report page of the experiment, which needs none but the best checkpoints."""
    last = list(folder.glob('work_dirs/tiny/*/seed0/iter_8.pth'))
    assert len(last) == 2
    for path in last:
        path.rename(path.with_suffix('.away'))
    found = in_process.call('report_page', 'tiny.yaml', '--num-images', '1', '--out', 'page.html', folder=folder)
    for path in last:
        path.with_suffix('.away').rename(path)
    assert found.document['missing'] == []
    return folder / 'page.html'


def test_the_page_has_the_verdict_and_the_accuracies_of_the_report(page, run):
    document, said = run('experiment', 'report', 'tiny.yaml', '--out', 'report').document, words(page.read_text())
    assert 'R18+D2D+SR against R18: ResNet_CIFAR-18 on data, 1 seed' in said
    assert f'1 seed: no verdict {sentence(document["verdicts"][0])}' in said
    for result in document['results']:
        assert f'{result["arm"]} 1 of 1 {result["top1"]["mean"]:.2f} {result["paper"]["top1"][0]:.2f} ± ' in said
    for row in document['classes']:
        assert f'{row["class"]} {row["theirs"]:.2f} {row["ours"]:.2f} {row["difference"]:+.2f}' in said
    assert 'difference in top1 by class' in said
    assert 'IoU' not in said.rpartition(' Reproduce ')[0]


def test_its_pictures_have_their_class_and_what_each_network_says(page, run, folder):
    cards = re.findall(r'<figure class="card">(.*?)</figure>', page.read_text(), re.DOTALL)
    assert len(cards) == 20, 'all validation images, which are fewer than 24'
    labels, predicted = None, {}
    for arm, changed in (('R18', ()), ('R18+D2D+SR', SR[1:])):
        options = ('--cfg-options', 'test_dataloader.dataset.ann_file=val.txt', *changed, '--confusion', 'val.npz')
        assert run('test', 'tiny.py', f'work_dirs/tiny/{arm}/seed0/best.pth', *options).status == 0
        with np.load(folder / 'val.npz') as file:
            labels, predicted[arm] = file['label'].tolist(), file['predicted'].tolist()
    for index, card in enumerate(cards):
        assert f'<strong>kind_{labels[index]}</strong>' in card
        said = re.findall('<li class="(right|wrong)">(.*?): kind_(.)</li>', card)
        assert said == [
            ('right' if each[index] == labels[index] else 'wrong', arm, str(each[index]))
            for arm, each in predicted.items()
        ]
    shown = Image.open(io.BytesIO(base64.b64decode(re.search('base64,(.*?)"', cards[0])[1]))).convert('RGB')
    path = (folder / 'data/val.txt').read_text().split()[0]
    assert np.array_equal(shown, Image.open(folder / 'data' / path)), 'a tiny picture keeps every pixel'


browser = pytest.fixture(scope='module')(opened)


def test_a_browser_shows_the_page_of_classifiers_wide_and_on_a_phone(page, browser):
    for width in (1280, 390):
        browser.show(page.as_uri(), width)
        assert browser.log('browser') == [] and browser.requests() == {page.as_uri()}
        assert browser.do('return document.documentElement.scrollWidth') <= width
        found = browser.do(
            "return [...document.querySelectorAll('.cards img, .figures svg')].map(e => "
            "[e.getBoundingClientRect().width, e.alt || e.getAttribute('aria-label')])"
        )
        assert len(found) == 20 + 3 and all(size > 100 and len(alt) > 10 for size, alt in found)
        browser.screenshot(f'classifiers-{width}.png')


def test_the_page_of_a_classifier_alone_lists_its_classes(run, folder):
    (metrics,) = (folder / 'work_dirs/tiny/R18/seed0/test').glob('single-scale-*.json')
    few = ('--metrics', metrics, '--pictures', '0', '--num-images', '0', '--out', 'alone.html')
    assert run('report_page', 'tiny.py', 'work_dirs/tiny/R18/seed0/best.pth', *few).document['missing'] == []
    said, found = words((folder / 'alone.html').read_text()), json.loads(metrics.read_text())['metrics']
    assert f'model, single-scale: {found["top1"]:.2f} top1, {found["top5"]:.2f} top5.' in said
    assert all(f'kind_{index} {found[f"top1.kind_{index}"]:.2f}' in said for index in range(10))


def test_cost_counts_the_block_by_the_papers_equation(run):
    found = run('cost', 'tiny.py', '--batch', '2', '--rounds', '1', *SR).document['results'][0]
    assert found['shape'] == [32, 32]
    added = found['rows']['SR']['parameters']['all'] - found['rows']['baseline']['parameters']['all']
    assert added == (32 + 64 * 8 + 8 * 3 + 3 * 32 * 64) + (1 + 8 + 3), 'C + HWU + UP + PCHW, and biases'


def test_cost_takes_images_as_the_test_crops_them(run, folder):
    (folder / 'cropped.py').write_text(
        "_base_ = './tiny.py'\ncrop_size = None\n"
        "steps = [dict(type='LoadImageFromFile'), dict(type='CenterCrop', crop_size=24), dict(type='PackInputs')]\n"
        'val_dataloader = dict(dataset=dict(pipeline=steps))\n'
    )
    found = run('cost', 'cropped.py', '--batch', '2', '--rounds', '1', *SR).document
    assert found['results'][0]['shape'] == [24, 24] and 'cost.py cropped.py --batch 2' in found['command']


@pytest.mark.parametrize(
    'words',
    [
        ('test', 'tiny.py', 'x.pth', '--show-dir', 'shown'),
        ('test', 'tiny.py', 'x.pth', '--out', 'written', '--format-only'),
    ],
    ids=lambda words: ' '.join(words[:1] + words[3:4]),
)
def test_what_is_made_for_segmentors_only_says_so_in_one_line(words, run, folder):
    before = sorted(folder.iterdir())
    assert 'tiny.py is the config of a classifier, and this is for segmentors only' in run(*words).mistake
    assert sorted(folder.iterdir()) == before


def test_mistakes_are_found_before_a_training_makes_its_folder(run, folder):
    train = ('train', 'tiny.py', '--work-dir', 'never', '--cfg-options')
    assert 'the evaluation gives top1, top5' in run(*train, 'default_hooks.checkpoint.save_best=top2').mistake
    assert 'use must name each of D, D2D' in run(*train, 'model.backbone.use=[SR5]').mistake
    picture = next((folder / 'data').glob('test/kind_3/*.png'))
    kept = picture.read_bytes()
    picture.write_bytes(kept[:80])
    assert f'cannot read the image {picture}' in run('test', 'tiny.py', f'{TRAINED}/best.pth', *SR).mistake
    picture.unlink()
    said = run('test', 'tiny.py', f'{TRAINED}/best.pth', *SR).mistake
    assert f'1 files of test_dataloader are not there: {picture}' in said
    picture.write_bytes(kept)
    assert not (folder / 'never').exists()


def test_a_head_of_other_classes_than_the_data_is_told(run, folder):
    options = ('model.head.num_classes=12', 'train_cfg.max_iters=1')
    done = run('train', 'tiny.py', '--work-dir', 'more', '--cfg-options', *options)
    assert 'model.head has 12 classes and the data 10: it never sees the others' in done.out + done.err


def test_missing_data_are_one_message(run, monkeypatch):
    monkeypatch.setenv('CIFAR10_ROOT', 'elsewhere')
    said = run('train', 'tiny.py', '--work-dir', 'none').mistake
    assert 'elsewhere/classes.txt' in said and 'tools/prepare_cifar.py makes it' in said


def test_without_mmpretrain_it_is_one_message_and_segmentors_do_not_notice(monkeypatch):
    import importlib.util

    stock = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, 'find_spec', lambda name, *rest: None if name == 'mmpretrain' else stock(name, *rest)
    )
    with pytest.raises(UserError, match=r'pip install "mmseg-sr\[classification\]"'):
        load_config(in_process.ROOT / 'configs/classification/vgg16_1xb128-70k_cifar100.py')
    load_config(in_process.ROOT / 'configs/fcn/fcn-d6_r50-d16-sr_4xb2-80k_cityscapes-512x1024.py')


def test_the_experiments_are_the_papers_rows():
    for name, count, seeds in (('cifar100', 28, 5), ('cifar10', 28, 5), ('table2', 15, 5), ('imagenet', 10, 4)):
        exp = load(in_process.ROOT / f'experiments/{name}.yaml')
        assert (len(exp.arms), len(exp.seeds), exp.primary.metric) == (count, seeds, 'top1')
        assert all('top1' in arm.paper for arm in exp.arms.values())
        for arm in exp.primary.arms:
            use = exp.arms[arm].options['model.backbone.use']
            stock = exp.arms[exp.arms[arm].baseline].options.get('model.backbone.use', [])
            assert use[:-1] == stock and use[-1].startswith('SR'), 'a row and its baseline differ in the block only'
