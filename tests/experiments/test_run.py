"""Experiments: what is missing is run, what is done is left alone, whatever happens in between."""

import importlib.util
import json
import multiprocessing
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import yaml
from mmengine.config import Config
from mmengine.dataset import DefaultSampler
from tiny_config import CLASSES, SR, write_config

from mmseg_sr.errors import UserError
from mmseg_sr.experiments import results as rows
from mmseg_sr.experiments import run as experiment
from mmseg_sr.experiments import settings
from mmseg_sr.metrics.iou import ClassIoUMetric

ROOT = Path(__file__).resolve().parents[2]

# Stand-ins for tools/train.py and tools/test.py that take no time. Each notes its call in a file beside it and then
# does what a test has put there.
FAKE = """
import json, os, pathlib, sys, time
home = pathlib.Path(__file__).parent
value = lambda flag: sys.argv[sys.argv.index(flag) + 1]
work = pathlib.Path(value('--work-dir'))
training = work if KIND == 'train' else work.parent
name = f'{KIND}-{training.parent.name}-{training.name}'
with open(home / 'calls', 'a') as calls:
    calls.write(name + '\\n')
hook = home / f'{name}.py'
if hook.exists():
    exec(hook.read_text())
"""
FAKE_TRAIN = f"""KIND = 'train'{FAKE}
work.mkdir(parents=True, exist_ok=True)
print('Iter(train) [4/4]')
(work / 'iter_4.pth').write_text(' '.join(sys.argv))
(work / 'last_checkpoint').write_text(str(work / 'iter_4.pth'))
"""
FAKE_TEST = f"""KIND = 'test'{FAKE}
import numpy as np
assert pathlib.Path(sys.argv[2]).name == 'iter_4.pth' and pathlib.Path(sys.argv[2]).is_file()
confusion = np.random.default_rng(len(name)).integers(1, 50, (6, 4, 4)).astype(np.int32)
total = confusion.sum(0)
iou = 100 * np.diag(total) / (total.sum(0) + total.sum(1) - np.diag(total))
pathlib.Path(value('--confusion')).parent.mkdir(parents=True, exist_ok=True)
np.savez(value('--confusion'), confusion=confusion, images=[f'{{i}}.png' for i in range(6)], classes=list('abcd'))
metrics = dict(mIoU=iou.mean(), mAcc=50.0, aAcc=60.0, **{{f'IoU.{{n}}': v for n, v in zip('abcd', iou)}})
document = dict(metrics=metrics, seconds=0.5, commit='c0ffee', machine={{'cpu': 'x'}}, versions={{'torch': '2'}})
work.mkdir(parents=True, exist_ok=True)
pathlib.Path(value('--metrics')).write_text(json.dumps(document))
"""


@pytest.fixture
def tools(tmp_path) -> Path:
    """A folder with stand-ins for the tools."""
    folder = tmp_path / 'my tools'
    folder.mkdir()
    (folder / 'train.py').write_text(FAKE_TRAIN)
    (folder / 'test.py').write_text(FAKE_TEST)
    return folder


def write(folder: Path, **changes) -> Path:
    """Write an experiment of two arms, and its configs; ``changes`` replace its keys."""
    write_config(folder, 'base.py')
    write_config(folder, 'with_sr.py', SR)
    document = {
        'name': 'tiny',
        'baseline': 'FCN',
        'seeds': [0, 1],
        'arms': {'FCN': {'config': 'base.py'}, 'FCN+SR': {'config': 'with_sr.py'}},
        'work_dir': str(folder / 'my work'),
    }
    path = folder / 'tiny.yaml'
    path.write_text(yaml.safe_dump({**document, **changes}, sort_keys=False))
    return path


def calls(tools: Path) -> list[str]:
    path = tools / 'calls'
    return path.read_text().split() if path.exists() else []


