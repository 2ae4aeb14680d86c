"""Every command in the README and on the first page runs: by CI, or here on small data and a short schedule."""

import json
import re
import sys
import zipfile
from pathlib import Path

import in_process
import pytest
import yaml
from written import ROOT, TEXTS, commands_in

COMMANDS = [command for name in ('README', 'index') for command in commands_in(TEXTS[name])]
EXPERIMENTS = ['camvid_cpu', 'camvid_r50', 'camvid_rank', 'recall_idd_lite', 'scene_five', 'scene_mini']
EXPERIMENTS += ['scene_lasting', 'channels_last', 'cifar100_small']
MINI = 'configs/mini_cityscapes/fcn_r18-w16-d8-sr_1xb4-600_mini-cityscapes-128x256.py'
SHORT = ['--cfg-options', 'train_cfg.max_iters=2', 'default_hooks.checkpoint.interval=2']
SHORT += ['train_dataloader.num_workers=0', 'train_dataloader.persistent_workers=False']


def find(*words: str) -> list[str]:
    """The one command that has all these words in it."""
    found = {tuple(command) for command in COMMANDS if all(word in ' '.join(command) for word in words)}
    (command,) = found
    return list(command)


def run(command: list, data: Path | str = '') -> str:
    """Run a command of the README from the checkout, with this Python and these drawn streets."""
    words = [sys.executable if word == 'python' else word for word in command]
    done = in_process.command(*words, cwd=ROOT, MINI_CITYSCAPES_ROOT=str(data))
    assert done.status == 0, f'{words}\n{done.out[-2000:]}\n{done.err[-2000:]}'
    assert 'Warning' not in done.err, done.err
    return done.out


def swap(command: list[str], **places: object) -> list:
    """Replace whole words of a command; every one of them must be there."""
    for old in places:
        assert old in command, f'{old} is not in {command}'
    return [places.get(word, word) for word in command]


@pytest.fixture(scope='module')
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('data') / 'mini'
    command = find('tools/make_mini_cityscapes.py')
    run([*swap(command, **{'data/mini_cityscapes': folder}), '--train', 3, '--val', 3])
    return folder


def test_every_command_is_run_by_ci_or_below():
    ci, makefile = (ROOT / '.ci/run').read_text(), (ROOT / 'Makefile').read_text()
    here = Path(__file__).read_text()
    assert len(COMMANDS) >= 14
    for command in COMMANDS:
        if command[0] == 'make':
            assert command[1] in re.search(r'^make (.*)$', ci, re.M).group(1).split(), command
        elif command[:2] == ['pip', 'install']:
            assert command[2] in makefile or command[2].removeprefix('.') in ci, command
        else:
            tool = command[1] if command[0] == 'python' else command[0]
            assert (ROOT / tool).is_file() and here.count(f"'{tool}'") >= 1, command


def read(name: str) -> dict:
    return json.loads((ROOT / 'results' / name).read_text())


def rows_of(text: str, head: str) -> list[list[str]]:
    """The cells of all tables in a text that begin with these words."""
    tables = re.findall(rf'^\| {re.escape(head)}.*\n\|.*\n((?:\|.*\n)+)', text, re.M)
    return [[cell.strip() for cell in row.strip('|').split('|')] for table in tables for row in table.splitlines()]


def test_results_are_those_of_the_reports():
    """The report of an experiment is written by other code than the pages."""
    page = TEXTS['results']
    reports = ''.join((ROOT / f'results/{name}/report.md').read_text() for name in EXPERIMENTS)
    scores = re.sub(' +', ' ', reports)
    for cells in rows_of(page, 'network | seeds | mIoU'):
        assert f'| {" | ".join(cells[:6])} |' in scores, cells
    found = rows_of(page, 'network | tested on')
    assert len(found) == 16
    for arm, mode, seeds, change, interval, verdict in found:
        words = ['|', f'| {arm} - ', f' {mode} ', f' {seeds} ', f' {change} ', f' {interval} ', f' {verdict} ']
        assert any(all(word in line for word in words) for line in reports.splitlines()), words
    for *_, metric, seeds, _, _, change, verdict in rows_of(TEXTS['README'], 'data | with SR')[:-1]:
        mean, interval = change.split(' ', 1)
        words = [f'* **{verdict}**: ', f': {mean} {metric} over {seeds} seeds, 95 % interval {interval}']
        assert any(all(word in line for word in words) for line in reports.splitlines()), words


