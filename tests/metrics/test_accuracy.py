"""Accuracy is what counting by hand gives, and images of a file give it again."""

import tracemalloc

import numpy as np
import pytest
import torch

from mmseg_sr import ClassAccuracy
from mmseg_sr.errors import UserError
from mmseg_sr.metrics.tasks import accuracies_of, hits_of

CLASSES = ('cat', 'dog', 'owl', 'fox', 'bee', 'ant', 'elk')


def samples(count=40, seed=0) -> list[dict]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 6, (count, 1), generator=generator)  # nothing is an elk
    scores = torch.rand(count, 7, generator=generator)
    scores[::3] += torch.nn.functional.one_hot(labels[::3, 0], 7)
    return [
        dict(gt_label=label, pred_score=score, img_path=f'/data/test/{index}.png')
        for index, (label, score) in enumerate(zip(labels, scores, strict=True))
    ]


def metric(**options) -> ClassAccuracy:
    made = ClassAccuracy(**options)
    made.dataset_meta = dict(classes=CLASSES)
    return made


def test_it_is_what_counting_by_hand_gives_and_the_images_of_a_file_give_it_again(tmp_path):
    made, given = metric(images_file=tmp_path / 'images.npz'), samples()
    for start in range(0, 40, 8):
        made.process({}, given[start : start + 8])
    found = made.evaluate(40)
    ranks = [sorted(range(7), key=lambda k: -each['pred_score'][k]) for each in given]
    labels = [int(each['gt_label']) for each in given]
    for k in (1, 5):
        by_hand = [label in rank[:k] for label, rank in zip(labels, ranks, strict=True)]
        assert found[f'top{k}'] == pytest.approx(100 * sum(by_hand) / 40, abs=1e-9)
    for index, name in enumerate(CLASSES):
        own = [rank[0] == index for label, rank in zip(labels, ranks, strict=True) if label == index]
        assert found[f'top1.{name}'] == pytest.approx(100 * np.mean(own) if own else np.nan, nan_ok=True)
    with np.load(tmp_path / 'images.npz') as file:
        assert file['images'].tolist() == [f'{index}.png' for index in range(40)]
        hits = hits_of(file['label'], file['predicted'], file['top5'], 7)
    assert accuracies_of(hits.sum(0))[0] == found['top1']


def test_mmpretrain_counts_the_same():
    stock = pytest.importorskip('mmpretrain.evaluation').Accuracy(topk=(1, 5))
    for each in (ours := metric(by_class=False), stock):
        each.process({}, samples())
    theirs = stock.evaluate(40)
    assert ours.evaluate(40) == pytest.approx({'top1': theirs['accuracy/top1'], 'top5': theirs['accuracy/top5']})


def test_with_fewer_than_five_classes_the_label_is_always_among_five():
    made = metric(by_class=False)
    made.process({}, [dict(gt_label=torch.tensor([1]), pred_score=torch.tensor([0.9, 0.1]))])
    assert made.evaluate(1) == {'top1': 0.0, 'top5': 100.0}


def test_classes_of_one_name_are_counted_apart_as_the_two_cranes_of_imagenet():
    made = ClassAccuracy()
    made.dataset_meta = dict(classes=['crane', 'pug', 'crane'])
    made.process({}, [dict(gt_label=torch.tensor([k]), pred_score=torch.eye(3)[min(k, 1)]) for k in range(3)])
    found = made.evaluate(3)
    assert (found['top1.crane'], found['top1.pug'], found['top1.crane (2)']) == (100, 100, 0)


def test_many_images_of_many_classes_take_little_memory():
    made = ClassAccuracy()
    made.dataset_meta = dict(classes=[f'kind {k}' for k in range(1000)])
    tracemalloc.start()
    found = made.compute_metrics([(image % 1000, 7, True, 'a.png') for image in range(20_000)])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (found['top1'], found['top5'], found['top1.kind 7']) == (0.1, 100, 100)
    assert peak < 20e6, 'counts of each image would be 480 MB'


def test_classes_without_names_are_numbered():
    made = ClassAccuracy()
    made.dataset_meta = {}  # of a CustomDataset whose config names none
    made.process({}, [dict(gt_label=torch.tensor([k]), pred_score=torch.eye(3)[k]) for k in range(2)])
    assert made.evaluate(2) == pytest.approx(
        {'top1': 100, 'top5': 100, 'top1.class 0': 100, 'top1.class 1': 100, 'top1.class 2': np.nan}, nan_ok=True
    )


def test_a_label_that_is_no_class_is_named():
    with pytest.raises(UserError, match=r'/data/a.png has the label 7, and the classifier 7 classes'):
        metric().process({}, [dict(gt_label=torch.tensor([7]), pred_score=torch.rand(7), img_path='/data/a.png')])
