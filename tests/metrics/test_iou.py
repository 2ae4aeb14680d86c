"""ClassIoUMetric: exact, unrounded, each class's, and otherwise the stock IoUMetric."""

import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.dataset import DefaultSampler
from mmengine.logging import MMLogger
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS

from mmseg_sr.metrics.iou import ClassIoUMetric

VOID = 255


def evaluate(metric: IoUMetric, classes: int, samples: list) -> dict:
    """Run a metric over (prediction, truth) pairs as the Runner does."""
    metric.dataset_meta = dict(classes=[f'c{index}' for index in range(classes)])
    for prediction, truth in samples:
        process(metric, truth, prediction)
    return metric.evaluate(size=len(samples))


def process(metric: IoUMetric, truth: np.ndarray | list, prediction: np.ndarray | list, path: str = '') -> None:
    data = {key: dict(data=torch.tensor(each)) for key, each in (('gt_sem_seg', truth), ('pred_sem_seg', prediction))}
    metric.process({}, [dict(data, img_path=path)])


def reference(classes: int, samples: list) -> dict:
    """The same from a confusion matrix in int64."""
    confusion = np.zeros((classes, classes), np.int64)
    for prediction, truth in samples:
        np.add.at(confusion, (truth[truth != VOID], prediction[truth != VOID]), 1)
    hit = confusion.diagonal()
    truth, predicted = confusion.sum(1), confusion.sum(0)
    with np.errstate(invalid='ignore'):
        iou, acc = hit / (truth + predicted - hit), hit / truth
    numbers = {'mIoU': np.nanmean(iou), 'mAcc': np.nanmean(acc), 'aAcc': hit.sum() / confusion.sum()}
    numbers |= {f'IoU.c{index}': value for index, value in enumerate(iou)}
    return {name: 100 * value for name, value in numbers.items()}


@st.composite
def labelled_images(draw):
    """(classes, samples): random predictions and truths with void, of various shapes, and classes that are absent."""
    classes = draw(st.integers(2, 7))
    present = draw(st.integers(1, classes))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    samples = []
    for _ in range(draw(st.integers(1, 4))):
        shape = draw(st.integers(2, 9)), draw(st.integers(2, 9))
        truth = generator.integers(0, present, shape)
        truth[generator.random(shape) < 0.3] = VOID
        truth[0, 0] = 0
        samples.append((generator.integers(0, present, shape), truth))
    return classes, samples


@settings(max_examples=40, deadline=None)
@given(labelled_images())
def test_equals_a_confusion_matrix(case):
    expected = reference(*case)
    got = evaluate(ClassIoUMetric(), *case)
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        assert got[name] == pytest.approx(value, abs=1e-9, nan_ok=True), name


@settings(max_examples=10, deadline=None)
@given(labelled_images(), st.sampled_from([['mIoU'], ['mDice'], ['mIoU', 'mFscore']]))
def test_equals_the_stock_metric_up_to_its_rounding(case, kinds):
    stock = evaluate(IoUMetric(iou_metrics=kinds), *case)
    got = evaluate(ClassIoUMetric(iou_metrics=kinds), *case)
    assert stock.keys() <= got.keys()
    for name, value in stock.items():
        assert got[name] == pytest.approx(value, abs=5.1e-3, nan_ok=True), name


def test_counts_on_where_float32_stops():
    big, small = 2.0**24, 1.0
    areas = [[big, 1.0]] + [[small, 1.0]] * 100  # of class 0 every image after the first adds one pixel
    results = [(torch.tensor(hit), torch.tensor(hit) + 4, torch.tensor(hit), torch.tensor(hit) + 4) for hit in areas]
    hits, truth = 2**24 + 100, 2**24 + 100 + 4 * 101

    def compute(metric):
        metric.dataset_meta = dict(classes=('c0', 'c1'))
        return metric.compute_metrics(results)

    assert sum(row[0] for row in results)[0] != hits, 'float32 was expected to lose pixels here'
    assert compute(ClassIoUMetric())['IoU.c0'] == pytest.approx(100 * hits / truth, abs=1e-12)