def test_what_is_said_of_results_is_what_was_measured():
    for name in ('camvid_cpu/SR-ablation', 'camvid_rank/ablation', 'scene/placed/ablation'):
        change = read(f'{name}.json')['variants']['removed']['change']
        assert abs(change['mIoU']) < 0.01, 'the networks score the same with the block removed'
    for arm in ('placed-learning', 'placed-rank16'):
        variants = read(f'scene_mini/{arm}-ablation.json')['variants']
        assert variants['removed']['change']['high'] < -5, 'on drawn streets the memory of the scene helps'
        assert abs(variants['static recall']['change']['mIoU']) < 0.1, 'it recalls the same for every image'
    gains = [
        row['difference'] for name in ('scene_mini', 'scene_lasting') for row in read(f'{name}/report.json')['verdicts']
    ]
    assert gains[-3] > 7 > 3 > gains[-2] > 1 > gains[-1], 'the longer the training, the less is left of the lead'
    for arm in ('placed-rank16', 'placed-rank16-6k'):
        removed = read(f'scene_lasting/{arm}-ablation.json')['variants']['removed']['change']
        assert removed['high'] < -5, 'the network with a memory goes on relying on it'
    for arm in ('learning', 'placed-learning'):
        (block,) = read(f'scene/{arm}/memory.json')['blocks'].values()
        assert 1 <= round(100 * block['shift']['mean']) <= 2, 'adds one to two percent of the norm'
    screened = read('scene/report.json')
    assert len({row['arm'] for row in screened['differences']}) == 9 and not screened['missing'], 'nine networks'
    ahead = []
    for name in ('recall_idd_lite', 'recall_camvid'):
        found = read(f'{name}/report.json')
        scores = {row['arm']: dict(zip(row['seeds'], row['mIoU']['values'], strict=True)) for row in found['results']}
        for arm in found['primary']['arms']:
            gains = [score - scores['baseline'][seed] for seed, score in scores[arm].items()]
            ahead += [(name, arm)] if len(gains) == 2 and min(gains) > 0 else []
    assert ahead == [('recall_camvid', 'pixel')], 'ahead at both seeds, and on one of the data only'
    for arm in ('SR', 'rank16', 'placed-rank16', 'choosing', 'drawn', 'pixel', 'pixel-fast'):
        for each in read(f'recall_idd_lite/{arm}-ablation.json')['checkpoints']:
            changes = [row['change']['mIoU'] for name, row in each['variants'].items() if 'memory' not in name]
            assert max(map(abs, changes)) < 0.1, 'no network but those of classes changes by a tenth of a point'
    for row in read('cost.json')['results']:
        assert all(each['low'] < 1 for each in row['ratio'].values()), 'no slowdown is shown'
    slower = [row['config'] for row in read('gpu/cost.json')['results'] if row['ratio']['train']['low'] > 1]
    assert len(slower) == 1 and '/fcn' in slower[0], 'on a GPU one is shown for the FCN'
    found = read('camvid_r50/report.json')
    assert abs(found['verdicts'][0]['removal']['difference']) < 0.01 and len(found['missing']) == 1, 'two of three'


def test_overheads_are_those_of_the_paper():
    ours = {cells[0].split('_')[0].strip('`'): cells[2] for cells in rows_of(TEXTS['places'], 'config | numbers')}
    (quoted,) = re.findall(r'^> The paper: (.*)', TEXTS['places'], re.M)
    assert [f'+{each}' for each in re.findall(r'[\d.]+ %', quoted)] == [ours['fcn-d6'], ours['deeplabv3']]