ALL_CALLS = [f'{kind}-{arm}-seed{seed}' for seed in (0, 1) for arm in ('FCN', 'FCN+SR') for kind in ('train', 'test')]

# ------------------------------------------------------------------------------------------------- experiment files


def test_the_experiments_here_are_the_papers_and_ours():
    paths = sorted((ROOT / 'experiments').glob('*.yaml'))
    loaded = {path.stem: experiment.load(path) for path in paths}
    assert {'table4', 'camvid_cpu', 'mini_cityscapes'} <= loaded.keys()
    for name, exp in loaded.items():
        assert (exp.name, exp.work_dir) == (name, Path('work_dirs') / name)
        for arm in exp.arms.values():
            settings.max_iterations(settings.resolve(arm, seed=0))

    table = loaded['table4']
    assert [(arm.name, arm.baseline) for arm in table.arms.values()] == [
        ('FCN', 'FCN'),
        ('FCN+SR', 'FCN'),
        ('DLv3', 'DLv3'),
        ('DLv3+SR', 'DLv3'),
    ]
    assert (len(table.seeds), [mode.tta for mode in table.modes]) == (5, [False, True])
    counts = {name: settings.count_parameters(settings.resolve(arm)) for name, arm in table.arms.items()}
    overhead = {name: 100 * (counts[f'{name}+SR']['total'] / counts[name]['total'] - 1) for name in ('FCN', 'DLv3')}
    assert overhead == pytest.approx({'FCN': 12.85, 'DLv3': 24.83}, abs=0.006), "the paper's, rounded"
    assert counts['FCN+SR']['sr'] == counts['FCN+SR']['total'] - counts['FCN']['total']
    gains = [table.arms[f'{name}+SR'].paper['mIoU'][0] - table.arms[name].paper['mIoU'][0] for name in ('FCN', 'DLv3')]
    assert gains == pytest.approx([0.2, 0.2])


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'iterations': 3}, 'unknown iterations; it takes name, work_dir, baseline'),
        ({'arms': {'FCN': {'config': 'base.py', 'lr': 1}}}, 'arms.FCN has unknown lr; it takes config, options'),
        ({'arms': {'FCN': {'config': 'none.py'}}}, 'arms.FCN: no such config: none.py'),
        ({'arms': {'FCN': {}}}, 'arms.FCN lacks config'),
        ({'arms': {}}, 'arms names no network'),
        ({'arms': {'../FCN': {'config': 'base.py'}}}, 'an arm is a folder named by letters'),
        ({'arms': {'rows': {'config': 'base.py'}}}, 'an arm is a folder named by letters'),
        ({'baseline': 'DLv3'}, "no arm is named 'DLv3' to be its baseline; there are FCN, FCN\\+SR"),
        ({'baseline': None}, 'lacks baseline'),
        ({'seeds': []}, 'seeds is a list of different numbers'),
        ({'seeds': [1, 1]}, 'seeds is a list of different numbers'),
        ({'seeds': [True]}, 'seeds is a list of different numbers'),
        ({'seeds': 3}, 'seeds is a list of different numbers'),
        ({'modes': {'a b': {}, 'A-b': {}}}, 'modes.A-b: the file names made of modes must differ'),
        ({'modes': {'slide': {'tta': 'yes'}}}, "modes.slide.tta is true or false, got 'yes'"),
        ({'options': {'train_cfg': {'max_iters': 3}}}, 'options takes dotted keys'),
        ({'launcher': 'pytorch'}, "launcher is none or slurm, got 'pytorch'"),
        ({'processes': 0}, 'processes is a number from 1, got 0'),
        ({'name': 'a/b'}, "got 'a/b'"),
        (
            {'arms': {'FCN': {'config': 'base.py', 'paper': {'mIoU': 77}}}},
            r'paper.mIoU is \[mean, standard deviation\]',
        ),
    ],
)
def test_a_mistake_in_the_file_is_named(tmp_path, changes, words):
    path = write(tmp_path, **changes)
    with pytest.raises(UserError, match=f'^{path}: .*{words}'):
        experiment.load(path)


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('seeds: [0]\nseeds: [1]', 'seeds given twice'),
        ('arms:\n  a: {}\n  a: {}', r'a given twice \(line 2\)'),
        ('- 1', 'takes "key: value" lines'),
        ('', 'takes "key: value" lines'),
        ('a: [', 'no YAML'),
        (None, 'cannot read the experiment'),
    ],
)
def test_a_file_that_is_no_experiment_is_refused(tmp_path, text, words):
    path = tmp_path / 'x.yaml'
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=words):
        experiment.load(path)