def test_one_image_may_have_more_pixels_than_float32_counts():
    truth = np.zeros((4097, 4096), np.uint8)  # 2**24 + 4096 pixels
    truth[0, :3] = 1, VOID, 7  # and one of no class, which counts for none
    prediction = np.zeros_like(truth)
    hit, union, predicted, labelled = (
        area.tolist() for area in ClassIoUMetric.intersect_and_union(*map(torch.tensor, (prediction, truth)), 2, VOID)
    )
    zeros = truth.size - 3
    assert (hit, predicted, labelled) == ([zeros, 0], [zeros + 2, 0], [zeros, 1])
    assert union == [zeros + 2, 1]


def test_stock_options_stay(tmp_path):
    filled = evaluate(ClassIoUMetric(nan_to_num=0), 4, [(np.array([[0, 1]]), np.array([[0, 1]]))])
    assert filled['IoU.c3'] == 0 and filled['mIoU'] == 50
    metric = METRICS.build(dict(type='ClassIoUMetric', output_dir=str(tmp_path), format_only=True))
    metric.dataset_meta = dict(classes=('a', 'b'))
    metric.process({}, [dict(pred_sem_seg=dict(data=torch.ones(1, 2, 2)), img_path='x/frame.jpg')])
    assert metric.compute_metrics(metric.results) == {}
    assert (tmp_path / 'frame.png').is_file()


def test_the_stock_table_is_logged(caplog):
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    evaluate(ClassIoUMetric(), 2, [(np.array([[0, 1, 1]]), np.array([[0, 1, 0]]))])
    logger.removeHandler(caplog.handler)
    assert 'c1  | 50.0 | 100.0 |' in caplog.text


def test_confusion_matrices_are_each_images_truth_by_prediction(tmp_path):
    plain, metric = ClassIoUMetric(), ClassIoUMetric(confusion_file=tmp_path / 'new/c.npz')
    for each in (plain, metric):
        each.dataset_meta = dict(classes=('a', 'b', 'c'))
        process(each, [[[0, 0, 1], [255, 1, 1]]], [[[0, 1, 1], [0, 2, 1]]], '/data/val/x/1.png')
        process(each, [[[2]]], [[[0]]], '/data/val/y/1.png')
    assert metric.evaluate(2) == plain.evaluate(2)
    with np.load(tmp_path / 'new/c.npz') as file:
        assert file['confusion'].dtype == np.int32
        assert file['confusion'].tolist() == [[[1, 1, 0], [0, 2, 1], [0, 0, 0]], [[0, 0, 0], [0, 0, 0], [1, 0, 0]]]
        assert file['images'].tolist() == ['x/1.png', 'y/1.png'] and file['classes'].tolist() == ['a', 'b', 'c']


def evaluate_part(rank: int, store: Path, file: Path) -> None:
    """One of two processes that share five images, as mmengine's sampler does."""
    dist.init_process_group('gloo', init_method=f'file://{store}', rank=rank, world_size=2)
    metric = ClassIoUMetric(confusion_file=file)
    metric.dataset_meta = dict(classes=('a', 'b'))
    share = list(DefaultSampler(range(5), shuffle=False))
    assert len(share) == 3, 'one image is given twice'
    for index in share:
        process(metric, [[[0, 1]]], [[[index % 2, 1]]], f'{index}.png')
    assert metric.evaluate(5)['aAcc'] == 80
    dist.destroy_process_group()


def test_an_image_that_two_processes_both_saw_counts_once(tmp_path):
    context = multiprocessing.get_context('fork')
    parts = [context.Process(target=evaluate_part, args=(rank, tmp_path / 's', tmp_path / 'c.npz')) for rank in (0, 1)]
    for part in parts:
        part.start()
    for part in parts:
        part.join(60)
        assert part.exitcode == 0
    with np.load(tmp_path / 'c.npz') as file:
        assert file['images'].tolist() == [f'{index}.png' for index in range(5)]
        assert file['confusion'].tolist() == [[[1, 0], [0, 1]] if i % 2 == 0 else [[0, 1], [0, 1]] for i in range(5)]


def test_a_label_that_is_no_class_has_no_place_in_a_confusion_matrix(tmp_path):
    metric = ClassIoUMetric(confusion_file=tmp_path / 'c.npz')
    metric.dataset_meta = dict(classes=('a', 'b'))
    with pytest.raises(ValueError, match='x.png has a label of 2, and there are 2 classes'):
        process(metric, [[[0, 2]]], [[[0, 1]]], 'x.png')