def test_what_can_be_relied_on_is_what_was_tried():
    stopped, parts = read('interruption.json'), read('long_running.json')['parts']
    assert not read('fuzz_checkpoints.json')['broken_promises']
    assert not stopped['lost'] + stopped['lost_on_full_disk'] + stopped['different']
    for name in ('cycles', 'requests'):
        before, after = parts[name]['alive']
        assert before['tensors'] == after['tensors']
    assert parts['images']['rows'][-1]['size'] in TEXTS['guarantees']


def test_zips_are_prepared(data, tmp_path):
    command = find('tools/prepare_cityscapes.py')
    zips = {}
    for root in ('leftImg8bit', 'gtFine'):
        zips[f'{root}_trainvaltest.zip'] = tmp_path / f'{root}_trainvaltest.zip'
        with zipfile.ZipFile(zips[f'{root}_trainvaltest.zip'], 'w') as archive:
            for path in (data / root).rglob('*'):
                if path.name.endswith(('leftImg8bit.png', 'polygons.json')):
                    archive.write(path, path.relative_to(data))
    run([*swap(command, **zips, **{'data/cityscapes': tmp_path / 'out'}), '--subset'])
    assert len(list(tmp_path.glob('out/gtFine/*/*/*_labelTrainIds.png'))) == 6


def test_mini_cityscapes_is_trained_and_tested(data, tmp_path):
    run([*find('tools/train.py', MINI), '--work-dir', tmp_path, *SHORT], data)
    command = find('tools/test.py', MINI)
    (checkpoint,) = [word for word in command if word.endswith('.pth')]
    metrics, drawings = tmp_path / 'metrics.json', tmp_path / 'd'
    places = {checkpoint: tmp_path / 'iter_2.pth', 'metrics.json': metrics, 'drawings': drawings}
    run([*swap(command, **places), '--work-dir', tmp_path / 'test'], data)
    assert 0 <= json.loads(metrics.read_text())['metrics']['mIoU'] <= 100 and list(drawings.rglob('*.png'))


def test_several_processes_train_and_test_with_scales_and_flip(data, tmp_path):
    command = find('tools/dist_train.sh')
    places = {command[1]: MINI, '4': '2'}
    run([*swap(command, **places), '--work-dir', tmp_path, *SHORT], data)
    command = find('tools/dist_test.sh')
    places |= {command[2]: tmp_path / 'iter_2.pth', 'metrics.json': tmp_path / 'metrics.json'}
    assert '--tta' in command
    run([*swap(command, **places), '--work-dir', tmp_path / 'test'], data)
    assert json.loads((tmp_path / 'metrics.json').read_text())['mode'] == 'multi-scale + flip'


def test_an_experiment_is_run_and_reported(data, tmp_path):
    plan = yaml.safe_load((ROOT / 'experiments/mini_cityscapes.yaml').read_text())
    options = dict(word.split('=') for word in SHORT[1:])
    plan |= {'options': {key: yaml.safe_load(value) for key, value in options.items()}, 'modes': {'single-scale': {}}}
    plan['arms'] = {name: {'config': str(ROOT / arm['config'])} for name, arm in plan['arms'].items()}
    (tmp_path / 'plan.yaml').write_text(yaml.safe_dump(plan))
    for verb in ('run', 'report'):
        command = find('tools/experiment.py', f'{verb} experiments/table4.yaml')
        run([*swap(command, **{'experiments/table4.yaml': tmp_path / 'plan.yaml'}), '--work-dir', tmp_path], data)
    assert 'FCN+SR' in (tmp_path / 'report/report.md').read_text()
    printed = run([*find('tools/experiment.py', 'run experiments/table4.yaml'), '--print-commands'])
    assert printed.count('tools/dist_train.sh') == 20, 'four networks, five seeds'