def test_mistakes_that_only_the_config_shows_come_before_anything_runs(tmp_path, tools):
    for changes, words in (
        ({'options': {'pipeline.7.type': 'x'}}, 'cannot read the config'),
        ({'options': {'train_cfg.max_iters': None}}, 'needs train_cfg.max_iters'),
        ({'options': {'tta_model': None}, 'modes': {'tta': {'tta': True}}}, 'has no tta_model'),
    ):
        with pytest.raises(UserError, match=words):
            experiment.run(experiment.load(write(tmp_path, **changes)), tools=tools)
    with pytest.raises(UserError, match='no train.py and test.py'):
        experiment.run(experiment.load(write(tmp_path)), tools=tmp_path)
    assert not calls(tools)


# ------------------------------------------------------------------------------------------------ running stand-ins


def test_all_is_run_once_and_rows_say_what_was_done(tmp_path, tools, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tools / 'train-FCN-seed0.py').write_text(
        'folder = work / "1/vis_data"\n'
        'folder.mkdir(parents=True)\n'
        'lines = [dict(lr=1, time=9.0), dict(lr=1, time=0.5), dict(lr=1, time=0.5), dict(mIoU=1, time=7.0)]\n'
        '(folder / "scalars.json").write_text("\\n".join(map(json.dumps, lines)))\n'
    )
    modes = {'single-scale': {}, 'slide + flip': {'tta': True, 'options': {'model.test_cfg.mode': 'slide'}}}
    options = {'train_cfg.val_interval': 2, 'crop_size': [64, 64]}
    exp = experiment.load(write(tmp_path, seeds=[0], modes=modes, options=options))
    assert experiment.run(exp, tools=tools) == []
    tests = ['test-FCN-seed0'] * 2, ['test-FCN+SR-seed0'] * 2
    assert calls(tools) == ['train-FCN-seed0', *tests[0], 'train-FCN+SR-seed0', *tests[1]]

    found = experiment.rows(exp)
    assert [(row['arm'], row['seed'], row['mode']) for row in found] == [
        (arm, 0, mode) for arm in ('FCN', 'FCN+SR') for mode in modes
    ]
    row = json.loads((tmp_path / 'my work/rows/FCN/seed0/slide-flip.json').read_text())
    assert row == found[1]
    assert row['config'] == 'base.py' and row['options'][-1] == 'model.test_cfg.mode=slide'
    assert (row['iterations'], row['train_seconds'], row['test_seconds']) == (4, 2.0, 0.5)
    assert (row['commit'], row['machine'], row['versions']) == ('c0ffee', {'cpu': 'x'}, {'torch': '2'})
    assert row['parameters']['sr'] == 0
    sr = 32 + 1 + 16 * 4 + 4 + 4 * 2 + 2 + 2 * 32 * 16  # Eq. (1), and biases
    assert found[2]['parameters'] == {'total': row['parameters']['total'] + sr, 'sr': sr}

    words = (tmp_path / 'my work/FCN/seed0/iter_4.pth').read_text()
    assert words.endswith('--seed 0 --resume --cfg-options train_cfg.val_interval=2 crop_size=[64,64]')
    assert experiment.run(exp, tools=tools) == [] and len(calls(tools)) == 6, 'nothing is left to run'
    shutil.rmtree(tmp_path / 'my work/FCN')
    assert experiment.run(exp, tools=tools) == [] and len(calls(tools)) == 6, 'rows need no checkpoints'


