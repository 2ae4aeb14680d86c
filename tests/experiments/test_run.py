"""Experiments: what is missing is run, what is done is left alone, whatever happens in between."""

import importlib.util
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import in_process
import pytest
import torch
import yaml
from mmengine.config import Config
from tiny_config import CLASSES, SR, write_config, write_images

from mmseg_sr.config import load_config
from mmseg_sr.errors import UserError
from mmseg_sr.experiments import settings
from mmseg_sr.experiments.markdown import document_of
from mmseg_sr.experiments.plan import Arm, Primary, load
from mmseg_sr.experiments.results import cells, read_areas, rows, stale
from mmseg_sr.experiments.run import commands, is_trained, run

ROOT = Path(__file__).resolve().parents[2]

# Stand-ins for tools/train.py and tools/test.py that take no time. Each notes its call in a file beside it and then
# does what a test has put there.
FAKE = """
import json, os, pathlib, sys, time
home = pathlib.Path(__file__).parent
value = lambda flag: sys.argv[sys.argv.index(flag) + 1]
training = pathlib.Path(sys.argv[1]).parents[1]
name = f'{KIND}-{training.parent.name}-{training.name}'
with open(home / 'calls', 'a') as calls:
    calls.write(name + '\\n')
hook = home / f'{name}.py'
if hook.exists():
    exec(hook.read_text())
"""
FAKE_TRAIN = f"""KIND = 'train'{FAKE}
print('Iter(train) [4/4]')
(training / 'iter_4.pth').write_text(' '.join(sys.argv))
(training / 'last_checkpoint').write_text(str(training / 'iter_4.pth'))
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


def test_the_question_is_all_arms_but_baselines_and_controls(tmp_path):
    arms = {'FCN': {'config': 'base.py'}, 'SE': {'config': 'base.py'}}
    arms |= {'SR': {'config': 'with_sr.py', 'controls': ['SE']}, 'SR-2': {'config': 'with_sr.py', 'baseline': 'SE'}}
    exp = load(write(tmp_path, arms=arms))
    assert exp.primary == Primary('mIoU', 'single-scale', ('SR', 'SR-2'))
    assert exp.arms['SR'].controls == ('SE',)
    asked = {'metric': 'mAcc', 'arms': ['SE']}
    assert load(write(tmp_path, arms=arms, primary=asked)).primary == Primary('mAcc', 'single-scale', ('SE',))


def test_the_experiments_here_are_the_papers_and_ours():
    paths = sorted((ROOT / 'experiments').glob('*.yaml'))
    loaded = {path.stem: load(path) for path in paths}
    if not importlib.util.find_spec('mmpretrain'):  # tests/classification reads those of classifiers
        loaded = {name: exp for name, exp in loaded.items() if exp.primary.metric != 'top1'}
    assert {'table4', 'camvid_cpu', 'mini_cityscapes'} <= loaded.keys()
    for name, exp in loaded.items():
        assert (exp.name, exp.work_dir) == (name, Path('work_dirs') / name)
        for arm in exp.arms.values():
            settings.max_iterations(settings.resolve(arm, seed=0))

    table = loaded['table4']
    baselines = {'FCN': 'FCN', 'FCN+SR': 'FCN', 'DLv3': 'DLv3', 'DLv3+SR': 'DLv3'}
    assert {arm.name: arm.baseline for arm in table.arms.values()} == baselines
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
        ({'iterations': 3}, 'iterations: .* there are name, work_dir, baseline, .*, got 3'),
        ({'arms': {'FCN': {'config': 'base.py', 'lr': 1}}}, 'arms.FCN.lr: .* there are config, options, .*, got 1'),
        ({'arms': {'FCN': {'config': 'none.py'}}}, 'arms.FCN: no such config: none.py'),
        ({'arms': {'FCN': {}}}, 'arms.FCN.config: Field required'),
        ({'arms': {}}, 'arms: .* at least 1 item'),
        ({'arms': {'../FCN': {'config': 'base.py'}}}, r"arms.../FCN.*: .*pattern .*\w.*, got '../FCN'"),
        ({'arms': {'logs': {'config': 'base.py'}}}, "arms.logs.*: An arm cannot be named .*'logs'.*, got 'logs'"),
        ({'baseline': 'DLv3'}, "arms.FCN: no arm is named 'DLv3' to be its baseline; there are FCN, FCN\\+SR"),
        ({'baseline': None}, 'baseline: Field required'),
        ({'seeds': []}, r'seeds: List should have at least 1 item.*, got \[\]'),
        ({'seeds': [1, 1]}, r'seeds: Seeds should differ, got \[1, 1\]'),
        ({'seeds': [True]}, 'seeds.0: Input should be a valid integer, got True'),
        ({'seeds': [-1]}, 'seeds.0: Input should be greater than or equal to 0, got -1'),
        ({'seeds': 3}, 'seeds: Input should be a valid list, got 3'),
        ({'modes': {'a b': {}, 'A-b': {}}}, "modes: Modes should differ as file names, got .*'A-b'"),
        ({'modes': {'slide': {'tta': 'yes'}}}, "modes.slide.tta: Input should be a valid boolean, got 'yes'"),
        ({'options': {'train_cfg': {'max_iters': 3}}}, "options: .* dotted keys, .*, got {'train_cfg'"),
        ({'launcher': 'pytorch'}, "launcher: Input should be 'none' or 'slurm', got 'pytorch'"),
        ({'processes': 0}, 'processes: Input should be greater than or equal to 1, got 0'),
        ({'name': 'a/b'}, "name: .*pattern .*, got 'a/b'"),
        ({'arms': {'FCN': {'config': 'base.py', 'paper': {'mIoU': 77}}}}, 'arms.FCN.paper.mIoU: .* list, got 77'),
        (
            {'arms': {'FCN': {'config': 'base.py', 'paper': {'IoU': [7, 1]}}}},
            "arms.FCN.paper.IoU.*'mIoU', 'mAcc', 'aAcc', 'top1' or 'top5', got 'IoU'",
        ),
        ({'seeds': [], 'processes': 0}, 'seeds: .*; processes: '),
        (
            {'primary': {'metric': 'IoU'}},
            "primary.metric: Input should be 'mIoU', 'mAcc', 'aAcc', 'top1' or 'top5', got 'IoU'",
        ),
        ({'primary': {'mode': 'slide'}}, "primary.mode: modes are single-scale, got 'slide'"),
        ({'primary': {'arms': ['FCN']}}, "primary.arms: arms with a baseline are FCN\\+SR, got 'FCN'"),
        ({'primary': {'seed': 1}}, 'primary.seed: There is no such key; there are metric, mode, arms, got 1'),
        ({'groups': '['}, r"groups: Input should be a valid regular expression, got '\['"),
        (
            {'arms': {'FCN': {'config': 'base.py', 'controls': ['SE']}}},
            "arms.FCN: no arm is named 'SE' to be its control; there are FCN",
        ),
    ],
)
def test_a_mistake_in_the_file_is_named(tmp_path, changes, words):
    path = write(tmp_path, **changes)
    with pytest.raises(UserError, match=f'^{path}: {words}') as error:
        load(path)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('seeds: [0]\nseeds: [1]', 'seeds given twice .* line 1'),
        ('arms:\n  a: {}\n  a: {}', 'a given twice .* line 2'),
        ('- 1', 'the experiment: Input should be a valid dictionary'),
        ('', 'name: Field required'),
        ('a: [', 'cannot read the experiment: '),
        (None, 'cannot read the experiment: '),
    ],
)
def test_a_file_that_is_no_experiment_is_refused(tmp_path, text, words):
    path = tmp_path / 'x.yaml'
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=f'^{path}: .*{words}'):
        load(path)


def test_mistakes_that_only_the_config_shows_come_before_anything_runs(tmp_path, tools):
    for changes, words in (
        ({'options': {'pipeline.7.type': 'x'}}, 'cannot read the config'),
        ({'options': {'train_cfg.max_iters': None}}, 'needs train_cfg.max_iters'),
        ({'options': {'tta_model': None}, 'modes': {'tta': {'tta': True}}}, 'has no tta_model'),
    ):
        with pytest.raises(UserError, match=words):
            run(load(write(tmp_path, **changes)), tools=tools)
    with pytest.raises(UserError, match='no train.py and test.py'):
        run(load(write(tmp_path)), tools=tmp_path)
    assert not calls(tools)


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        ({'train_dataloader.dataset.data_root': '/nowhere'}, 'nowhere'),
        ({'test_dataloader.dataset.data_root': '/nowhere'}, 'nowhere'),
        ({'load_from': '/nowhere.pth'}, 'load_from: there is no file /nowhere.pth'),
        ({'model.decode_head.type': 'NoHead'}, 'cannot build the model: .*NoHead'),
        (
            {'model.decode_head.init_cfg.type': 'Pretrained', 'model.decode_head.init_cfg.checkpoint': 'no.pth'},
            'model.decode_head.init_cfg.checkpoint: there is no file no.pth',
        ),
    ],
)
def test_what_all_runs_need_is_tried_before_the_first_is_started(tmp_path, tools, options, words):
    with pytest.raises(UserError, match=f'^nothing was started: [^;]*{words}') as error:
        run(load(write(tmp_path, options=options)), tools=tools)
    assert str(error.value).endswith('(FCN, FCN+SR)'), 'said once, for both'
    assert not calls(tools) and not (tmp_path / 'my work').exists()


def test_tests_of_what_was_trained_elsewhere_need_neither_its_data_nor_the_weights_it_began_from(tmp_path, tools):
    write_images(tmp_path / 'train')
    save(tmp_path / 'start.pth')
    options = {'load_from': str(tmp_path / 'start.pth'), 'train_dataloader.dataset.data_root': str(tmp_path / 'train')}
    exp = load(write(tmp_path, seeds=[0], options=options))
    assert run(exp, tools=tools) == []
    shutil.rmtree(tmp_path / 'train')
    (tmp_path / 'start.pth').unlink()
    cells(exp)[0].test.unlink()
    assert run(exp, tools=tools) == [] and calls(tools) == [*ALL_CALLS[:4], 'test-FCN-seed0']


def test_the_networks_of_the_question_are_tested_without_their_blocks_too(tmp_path, tools):
    modes = {'slide': {}, 'whole': {}}
    exp = load(write(tmp_path, seeds=[0, 1, 2], modes=modes, primary={'mode': 'whole'}))
    assert run(exp, tools=tools) == [] and len(calls(tools)) == 6 + 12 + 3
    without = [row for row in rows(exp) if row['without_sr']]
    expected = [('FCN+SR', seed, 'whole') for seed in range(3)]
    assert [(row['arm'], row['seed'], row['mode']) for row in without] == expected
    assert read_areas(exp, without[0]) is not None
    assert sum('--without-sr' in line for line in commands(replace(exp, work_dir=tmp_path / 'b'), tools)) == 3
    assert not stale(exp) and run(exp, tools=tools) == [] and len(calls(tools)) == 21
    document = document_of(exp)
    assert not document['missing'] and document['verdicts'][0]['removal']['difference'] is not None
    few = load(write(tmp_path, seeds=[0, 1]))
    assert not any(cell.without_sr for cell in cells(few)), 'of two seeds there is no verdict, so nothing to explain'


def test_all_is_run_once_and_rows_say_what_was_done(tmp_path, tools, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tools / 'train-FCN-seed0.py').write_text(
        'folder = training / "1/vis_data"\n'
        'folder.mkdir(parents=True)\n'
        'lines = [dict(lr=1, time=9.0), dict(lr=1, time=0.5), dict(lr=1, time=0.5), dict(mIoU=1, time=7.0)]\n'
        '(folder / "scalars.json").write_text("\\n".join(map(json.dumps, lines)))\n'
    )
    modes = {'single-scale': {}, 'slide + flip': {'tta': True, 'options': {'model.test_cfg.mode': 'slide'}}}
    options = {'crop_size': [64, 64]}
    exp = load(write(tmp_path, seeds=[0], modes=modes, options=options))
    assert run(exp, tools=tools) == []
    tests = ['test-FCN-seed0'] * 2, ['test-FCN+SR-seed0'] * 2
    assert calls(tools) == ['train-FCN-seed0', *tests[0], 'train-FCN+SR-seed0', *tests[1]]

    found = rows(exp)
    assert [(row['arm'], row['seed'], row['mode']) for row in found] == [
        (arm, 0, mode) for arm in ('FCN', 'FCN+SR') for mode in modes
    ]
    row = found[1]
    assert row['config'] == 'base.py' and row['options'] == {**options, 'model.test_cfg.mode': 'slide'}
    assert (row['iterations'], row['train_seconds'], row['test_seconds']) == (4, 2.0, 0.5)
    assert (row['commit'], row['machine'], row['versions']) == ('c0ffee', {'cpu': 'x'}, {'torch': '2'})
    assert row['parameters']['sr'] == 0
    sr = 32 + 1 + 16 * 4 + 4 + 4 * 2 + 2 + 2 * 32 * 16  # Eq. (1), and biases
    assert found[2]['parameters'] == {'total': row['parameters']['total'] + sr, 'sr': sr}

    written = [path.suffix for path in (tmp_path / 'my work').rglob('test/*')]
    assert sorted(written) == ['.json'] * 4 + ['.npz'] * 4, 'a test leaves one JSON and its confusion matrices'
    for path in tmp_path.rglob('*.pth'):
        path.unlink()
    assert run(exp, tools=tools) == [] and len(calls(tools)) == 6, 'nothing is left to run; rows need no checkpoints'


def test_a_run_gets_one_config_and_no_options(tmp_path, tools):
    options = {'train_cfg.val_interval': 2, 'note': 'it is "$HOME"', 'size': [64, None], 'drives': ['0016E5']}
    exp = load(write(tmp_path, seeds=[3], options=options, modes={'a b': {'tta': True, 'options': {'x.y': '1e3'}}}))
    assert run(exp, tools=tools) == []
    folder = tmp_path / 'my work/FCN+SR/seed3'
    assert (folder / 'iter_4.pth').read_text() == f'{tools}/train.py {folder}/configs/with_sr.py --resume'
    cfg = Config.fromfile(folder / 'configs/with_sr.py')
    assert (cfg.work_dir, cfg.randomness.seed, cfg.train_cfg.val_interval) == (str(folder), 3, 2)
    assert {key: cfg[key] for key in ('note', 'size', 'drives')} == {key: options[key] for key in list(options)[1:]}
    expected = settings.resolve(exp.arms['FCN+SR'], 3)
    expected.work_dir = str(folder)
    assert cfg.to_dict() == expected.to_dict(), 'what the fingerprint is of'
    (test,) = (folder / 'configs').glob('a-b-*.py')
    cfg = Config.fromfile(test)
    assert (cfg.work_dir, cfg.randomness.seed, cfg.x.y, cfg.note) == (f'{folder}/test', 0, '1e3', 'it is "$HOME"')


def test_the_config_of_a_run_reads_data_roots_and_imports_where_it_runs(tmp_path, monkeypatch):
    folder = tmp_path / 'of the user'
    folder.mkdir()
    write_config(folder, 'a.py', "custom_imports = dict(imports=['lies_beside'])\nroot = '{{$SOME_ROOT:data}}/val'\n")
    (folder / 'lies_beside.py').write_text('')
    path = write(tmp_path, arms={'FCN': {'config': str(folder / 'a.py')}})
    monkeypatch.setenv('SOME_ROOT', 'here')
    commands(load(path))
    monkeypatch.setenv('SOME_ROOT', '/there')
    monkeypatch.setattr(sys, 'path', [each for each in sys.path if each != str(folder)])
    monkeypatch.delitem(sys.modules, 'lies_beside')
    cfg = load_config(tmp_path / 'my work/FCN/seed0/configs/a.py')
    assert cfg.root == '/there/val' and 'lies_beside' in sys.modules


def test_options_within_lists_and_configs_that_are_code_reach_a_run(tmp_path):
    (tmp_path / 'base_of_code.py').write_text('from mmengine.hooks import Hook\nhooks = [dict(type=Hook)]\nlr = 1\n')
    code = 'from mmengine.config import read_base\nwith read_base():\n    from .base_of_code import *\nlr = 2\n'
    (tmp_path / 'code.py').write_text(code)
    lists = write_config(tmp_path, 'lists.py')
    for config, options in ((lists, {'model.auxiliary_head.0.channels': 16}), (tmp_path / 'code.py', {'lr': 3})):
        arm = Arm('a', config, 'x', options, 'a', {})
        settings.write_config(tmp_path / 'run/x.py', tmp_path, arm, seed=1)
        expected, written = settings.resolve(arm, 1), Config.fromfile(tmp_path / 'run/x.py')
        written.work_dir = expected.work_dir
        assert written.to_dict() == expected.to_dict()
    assert written.hooks[0].type == 'mmengine.hooks.Hook' and written.lr == 3


def test_a_failure_is_named_and_the_rest_goes_on(tmp_path, tools, capfd):
    (tools / 'train-FCN-seed1.py').write_text('print("error: no data"); print("goodbye"); sys.exit(2)')
    (tools / 'test-FCN+SR-seed0.py').write_text('print("a traceback\\nValueError: broken"); sys.exit(1)')
    (tools / 'train-FCN+SR-seed1.py').write_text('sys.exit(0)')
    exp = load(write(tmp_path))
    failures = run(exp, tools=tools)
    logs = tmp_path / 'my work/logs'
    assert [str(failure) for failure in failures] == [
        f'FCN+SR seed0 single-scale: exit status 1: ValueError: broken (see {logs}/FCN+SR-seed0-single-scale.log)',
        f'FCN seed1 train, and 1 more that need it: exit status 2: error: no data (see {logs}/FCN-seed1-train.log)',
        f'FCN+SR seed1 train, and 1 more that need it: it ended well and left no {tmp_path}/my work/FCN+SR'
        f'/seed1/iter_4.pth (see {logs}/FCN+SR-seed1-train.log)',
    ]
    assert [(row['arm'], row['seed']) for row in rows(exp)] == [('FCN', 0)]
    for hook in tools.glob('t*-*.py'):
        hook.unlink()
    done = calls(tools)
    assert run(exp, tools=tools) == []
    assert calls(tools)[len(done) :] == ['test-FCN+SR-seed0', *ALL_CALLS[4:]], 'only what failed is run again'


def test_a_test_that_fails_keeps_no_other_from_running(tmp_path, tools):
    exp = load(write(tmp_path, seeds=[0], modes={'slide': {}, 'whole': {}}))
    (tools / 'test-FCN-seed0.py').write_text('if "slide" in sys.argv[1]: sys.exit("error: no")')
    (failure,) = run(exp, tools=tools)
    assert str(failure).startswith('FCN seed0 slide: exit status 1: error: no (see ')
    script = '\n'.join(commands(replace(exp, work_dir=tmp_path / 'printed'), tools))
    subprocess.run(['bash'], input=script, text=True, check=False, stderr=subprocess.DEVNULL)
    for each in (exp, replace(exp, work_dir=tmp_path / 'printed')):
        assert [(row['arm'], row['mode']) for row in rows(each)] == [
            ('FCN', 'whole'),
            ('FCN+SR', 'slide'),
            ('FCN+SR', 'whole'),
        ]


def test_a_row_made_under_other_settings_is_named_and_made_again(tmp_path, tools, capsys):
    before = load(write(tmp_path, seeds=[0]))
    assert run(before, tools=tools) == []
    after = load(write(tmp_path, seeds=[0], modes={'single-scale': {'options': {'model.test_cfg.mode': 'slide'}}}))
    assert rows(after) == []
    capsys.readouterr()
    assert run(after, tools=tools) == []
    assert capsys.readouterr().err.count('was made under other settings and is made again') == 2
    assert calls(tools) == [*ALL_CALLS[:4], 'test-FCN-seed0', 'test-FCN+SR-seed0'], 'the trainings stay'
    assert len(rows(after)) == 2


def test_the_rows_of_the_first_version_are_read(tmp_path, tools):
    """It kept a second file of numbers in rows/, and confusion matrices only there."""
    exp = load(write(tmp_path, seeds=[0]))
    assert run(exp, tools=tools) == []
    expected = rows(exp)
    for cell, row in zip(cells(exp), expected, strict=True):
        old = tmp_path / f'my work/rows/{cell.arm.name}/seed0/single-scale.json'
        old.parent.mkdir(parents=True)
        cell.confusion.rename(old.with_suffix('.npz'))
        old.write_text(json.dumps({**row, 'train_seconds': 7.0}))
    shutil.rmtree(tmp_path / 'my work/FCN')
    assert run(exp, tools=tools) == [] and calls(tools) == ALL_CALLS[:4], 'nothing is made again'
    assert rows(exp) == [{**row, 'train_seconds': 7.0} for row in expected]
    assert all(read_areas(exp, row) for row in expected)
    old.write_text(json.dumps({**row, 'fingerprint': 'of other settings'}))
    assert read_areas(exp, row) is None


def test_data_elsewhere_are_the_same_settings(tmp_path):
    prints = []
    for folder in (tmp_path / 'there', tmp_path / 'here'):
        folder.mkdir()
        prints.append([cell.fingerprint for cell in cells(load(write(folder)))])
    assert prints[0] == prints[1] and len(set(prints[0])) == 2


def test_a_training_under_other_settings_is_refused_before_anything_runs(tmp_path, tools):
    exp = load(write(tmp_path))
    folder = tmp_path / 'my work/FCN+SR/seed1'
    folder.mkdir(parents=True)
    cfg = Config.fromfile(tmp_path / 'with_sr.py')
    cfg.randomness = dict(seed=1)
    cfg.dump(folder / 'with_sr.py')  # what mmengine leaves
    save(folder / 'iter_2.pth')
    assert commands(exp, tools), 'the same settings'
    cfg.optim_wrapper.optimizer.lr = 0.5
    cfg.log_level = 'DEBUG'
    cfg.dump(folder / 'with_sr.py')
    with pytest.raises(UserError, match=r'settings: optim_wrapper.optimizer.lr: 0.5 -> 0.1\. Move it away'):
        run(exp, tools=tools)
    assert not calls(tools)
    (folder / 'iter_2.pth').unlink()
    assert run(exp, tools=tools) == [], 'nothing had been trained'


def test_several_jobs_run_at_the_same_time(tmp_path, tools):
    meet = (
        'deadline = time.time() + 30\n'
        'while len((home / "calls").read_text().split()) < 2 and time.time() < deadline: time.sleep(0.01)\n'
        'assert time.time() < deadline\n'
    )
    for arm in ('FCN', 'FCN+SR'):
        (tools / f'train-{arm}-seed0.py').write_text(meet)
    assert run(load(write(tmp_path, seeds=[0])), jobs=2, tools=tools) == []


@pytest.fixture
def start(tools):
    """Run an experiment in a process of its own."""
    started = []

    def work(exp) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it
        run(exp, 1, tools)

    def start(exp) -> multiprocessing.Process:
        started.append(multiprocessing.get_context('fork').Process(target=work, args=(exp,)))
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


def start_and_hang(start, exp, hook: Path, code: str = HANG) -> tuple[multiprocessing.Process, int]:
    """Start an experiment and wait until the command of ``hook`` hangs; its process, and that of the command."""
    hook.write_text(code)
    process = start(exp)
    return process, int(wait_for(hook.with_name('pid')))


def test_what_a_killed_run_left_running_is_waited_for(tmp_path, tools, start, capfd):
    exp = load(write(tmp_path))
    process, pid = start_and_hang(start, exp, tools / 'train-FCN+SR-seed0.py')
    process.kill()
    process.join()
    assert is_alive(pid)
    second = start(exp)
    said, deadline = '', time.monotonic() + 120
    while 'another process works on it, waiting' not in said and time.monotonic() < deadline:
        time.sleep(0.2)
        said += capfd.readouterr().err
    assert 'another process works on it, waiting' in said
    assert calls(tools).count('train-FCN+SR-seed0') == 1, 'two would write into one folder'
    (tools / 'go').touch()
    second.join(60)
    assert second.exitcode == 0
    assert calls(tools) == ALL_CALLS, 'nothing is done twice'


def test_a_power_cut_loses_the_command_in_progress_only(tmp_path, tools, start):
    exp = load(write(tmp_path))
    hook = tools / 'train-FCN+SR-seed0.py'
    process, pid = start_and_hang(start, exp, hook)
    process.kill()
    os.kill(pid, signal.SIGKILL)
    process.join()
    hook.unlink()
    assert run(exp, tools=tools) == []
    assert calls(tools) == [*ALL_CALLS[:3], *ALL_CALLS[2:]]
    assert '--resume' in (tmp_path / 'my work/FCN+SR/seed0/iter_4.pth').read_text()


@pytest.mark.parametrize(('number', 'status'), [(signal.SIGTERM, 143), (signal.SIGINT, None)], ids=['TERM', 'INT'])
def test_an_interrupt_ends_what_was_started(tmp_path, tools, start, number, status):
    exp = load(write(tmp_path))
    child = 'import subprocess\nsubprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])\n'
    hook = tools / 'train-FCN-seed0.py'
    process, pid = start_and_hang(start, exp, hook, child + HANG)
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
    assert run(exp, tools=tools) == []


def save(path: Path) -> None:
    torch.save({'state_dict': {'a': torch.zeros(3)}}, path)


def test_half_a_checkpoint_does_not_count_as_trained(tmp_path):
    save(tmp_path / 'iter_4.pth')
    assert not is_trained(tmp_path / 'iter_4.pth'), 'mmengine had not said that it is saved'
    (tmp_path / 'last_checkpoint').write_text('/moved/from/iter_4.pth')
    assert is_trained(tmp_path / 'iter_4.pth') and not is_trained(tmp_path / 'iter_8.pth')


def test_printed_commands_run_and_leave_what_rows_are_made_of(tmp_path, tools, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exp = load(write(tmp_path, modes={'single-scale': {}, 'all + flip': {'tta': True}}, work_dir='a work'))
    script = tmp_path / 'all.sh'
    *lines, last = commands(exp, tools)
    assert last.startswith('python ') and str(exp.path) in last
    script.write_text('\n'.join(lines))
    assert not calls(tools), 'printing runs nothing'
    environment = {**os.environ, 'PATH': f'{Path(sys.executable).parent}:{os.environ["PATH"]}'}
    subprocess.run(['bash', script], check=True, cwd='/', env=environment)
    assert len(calls(tools)) == 12
    assert run(exp, tools=tools) == [] and len(calls(tools)) == 12
    assert len(rows(exp)) == 8
    assert len(commands(exp, tools)) == 3, 'nothing is left'


def test_the_tool_prints_a_script_and_nothing_else(tmp_path):
    write_config(tmp_path, 'noisy.py', "note = '{{$SOME_NOTE:none}}'")  # mmengine tells on stdout that it is set
    path = write(tmp_path, arms={'FCN': {'config': 'noisy.py'}})
    words = [sys.executable, ROOT / 'tools/experiment.py', 'run', path, '--print-commands', '--work-dir', 'a "b']
    # In a process of its own: what packages print as they are imported is not to be in the script.
    script = subprocess.check_output(words, text=True, cwd=tmp_path, env={**os.environ, 'SOME_NOTE': 'x'})
    assert script.startswith('#!/usr/bin/env bash\ncd ')
    assert len(script.splitlines()) == 2 + 2 * 3 + 1 and "'a \"b/FCN/seed0/configs/noisy.py'" in script
    assert subprocess.run(['bash', '-n'], input=script, text=True, check=False).returncode == 0


def test_slurm_commands_are_the_scripts_of_this_project(tmp_path):
    path = write(tmp_path, launcher='slurm', processes=2, seeds=[0])
    exp = load(path)
    script = '\n'.join(commands(exp))
    assert subprocess.run(['bash', '-n'], input=script, text=True, check=False).returncode == 0
    assert script.count('slurm_train.sh "$PARTITION" FCN') == 2 and script.count('slurm_test.sh "$PARTITION"') == 2
    assert 'GPUS=2 GPUS_PER_NODE=2' in script
    with pytest.raises(UserError, match='--print-commands prints; missing: FCN seed0 train; FCN seed0 single-scale;'):
        run(exp)


def test_several_processes_take_the_scripts_for_it(tmp_path):
    exp = load(write(tmp_path, processes=4))
    script = '\n'.join(commands(exp))
    assert script.count('dist_train.sh') == 4 and "/FCN/seed1/configs/base.py' 4 --resume" in script
    one = load(write(tmp_path))
    assert cells(one)[0].fingerprint != cells(exp)[0].fingerprint, 'four processes make batches of four'


def test_the_tools_make_rows_and_confusion_matrices(tmp_path):
    path = write(tmp_path, seeds=[3], modes={'TTA': {'tta': True}})
    elsewhere = tmp_path / 'elsewhere'
    elsewhere.mkdir()
    done = in_process.call('experiment', 'run', path, '--jobs', 2, folder=elsewhere)
    assert done.status == 0, done.err
    assert json.loads(done.out.splitlines()[-1]) == {'rows': 2, 'of': 2, 'failed': []}
    assert not list(elsewhere.iterdir()), 'nothing is left where it was started'

    exp = load(path)
    for row in rows(exp):
        images, areas = read_areas(exp, row)  # refuses what does not give the row's mIoU
        assert images == [f'{index}.png' for index in range(5)]
        assert list(row['metrics']) == ['aAcc', 'mIoU', 'mAcc', *(f'IoU.{name}' for name in CLASSES)]
        assert row['metrics']['IoU.train'] is None
        assert areas[:, 2].sum() < 5 * 64 * 64, 'void pixels are in no matrix'
        assert row['train_seconds'] > 0 and row['machine']['cores'] > 0 and 'mmseg' in row['versions']
    folder = tmp_path / 'my work/FCN/seed3'
    assert settings.differences(settings.resolve(exp.arms['FCN'], 3), folder) == [], 'what mmengine left is recognised'
    assert settings.differences(settings.resolve(exp.arms['FCN'], 4), folder) == ['randomness.seed: 3 -> 4']
