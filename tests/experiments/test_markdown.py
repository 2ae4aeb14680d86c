"""Reports: the right pairs, the right words, nothing dropped in silence; Markdown, JSON and figure say the same."""

import json
import math
import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from scipy import stats

from mmseg_sr.errors import UserError
from mmseg_sr.experiments import markdown as report
from mmseg_sr.experiments import plan, settings
from mmseg_sr.experiments.numbers import summarize
from mmseg_sr.experiments.plan import Arm, Experiment, Mode, Primary
from mmseg_sr.experiments.results import cells
from mmseg_sr.metrics.tasks import areas_of, metrics_of
from mmseg_sr.report.charts import GAIN, LOSS, NOT_SHOWN, forest_plot

CLASSES = ('road', 'car', 'train')
PAPER = {'FCN': {'mIoU': [77.33, 0.16]}, 'FCN+SR': {'mIoU': [77.53, 0.23]}}


def make_experiment(tmp_path: Path, seeds: int = 5, modes: tuple[str, ...] = ('single-scale',)) -> Experiment:
    arms = {
        name: Arm(name, tmp_path / 'x.py', 'x.py', {}, baseline, PAPER.get(name, {}))
        for name, baseline in (('FCN', 'FCN'), ('FCN+SR', 'FCN'), ('DLv3', 'DLv3'))
    }
    primary = Primary('mIoU', modes[0], ('FCN+SR',))
    return Experiment(
        'tiny',
        tmp_path / 'my experiment.yaml',
        tmp_path,
        'FCN',
        arms,
        tuple(range(seeds)),
        tuple(map(Mode, modes)),
        primary,
    )


@pytest.fixture(autouse=True)
def blocks(monkeypatch) -> None:
    """The arms of these experiments are no files: SR blocks are in the one that is named so."""
    monkeypatch.setattr(settings, 'has_blocks', lambda arm: arm.name == 'FCN+SR')


class Numbers:
    """Rows and areas of made-up networks: ``gain`` is what FCN+SR has more of right pixels, of 100 an image.

    ``block`` is how many of them it loses without its SR blocks.
    """

    def __init__(self, exp: Experiment, gain: int = 0, images: int = 30, block: int = 0):
        self.areas = {}
        self.rows = []
        generator = np.random.default_rng(0)
        for seed in exp.seeds:
            for arm in exp.arms.values():
                right = generator.integers(55, 75, (2, images)) + gain * (arm.name == 'FCN+SR')
                confusion = np.zeros((images, 3, 3), int)
                confusion[:, 0, 0], confusion[:, 0, 1] = right[0], 100 - right[0]
                confusion[:, 1, 1], confusion[:, 1, 0] = right[1], 100 - right[1]
                for mode in exp.modes:
                    self.areas[arm.name, seed, mode.name] = areas_of(confusion)
                    self.rows.append(self.row(arm.name, seed, mode.name, confusion))
                if arm.name == 'FCN+SR' and exp.can_answer:
                    confusion[:, [0, 1], [0, 1]] -= block
                    confusion[:, [0, 1], [1, 0]] += block
                    self.rows.append(self.row(arm.name, seed, exp.primary.mode, confusion) | {'without_sr': True})

    def row(self, arm: str, seed: int, mode: str, confusion: np.ndarray) -> dict:
        *means, iou = metrics_of(areas_of(confusion).sum(0))
        names = ('mIoU', 'mAcc', 'aAcc', *(f'IoU.{name}' for name in CLASSES))
        values = [None if math.isnan(each) else float(each) for each in (*means, *iou)]
        extra = arm == 'FCN+SR'
        row = dict(arm=arm, seed=seed, mode=mode, without_sr=False, metrics=dict(zip(names, values, strict=True)))
        row |= dict(parameters={'total': 1125 if extra else 1000, 'sr': 125 * extra}, test_seconds=3.0)
        row |= dict(train_seconds=105.0 if extra else 100.0, commit='c0ffee', date=f'2024-01-0{seed + 1}')
        machine = {'cpu': 'a processor', 'cores': 2, 'gpu': None, 'platform': 'an OS'}
        return row | dict(versions={'torch': '2.13.0'}, machine=machine)

    def read(self, row: dict):
        areas = self.areas[row['arm'], row['seed'], row['mode']]
        return [f'{index}.png' for index in range(len(areas))], areas