def test_a_failure_is_named_and_the_rest_goes_on(tmp_path, tools, capfd):
    (tools / 'train-FCN-seed1.py').write_text('print("error: no data"); print("goodbye"); sys.exit(2)')
    (tools / 'test-FCN+SR-seed0.py').write_text('print("a traceback\\nValueError: broken"); sys.exit(1)')
    (tools / 'train-FCN+SR-seed1.py').write_text('sys.exit(0)')
    exp = experiment.load(write(tmp_path))
    failures = experiment.run(exp, tools=tools)
    logs = tmp_path / 'my work/logs'
    assert [str(failure) for failure in failures] == [
        f'FCN+SR seed0 single-scale: exit status 1: ValueError: broken (see {logs}/FCN+SR-seed0-single-scale.log)',
        f'FCN seed1 train, and 1 more that need it: exit status 2: error: no data (see {logs}/FCN-seed1-train.log)',
        f'FCN+SR seed1 train, and 1 more that need it: the training left no iter_4.pth in {tmp_path}/my work'
        f'/FCN+SR/seed1 (see {logs}/FCN+SR-seed1-train.log)',
    ]
    assert [(row['arm'], row['seed']) for row in experiment.rows(exp)] == [('FCN', 0)]
    for hook in tools.glob('t*-*.py'):
        hook.unlink()
    done = calls(tools)
    assert experiment.run(exp, tools=tools) == []
    assert calls(tools)[len(done) :] == ['test-FCN+SR-seed0', *ALL_CALLS[4:]], 'only what failed is run again'


def test_a_row_made_under_other_settings_is_named_and_made_again(tmp_path, tools, capsys):
    before = experiment.load(write(tmp_path, seeds=[0]))
    assert experiment.run(before, tools=tools) == []
    after = experiment.load(
        write(tmp_path, seeds=[0], modes={'single-scale': {'options': {'model.test_cfg.mode': 'slide'}}})
    )
    assert experiment.rows(after) == []
    capsys.readouterr()
    assert experiment.run(after, tools=tools) == []
    assert capsys.readouterr().err.count('was made under other settings and is made again') == 2
    assert calls(tools) == [*ALL_CALLS[:4], 'test-FCN-seed0', 'test-FCN+SR-seed0'], 'the trainings stay'
    assert len(experiment.rows(after)) == 2


def test_data_elsewhere_are_the_same_settings(tmp_path):
    there, here = tmp_path / 'there', tmp_path / 'here'
    prints = []
    for folder in (there, here):
        folder.mkdir()
        exp = experiment.load(write(folder))
        prints.append([cell.fingerprint for cell in rows.cells(exp)])
    assert prints[0] == prints[1] and len(set(prints[0])) == 2


def test_a_training_under_other_settings_is_refused_before_anything_runs(tmp_path, tools):
    exp = experiment.load(write(tmp_path))
    folder = tmp_path / 'my work/FCN+SR/seed1'
    folder.mkdir(parents=True)
    cfg = Config.fromfile(tmp_path / 'with_sr.py')
    cfg.randomness = dict(seed=1)
    cfg.dump(folder / 'with_sr.py')  # what mmengine leaves
    save(folder / 'iter_2.pth')
    assert experiment.commands(exp, tools), 'the same settings'
    cfg.optim_wrapper.optimizer.lr = 0.5
    cfg.log_level = 'DEBUG'
    cfg.dump(folder / 'with_sr.py')
    with pytest.raises(UserError, match=r'settings: optim_wrapper.optimizer.lr: 0.5 -> 0.1\. Move it away'):
        experiment.run(exp, tools=tools)
    assert not calls(tools)
    (folder / 'iter_2.pth').unlink()
    assert experiment.run(exp, tools=tools) == [], 'nothing had been trained'


