"""Every command in the README runs: by CI, or here on a small stand-in for its data and schedule."""

import csv
import importlib.util
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from written import ROOT, check_arguments, check_files, check_options, commands_in, mentions_in

README = (ROOT / 'README.md').read_text()
MINI = 'configs/mini_cityscapes/fcn_r18-w16-d8-sr_1xb4-600_mini-cityscapes-128x256.py'
SHORT = [
    '--cfg-options',
    'train_cfg.max_iters=2',
    'default_hooks.checkpoint.interval=2',
    'train_dataloader.num_workers=0',
]
SHORT += ['train_dataloader.persistent_workers=False']


def find(*words: str) -> list[str]:
    """The one command that has all these words in it."""
    (found,) = [command for command in commands_in(README) if all(word in ' '.join(command) for word in words)]
    return found


def run(command: list, **environment: str) -> str:
    """Run a command of the README from the checkout, with this Python."""
    words = [sys.executable if word == 'python' else str(word) for word in command]
    path = f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'
    done = subprocess.run(
        words, cwd=ROOT, env={**os.environ, 'PATH': path, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, f'{words}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}'
    return done.stdout


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
    assert len(commands_in(README)) >= 12
    for command in commands_in(README):
        if command[0] == 'make':
            assert command[1] in re.search(r'^make (.*)$', ci, re.M).group(1).split(), command
        elif command[:2] == ['pip', 'install']:
            assert command[2] in makefile or command[2].removeprefix('.') in ci, command
        else:
            tool = command[1] if command[0] == 'python' else command[0]
            assert (ROOT / tool).is_file() and here.count(f"'{tool}'") >= 1, command


def test_every_option_is_one_of_its_tool():
    for command in commands_in(README):
        check_files(command)
        if command[0] not in ('make', 'pip'):
            check_arguments(command)
    assert len(mentions_in(README)) >= 10
    for command in mentions_in(README):
        check_options(command)


def test_every_file_that_it_names_is_there():
    links = re.findall(r'\]\(((?!http)[^)#]+)\)', README)
    configs = re.findall(r'\b(?:configs|experiments)/[\w./-]+\.(?:py|yaml)\b', README)
    assert links and configs
    for name in links + configs:
        assert (ROOT / name).exists(), name
    for pattern in re.findall(r'`(\*-sr-\w+_\*\.py)`', README):
        assert list((ROOT / 'configs').glob(f'*/{pattern}')), pattern


def test_its_results_are_those_that_a_command_wrote():
    report = (ROOT / 'results/camvid_cpu/report.md').read_text()
    results = README.split('## Results so far')[1].split('\n## ')[0]
    rows = [line.rstrip('|') for line in results.splitlines() if re.match(r'\| (baseline|SR)', line)]
    verdicts = [line for line in results.splitlines() if line.startswith('* **SR')]
    assert len(rows) == 4 and len(verdicts) == 4
    of_low_rank = (ROOT / 'results/camvid_rank/report.md').read_text()
    assert all(line in report for line in rows + verdicts[:3]) and verdicts[3] in of_low_rank
    for arm in ('baseline', 'SR'):
        tested = json.loads((ROOT / f'results/camvid_cpu/{arm}-seed0-multi-scale-flip.json').read_text())['metrics']
        assert f'{arm} {tested["mIoU"]:.2f} mIoU, {tested["mAcc"]:.2f} mAcc' in results
    cost = json.loads((ROOT / 'results/monitor_cost.json').read_text())['cost_percent']
    assert f'costs {cost:.2f} % of the training time' in results
    (block,) = json.loads((ROOT / 'results/camvid_memory/memory.json').read_text())['blocks'].values()
    assert f'{100 * block["shift"]["mean"]:.4f} % of the feature map' in results


def test_what_it_says_of_a_memory_of_the_scene_is_what_was_measured():
    report = (ROOT / 'results/scene_five/report.md').read_text()
    report += (ROOT / 'results/scene_mini/report.md').read_text()
    verdicts = [line for line in README.splitlines() if line.startswith('* **placed')]
    assert len(verdicts) == 5 and all(line in report for line in verdicts)
    third = json.loads((ROOT / 'results/scene_mini/report.json').read_text())['results']
    assert {row['arm'] for row in third} >= {'learning', 'placed', 'placed-learning', 'placed-rank16'}
    for arm in ('learning', 'placed-learning'):
        (block,) = json.loads((ROOT / f'results/scene/{arm}/memory.json').read_text())['blocks'].values()
        assert 1 <= round(100 * block['shift']['mean']) <= 2, 'adds 1 to 2 % of the norm'
    screened = json.loads((ROOT / 'results/scene/report.json').read_text())
    assert len({row['arm'] for row in screened['differences']}) == 9 and not screened['missing']


def test_its_costs_are_those_that_a_command_wrote():
    written = json.loads((ROOT / 'results/cost.json').read_text())
    spec = importlib.util.spec_from_file_location('cost', ROOT / 'tools/cost.py')
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert tool.table(written['results']) in README
    with open(ROOT / 'results/block.csv', newline='') as file:
        rows = {(row['shape'], row['form'], row['passes']): row for row in csv.DictReader(file)}
    large = [rows['(2, 1024, 64, 128)', 'SR', passes] for passes in ('forward', 'forward + backward')]
    assert f'{float(large[0]["ratio"]):.2f} and {float(large[1]["ratio"]):.2f} times the limit' in README
    low_rank = [rows[shape, 'rank 16', 'forward + backward'] for shape in ('(2, 1024, 64, 128)', '(1, 1024, 128, 256)')]
    assert ' and '.join(f'{float(row["ratio"]):.2f}' for row in low_rank) in README
    off_size = rows['(1, 1024, 128, 256)', 'SR', 'forward + backward']
    assert f'{float(off_size["ratio"]):.2f} at another size' in README
    naive = rows['(2, 1024, 64, 128)', 'naive', 'forward + backward']
    assert f'{float(naive["to_SR"]):.1f} times faster than the naive form' in README


def test_what_can_be_relied_on_is_what_was_tried():
    def read(name: str) -> dict:
        return json.loads((ROOT / f'results/{name}.json').read_text())

    fuzzed, stopped = read('fuzz_checkpoints'), read('interruption')
    assert f'Of {fuzzed["variants"]} broken checkpoints' in README and not fuzzed['broken_promises']
    assert f'[{stopped["kills"]} kills]' in README.replace('([', '[')
    assert not stopped['lost'] + stopped['lost_on_full_disk'] + stopped['different']
    parts = read('long_running')['parts']
    for name, words in (('cycles', 'train/eval cycles'), ('requests', 'requests in one process')):
        assert f'{parts[name]["times"]:,} {words}' in README
        before, after = parts[name]['alive']
        assert before['tensors'] == after['tensors']


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
    environment = {'MINI_CITYSCAPES_ROOT': str(data), 'OMP_NUM_THREADS': '1'}
    run([*find('tools/train.py', MINI), '--work-dir', tmp_path, *SHORT], **environment)
    command = find('tools/test.py', MINI)
    (checkpoint,) = [word for word in command if word.endswith('.pth')]
    places = {
        checkpoint: tmp_path / 'iter_2.pth',
        'metrics.json': tmp_path / 'metrics.json',
        'drawings': tmp_path / 'd',
    }
    run([*swap(command, **places), '--work-dir', tmp_path / 'test'], **environment)
    assert 0 <= json.loads((tmp_path / 'metrics.json').read_text())['metrics']['mIoU'] <= 100
    assert list((tmp_path / 'd').rglob('*.png'))


def test_several_processes_train_and_test_with_scales_and_flip(data, tmp_path):
    environment = {'MINI_CITYSCAPES_ROOT': str(data), 'OMP_NUM_THREADS': '1'}
    command = find('tools/dist_train.sh')
    places = {command[1]: MINI, '4': '2'}
    run([*swap(command, **places), '--work-dir', tmp_path, *SHORT], **environment)
    command = find('tools/dist_test.sh')
    places |= {command[2]: tmp_path / 'iter_2.pth', 'metrics.json': tmp_path / 'metrics.json'}
    assert '--tta' in command
    run([*swap(command, **places), '--work-dir', tmp_path / 'test'], **environment)
    assert json.loads((tmp_path / 'metrics.json').read_text())['mode'] == 'multi-scale + flip'


def test_an_experiment_is_run_and_reported(data, tmp_path):
    plan = yaml.safe_load((ROOT / 'experiments/mini_cityscapes.yaml').read_text())
    options = dict(word.split('=') for word in SHORT[1:])
    plan |= {'options': {key: yaml.safe_load(value) for key, value in options.items()}, 'modes': {'single-scale': {}}}
    plan['arms'] = {name: {'config': str(ROOT / arm['config'])} for name, arm in plan['arms'].items()}
    (tmp_path / 'plan.yaml').write_text(yaml.safe_dump(plan))
    environment = {'MINI_CITYSCAPES_ROOT': str(data), 'OMP_NUM_THREADS': '1'}
    for verb in ('run', 'report'):
        command = find('tools/experiment.py', f'{verb} experiments/table4.yaml')
        run(
            [*swap(command, **{'experiments/table4.yaml': tmp_path / 'plan.yaml'}), '--work-dir', tmp_path],
            **environment,
        )
    assert 'FCN+SR' in (tmp_path / 'report/report.md').read_text()
    printed = run([*find('tools/experiment.py', 'run experiments/table4.yaml'), '--print-commands'])
    assert printed.count('tools/dist_train.sh') == 20, 'four networks, five seeds'