def compare(exp: Experiment, numbers: Numbers, **changes) -> dict:
    return summarize(exp, changes.get('rows', numbers.rows), changes.get('areas', numbers.read))


def to_markdown(document: dict) -> str:
    """The report, without the spaces that put its columns in line."""
    return re.sub(' +', ' ', report.to_markdown(document))


@pytest.mark.parametrize(
    ('gain', 'block', 'form'),
    [
        (10, 10, "gain shown, and the block's"),
        (10, 0, "gain shown, but not shown to be the block's"),
        (-10, -10, "loss shown, and the block's"),
        (0, 0, 'not shown'),
    ],
)
def test_the_headline_has_four_forms(tmp_path, gain, block, form):
    exp = make_experiment(tmp_path, modes=('single-scale', 'slide'))
    document = compare(exp, Numbers(exp, gain, block=block))
    (answer,) = document['verdicts']
    assert answer['verdict'] == form
    assert [row['verdict'] for row in document['differences']] == [form] + [None] * 5, 'mIoU, in the primary mode'
    text = to_markdown(document)
    question = 'The question: mIoU, single-scale, of FCN+SR. All else is also looked at.'
    assert f'{question}\n\n* **{form}**: FCN+SR against FCN, single-scale: ' in text
    assert text.replace(report.HOW_TO_READ, '').count('shown') == 2 * form.count('shown'), 'headline and its row'
    assert text.count('| also looked at |') == 5
    two = make_experiment(tmp_path, seeds=2)
    assert '* **2 seeds: no verdict**: ' in to_markdown(compare(two, Numbers(two, gain)))


def test_what_the_networks_lose_without_their_blocks_is_measured_or_missing(tmp_path):
    exp = make_experiment(tmp_path)
    numbers = Numbers(exp, 10, block=10)
    (answer,) = compare(exp, numbers)['verdicts']
    scores = [
        [row['metrics']['mIoU'] for row in numbers.rows if row['arm'] == 'FCN+SR' and row['without_sr'] is without]
        for without in (False, True)
    ]
    test = stats.ttest_rel(*scores)
    expected = [np.subtract(*scores).mean(), *test.confidence_interval()]
    assert [answer['removal'][key] for key in ('difference', 'low', 'high')] == pytest.approx(expected)
    lost, low, high = -expected[0], -expected[2], -expected[1]
    assert f' these networks change by {lost:+.2f} [{low:+.2f}, {high:+.2f}].' in report.sentence(answer)
    nothing = dict(difference=0.0, low=0.0, high=0.0)
    assert report.sentence({**answer, 'removal': nothing}).endswith(' change by +0.00 [+0.00, +0.00].')
    document = compare(exp, numbers, rows=[row for row in numbers.rows if not row['without_sr']])
    assert document['verdicts'][0]['reason'] == 'it was not tested without its SR blocks'
    assert (
        document['missing'] == [f'FCN+SR seed{seed} single-scale without SR' for seed in range(5)]
        and document['of'] == 20
    )