def test_several_jobs_run_at_the_same_time(tmp_path, tools):
    meet = (
        'deadline = time.time() + 30\n'
        'while len((home / "calls").read_text().split()) < 2 and time.time() < deadline: time.sleep(0.01)\n'
        'assert time.time() < deadline\n'
    )
    for arm in ('FCN', 'FCN+SR'):
        (tools / f'train-{arm}-seed0.py').write_text(meet)
    assert experiment.run(experiment.load(write(tmp_path, seeds=[0])), jobs=2, tools=tools) == []


# --------------------------------------------------------------------------------------------- kills and interrupts


@pytest.fixture
def start(tools):
    """Run an experiment in a process of its own."""
    started = []

    def run(exp) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it
        experiment.run(exp, 1, tools)

    def start(exp) -> multiprocessing.Process:
        started.append(multiprocessing.get_context('fork').Process(target=run, args=(exp,)))
        started[-1].start()
        return started[-1]

    yield start
    (tools / 'go').touch()  # what hangs may end
    for each in started:
        each.kill()
        each.join()


def wait_for(path: Path) -> str:
    deadline = time.monotonic() + 60
    while not path.exists() or not path.read_text():
        assert time.monotonic() < deadline, path
        time.sleep(0.01)
    return path.read_text()


def is_alive(pid: int) -> bool:
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except FileNotFoundError:
        return False


HANG = '(home / "pid").write_text(str(os.getpid()))\nwhile not (home / "go").exists(): time.sleep(0.01)\n'


def test_what_a_killed_run_left_running_is_waited_for(tmp_path, tools, start, capfd):
    exp = experiment.load(write(tmp_path))
    (tools / 'train-FCN+SR-seed0.py').write_text(HANG)
    process = start(exp)
    pid = int(wait_for(tools / 'pid'))
    process.kill()
    process.join()
    assert is_alive(pid)
    second = start(exp)
    time.sleep(1)
    assert calls(tools).count('train-FCN+SR-seed0') == 1, 'two would write into one folder'
    (tools / 'go').touch()
    second.join(60)
    assert second.exitcode == 0
    assert calls(tools) == ALL_CALLS, 'nothing is done twice'
    assert 'another process works on it, waiting' in capfd.readouterr().err


def test_a_power_cut_loses_the_command_in_progress_only(tmp_path, tools, start):
    exp = experiment.load(write(tmp_path))
    hook = tools / 'train-FCN+SR-seed0.py'
    hook.write_text(HANG)
    process = start(exp)
    pid = int(wait_for(tools / 'pid'))
    process.kill()
    os.kill(pid, signal.SIGKILL)
    process.join()
    hook.unlink()
    assert experiment.run(exp, tools=tools) == []
    assert calls(tools) == [*ALL_CALLS[:3], *ALL_CALLS[2:]]
    assert '--resume' in (tmp_path / 'my work/FCN+SR/seed0/iter_4.pth').read_text()


@pytest.mark.parametrize(('number', 'status'), [(signal.SIGTERM, 143), (signal.SIGINT, None)], ids=['TERM', 'INT'])
def test_an_interrupt_ends_what_was_started(tmp_path, tools, start, number, status):
    exp = experiment.load(write(tmp_path))
    child = 'import subprocess\nsubprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])\n'
    hook = tools / 'train-FCN-seed0.py'
    hook.write_text(child + HANG)
    process = start(exp)
    pid = int(wait_for(tools / 'pid'))
    children = Path(f'/proc/{pid}/task/{pid}/children').read_text().split()
    os.kill(process.pid, number)
    process.join(30)
    assert process.exitcode == status if status else process.exitcode not in (0, None)
    assert len(children) == 1 and not is_alive(pid)
    deadline = time.monotonic() + 10
    while is_alive(int(children[0])):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    hook.unlink()
    assert calls(tools) == ['train-FCN-seed0'], 'nothing else was begun'
    assert experiment.run(exp, tools=tools) == []


def save(path: Path) -> None:
    torch.save({'state_dict': {'a': torch.zeros(3)}}, path)


def test_half_a_checkpoint_does_not_count_as_trained(tmp_path):
    save(tmp_path / 'iter_4.pth')
    assert not experiment.is_trained(tmp_path, 4), 'mmengine had not said that it is saved'
    (tmp_path / 'last_checkpoint').write_text('/moved/from/iter_4.pth')
    assert experiment.is_trained(tmp_path, 4) and not experiment.is_trained(tmp_path, 8)


def test_last_checkpoint_is_mended_where_it_names_what_is_gone(tmp_path):
    # mmengine deletes iter_4, writes half of iter_12, and is killed.
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'iter_4.pth'))
    save(tmp_path / 'iter_12.pth')
    half = (tmp_path / 'iter_12.pth').read_bytes()[:200]
    (tmp_path / 'iter_12.pth').write_bytes(half)
    experiment.mend(tmp_path)
    assert not (tmp_path / 'last_checkpoint').exists(), 'nothing can be resumed: train from the start'
    save(tmp_path / 'iter_8.pth')
    save(tmp_path / 'best_mIoU_iter_8.pth')
    experiment.mend(tmp_path)
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'iter_8.pth')
    save(tmp_path / 'iter_9.pth')
    experiment.mend(tmp_path)
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'iter_8.pth'), 'nothing to mend'


# ------------------------------------------------------------------------------------------------- printed commands