def test_numbers_are_those_of_the_rows(tmp_path):
    exp = make_experiment(tmp_path)
    numbers = Numbers(exp, 2)
    document = compare(exp, numbers)
    values = {
        name: [r['metrics']['mIoU'] for r in numbers.rows if r['arm'] == name and not r['without_sr']]
        for name in exp.arms
    }
    for result in document['results']:
        assert result['mIoU']['values'] == values[result['arm']]
        assert result['mIoU']['std'] == pytest.approx(np.std(values[result['arm']], ddof=1))
    assert [(row['arm'], row['baseline'], row['metric']) for row in document['differences']] == [
        ('FCN+SR', 'FCN', metric) for metric in ('mIoU', 'mAcc', 'aAcc')
    ], 'DLv3 is its own baseline'
    first = document['differences'][0]
    test = stats.ttest_rel(values['FCN+SR'], values['FCN'])
    assert [first['over_seeds'][end] for end in ('low', 'high')] == pytest.approx(list(test.confidence_interval()))
    assert first['paper'] == 0.2
    sr = document['results'][1]
    assert sr['parameter_overhead'] == pytest.approx(12.5) and sr['train_overhead'] == pytest.approx(5)
    assert document['results'][0]['parameter_overhead'] is None


def test_classes_are_corrected_for_their_number_and_absent_ones_are_no_tests(tmp_path):
    exp = make_experiment(tmp_path)
    document = compare(exp, Numbers(exp, 3))
    assert [row['class'] for row in document['classes']] == list(CLASSES)
    road, car, train = document['classes']
    values = [
        [row['metrics'] for row in Numbers(exp, 3).rows if (row['arm'], row['without_sr']) == (arm, False)]
        for arm in ('FCN+SR', 'FCN')
    ]
    raw = sorted(
        stats.ttest_rel(*[[row[f'IoU.{name}'] for row in side] for side in values]).pvalue for name in ('road', 'car')
    )
    corrected = sorted([road['over_seeds']['p_corrected'], car['over_seeds']['p_corrected']])
    assert corrected == pytest.approx([2 * raw[0], max(2 * raw[0], raw[1])]), 'two tests, not three'
    assert (train['difference'], train['over_seeds']['p_corrected']) == (None, None)


def test_missing_rows_are_named_and_pairs_need_both(tmp_path):
    exp = make_experiment(tmp_path)
    numbers = Numbers(exp, 10)
    gone = {('FCN', 1), ('FCN+SR', 4), ('DLv3', 0)}
    document = compare(exp, numbers, rows=[r for r in numbers.rows if (r['arm'], r['seed']) not in gone])
    missing = ['FCN seed1 single-scale', 'FCN+SR seed4 single-scale', 'DLv3 seed0 single-scale']
    assert document['missing'] == [*missing, 'FCN+SR seed4 single-scale without SR']
    assert document['differences'][0]['seeds'] == 3
    assert [result['seeds'] for result in document['results']] == [[0, 2, 3, 4], [0, 1, 2, 3], [1, 2, 3, 4]]
    text = to_markdown(document)
    assert 'Missing: 4 of 20 runs: FCN seed1 single-scale; FCN+SR seed4 single-scale' in text
    assert '| FCN+SR | 4 of 5 |' in text
    reference = compare(exp, numbers)['results'][1]['mIoU']['values']
    assert document['results'][1]['mIoU']['values'] == reference[:4]


def test_an_arm_without_rows_stays_in_the_table(tmp_path):
    exp = make_experiment(tmp_path, seeds=2)
    numbers = Numbers(exp)
    document = compare(exp, numbers, rows=[r for r in numbers.rows if r['arm'] == 'FCN'])
    assert document['differences'] == document['classes'] == []
    text = to_markdown(document)
    assert '| FCN+SR | 0 of 2 | - |' in text and 'Missing: 4 of 6 runs' in text
    with pytest.raises(UserError, match='tiny has no rows'):
        compare(exp, numbers, rows=[])
    exp = make_experiment(tmp_path, seeds=3)
    document = compare(exp, numbers, rows=[r for r in Numbers(exp).rows if r['arm'] == 'FCN'])
    assert (len(document['missing']), document['of']) == (9, 12), 'of FCN+SR those without its blocks, too'


def test_one_seed_says_that_it_has_no_interval(tmp_path):
    exp = make_experiment(tmp_path, seeds=1)
    document = compare(exp, Numbers(exp, 10))
    assert document['differences'][0]['over_seeds']['low'] is None
    text = to_markdown(document)
    assert '* **1 seed: no verdict**: FCN+SR against FCN, single-scale: ' in text and 'a verdict needs 3' in text
    assert ' ± ' not in text.split('## Differences')[0].replace('77.33 ± 0.16', '').replace('77.53 ± 0.23', '')
    json.dumps(document, allow_nan=False)


def test_without_confusion_matrices_there_is_no_interval_over_images(tmp_path):
    exp = make_experiment(tmp_path)
    document = compare(exp, Numbers(exp), areas=lambda row: None)
    assert all(row['over_images'] is None for row in document['differences'] + document['classes'])
    assert 'FCN+SR against FCN, single-scale: confusion matrices are missing' in report.to_markdown(document)


def test_pairs_of_other_images_are_refused(tmp_path):
    exp = make_experiment(tmp_path, seeds=2)
    numbers = Numbers(exp)

    def read(row):
        images, areas = numbers.read(row)
        return (images[:-1] + ['other.png'] if row['arm'] == 'FCN' else images), areas

    with pytest.raises(UserError, match='FCN[+]SR and FCN, single-scale, were tested on different images'):
        compare(exp, numbers, areas=read)


def test_runs_of_different_machines_or_states_of_the_code_are_not_compared_in_silence(tmp_path):
    exp = make_experiment(tmp_path, seeds=2)
    numbers = Numbers(exp)
    document = compare(exp, numbers)
    assert not document['notes'] and len(document['commit']) == 1
    numbers.rows[0] |= {'machine': {'cpu': 'another'}, 'commit': 'another'}
    numbers.rows[1]['train_seconds'] = None
    document = compare(exp, numbers)
    assert 'from different machines' in document['notes'][0] and 'from 2 states of the code' in document['notes'][1]
    assert document['results'][1]['train_overhead'] == pytest.approx(5), 'of the pair that has both'


def test_the_markdown_is_table_iv_with_the_papers_figures_beside_ours(tmp_path):
    exp = make_experiment(tmp_path, modes=('single-scale', 'slide'))
    text = to_markdown(compare(exp, Numbers(exp)))
    for mode in ('single-scale', 'slide'):
        head, rule, first, second, *_ = text.split(f'## Results, {mode}\n\n')[1].splitlines()
        assert head.startswith('| model | seeds | mIoU | mIoU, paper | mAcc | aAcc | parameters | OH |')
        cells = [cell.strip() for cell in second.split('|')[1:-1]]
        assert (cells[0], cells[3], cells[6:]) == ('FCN+SR', '77.53 ± 0.23', ['1,125', '+12.50 %', '105 s', '+5.00 %'])
        assert head.count('|') == rule.count('|') == first.count('|') == second.count('|')
    assert '| +0.20 |' in text
    for words in ('a processor, 2 cores', 'torch 2.13.0', 'c0ffee', '2024-01-01 to 2024-01-05'):
        assert words in text


@pytest.fixture
def written(tmp_path, monkeypatch) -> Experiment:
    """An experiment whose rows and confusion matrices are files."""
    exp = make_experiment(tmp_path, seeds=2)
    numbers = Numbers(exp)
    parameters = {row['arm']: row['parameters'] for row in numbers.rows}
    monkeypatch.setattr(settings, 'fingerprint', lambda *_: 'abcdef012345')
    monkeypatch.setattr(settings, 'resolve', lambda arm: Config(dict(arm=arm.name, train_cfg=dict(max_iters=10))))
    monkeypatch.setattr(settings, 'count_parameters', lambda cfg: parameters[cfg.arm])
    for cell in cells(exp):
        row = next(r for r in numbers.rows if (r['arm'], r['seed']) == (cell.arm.name, cell.seed))
        log = cell.training / 'now/vis_data/scalars.json'
        log.parent.mkdir(parents=True)
        log.write_text(json.dumps({'lr': 1, 'time': row['train_seconds'] / 10}) + '\n')
        cell.test.parent.mkdir()
        cell.test.write_text(json.dumps({**row, 'seconds': row['test_seconds']}))
        intersection, predicted, truth = numbers.areas[cell.arm.name, cell.seed, 'single-scale'].transpose(1, 0, 2)
        confusion = np.zeros((30, 3, 3), np.int32)
        confusion[:, [0, 1], [0, 1]] = intersection[:, :2]
        confusion[:, [0, 1], [1, 0]] = (truth - intersection)[:, :2]
        order = np.random.default_rng(cell.seed).permutation(30)  # whatever order they were tested in
        np.savez(cell.confusion, confusion=confusion[order], images=[f'{i:02}.png' for i in order], classes=CLASSES)
    return exp