def test_printed_commands_run_and_leave_what_rows_are_made_of(tmp_path, tools, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exp = experiment.load(write(tmp_path, modes={'single-scale': {}, 'all + flip': {'tta': True}}, work_dir='a work'))
    script = tmp_path / 'all.sh'
    *lines, last = experiment.commands(exp, tools)
    assert last.startswith('python ') and str(exp.path) in last
    script.write_text('\n'.join(lines))
    assert not calls(tools), 'printing runs nothing'
    environment = {**os.environ, 'PATH': f'{Path(sys.executable).parent}:{os.environ["PATH"]}'}
    subprocess.run(['bash', script], check=True, cwd='/', env=environment)
    assert len(calls(tools)) == 12
    assert experiment.run(exp, tools=tools) == [] and len(calls(tools)) == 12
    assert len(experiment.rows(exp)) == 8
    assert len(experiment.commands(exp, tools)) == 3, 'nothing is left'


def load_tool(name: str):
    spec = importlib.util.spec_from_file_location(f'tool_{name}', ROOT / f'tools/{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tool_prints_a_script_and_nothing_else(tmp_path, monkeypatch, capsys):
    write_config(tmp_path, 'noisy.py', "note = '{{$SOME_NOTE:none}}'")  # mmengine tells on stdout that it is set
    path = write(tmp_path, arms={'FCN': {'config': 'noisy.py'}})
    monkeypatch.setenv('SOME_NOTE', 'x')
    monkeypatch.setattr(sys, 'argv', ['experiment.py', 'run', str(path), '--print-commands', '--work-dir', 'a "b'])
    with pytest.raises(SystemExit) as end:
        load_tool('experiment').main()
    assert not end.value.code
    script = capsys.readouterr().out
    assert script.startswith('#!/usr/bin/env bash\ncd ')
    assert len(script.splitlines()) == 2 + 2 * 2 + 1 and "'a \"b/FCN/seed0'" in script
    assert subprocess.run(['bash', '-n'], input=script, text=True, check=False).returncode == 0


def test_slurm_commands_are_the_scripts_of_this_project(tmp_path):
    path = write(tmp_path, launcher='slurm', processes=2, options={'work_note': 'it is "$HOME"'}, seeds=[0])
    exp = experiment.load(path)
    script = '\n'.join(experiment.commands(exp))
    assert subprocess.run(['bash', '-n'], input=script, text=True, check=False).returncode == 0
    assert script.count('slurm_train.sh "$PARTITION" FCN') == 2 and script.count('slurm_test.sh "$PARTITION"') == 2
    note = shlex.quote('work_note=\'it is "$HOME"\'')  # quoted for the option, which would lose the quote at its end
    assert 'GPUS=2 GPUS_PER_NODE=2' in script and note in script
    with pytest.raises(UserError, match='--print-commands prints; missing: FCN seed0 train; FCN seed0 single-scale;'):
        experiment.run(exp)


def test_several_processes_take_the_scripts_for_it(tmp_path):
    exp = experiment.load(write(tmp_path, processes=4))
    script = '\n'.join(experiment.commands(exp))
    assert script.count('dist_train.sh') == 4 and f'{tmp_path}/base.py 4 --work-dir' in script
    one = experiment.load(write(tmp_path))
    assert rows.cells(one)[0].fingerprint != rows.cells(exp)[0].fingerprint, 'four processes make batches of four'


# ---------------------------------------------------------------------------------------------- the real thing, once


def test_the_tools_make_rows_and_confusion_matrices(tmp_path, monkeypatch, capsys):
    path = write(tmp_path, seeds=[3], modes={'TTA': {'tta': True}})
    elsewhere = tmp_path / 'elsewhere'
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setattr(sys, 'argv', ['experiment.py', 'run', str(path), '--jobs', '2'])
    with pytest.raises(SystemExit) as end:
        load_tool('experiment').main()
    said = capsys.readouterr()
    assert end.value.code == 0, said.err
    assert json.loads(said.out.splitlines()[-1]) == {'rows': 2, 'of': 2, 'failed': []}
    assert not list(elsewhere.iterdir()), 'nothing is left where it was started'

    exp = experiment.load(path)
    for row in experiment.rows(exp):
        images, areas = rows.read_areas(exp, row)  # refuses what does not give the row's mIoU
        assert images == [f'{index}.png' for index in range(5)]
        assert list(row['metrics']) == ['aAcc', 'mIoU', 'mAcc', *(f'IoU.{name}' for name in CLASSES)]
        assert row['metrics']['IoU.train'] is None
        assert areas[:, 2].sum() < 5 * 64 * 64, 'void pixels are in no matrix'
        assert row['train_seconds'] > 0 and row['machine']['cores'] > 0 and 'mmseg' in row['versions']
    folder = tmp_path / 'my work/FCN/seed3'
    assert settings.differences(settings.resolve(exp.arms['FCN'], 3), folder) == [], 'what mmengine left is recognised'
    assert settings.differences(settings.resolve(exp.arms['FCN'], 4), folder) == ['randomness.seed: 3 -> 4']


# ---------------------------------------------------------------------------------------------- confusion matrices


def process(metric: ClassIoUMetric, truth: list, predicted: list, path: str) -> None:
    data = {
        key: dict(data=torch.tensor([value])) for key, value in (('gt_sem_seg', truth), ('pred_sem_seg', predicted))
    }
    metric.process({}, [dict(data, img_path=path)])


def test_confusion_matrices_are_each_images_truth_by_prediction(tmp_path):
    plain, metric = ClassIoUMetric(), ClassIoUMetric(confusion_file=tmp_path / 'new/c.npz')
    for each in (plain, metric):
        each.dataset_meta = dict(classes=('a', 'b', 'c'))
        process(each, [[0, 0, 1], [255, 1, 1]], [[0, 1, 1], [0, 2, 1]], '/data/val/x/1.png')
        process(each, [[2]], [[0]], '/data/val/y/1.png')
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
        process(metric, [[0, 1]], [[index % 2, 1]], f'{index}.png')
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
        process(metric, [[0, 2]], [[0, 1]], 'x.png')