def test_files_become_a_report(written, tmp_path):
    out = tmp_path / 'a/b'
    document = report.write(written, out)
    assert json.loads((out / 'report.json').read_text()) == document
    text = (out / 'report.md').read_text()
    (line,) = re.findall('Command: `(.*)`', text)
    assert shlex.split(line) == ['python', 'tools/experiment.py', 'run', str(written.path)], 'it can be pasted'
    expected = compare(written, Numbers(written))
    assert document['results'] == json.loads(json.dumps(expected['results']))
    assert document['differences'] == json.loads(json.dumps(expected['differences'])), 'the same pairs of images'


def test_rows_of_other_settings_are_named_and_do_not_count(written, monkeypatch, tmp_path):
    folder = tmp_path / 'FCN/seed0/test'
    stale = (folder / 'single-scale-abcdef012345.json').rename(folder / 'single-scale-012345abcdef.json')
    document = report.write(written, tmp_path / 'out')
    assert document['stale'] == [str(stale)] and document['missing'] == ['FCN seed0 single-scale']
    assert f'Made under other settings, not counted: {stale}' in (tmp_path / 'out/report.md').read_text()


def test_confusion_matrices_of_another_run_are_refused(written, tmp_path):
    ours, other = (tmp_path / f'FCN/seed{seed}/test/single-scale-abcdef012345.npz' for seed in (0, 1))
    ours.write_bytes(other.read_bytes())
    with pytest.raises(UserError, match=f'{ours} gives .* mIoU, and its row'):
        report.write(written, tmp_path / 'out')


def test_the_figure_shows_each_interval_and_greys_what_is_not_shown(tmp_path):
    exp = make_experiment(tmp_path, modes=('single-scale', 'slide'))
    for gain, color, marker in ((0, NOT_SHOWN, 'o'), (10, GAIN, '^'), (-10, LOSS, 'v')):
        differences = compare(exp, Numbers(exp, gain))['differences']
        axes = forest_plot(differences).axes[0]
        chosen = [row for row in differences if row['metric'] == 'mIoU']
        for kind, width in (('over_seeds', 2), ('over_images', 0.8)):
            lines = [line for line in axes.lines if len(line.get_xdata()) == 2 and line.get_linewidth() == width]
            lines = [line for line in lines if np.ptp(line.get_ydata()) == 0]
            assert [tuple(line.get_xdata()) for line in lines] == [
                (row[kind]['low'], row[kind]['high']) for row in chosen
            ]
            assert [line.get_color() for line in lines] == [color if width == 2 else NOT_SHOWN, NOT_SHOWN]
        assert [line.get_marker() for line in axes.lines if len(line.get_xdata()) == 1] == [marker, 'o']
    axes.figure.savefig(tmp_path / 'forest.png')
    assert (tmp_path / 'forest.png').stat().st_size > 5000


def test_the_tool_prints_the_report_and_one_json_document_last(written, tmp_path, monkeypatch, call):
    monkeypatch.setattr(plan, 'load', lambda path, work_dir: replace(written, path=Path(path)))
    done = call('experiment', 'report', 'x.yaml', '--out', tmp_path / 'out')
    assert not done.status
    assert json.loads(done.out.splitlines()[-1]) == json.loads((tmp_path / 'out/report.json').read_text())
    assert done.out.startswith((tmp_path / 'out/report.md').read_text())
    assert (tmp_path / 'out/forest.png').is_file()
