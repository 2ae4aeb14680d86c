"""One import registers everything, the rooms import downwards only, and a wrong installation says what to do."""

import ast
import re
from pathlib import Path

import pytest
from house import lines_of
from in_process import python

from mmseg_sr.errors import UserError, command

PACKAGE = Path(__file__).resolve().parents[1] / 'mmseg_sr'
FLOORS = (  # imports run down only; rooms of one floor know nothing of each other, but for ALSO
    {'serving', 'report'},
    {'experiments', 'cost'},
    {'runs'},
    {'hooks'},
    {'checkpoints'},
    {'datasets', 'mini_cityscapes', 'memory', 'metrics', 'scene'},
    {'models', 'backbones'},
)
ALSO = {('experiments', 'cost')}
GROUND = {path.stem for path in PACKAGE.glob('*.py')}


def imports(path: Path) -> set[str]:
    """Absolute names of all modules that a file of the package imports."""
    package = ('mmseg_sr', *path.relative_to(PACKAGE).parts[:-1])
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = '.'.join(package[: len(package) - node.level + 1]) if node.level else ''
            module = '.'.join(part for part in (base, node.module) if part)
            found |= {f'{module}.{alias.name}' for alias in node.names}
    return found


def floor_of(room: str) -> int:
    """Floors above the ground; the ground is 0."""
    if room in GROUND:
        return 0
    return next(len(FLOORS) - index for index, rooms in enumerate(FLOORS) if room in rooms)


def below(name: str) -> str:
    """The room of a module of the package, or its own name on the ground."""
    return name.split('.')[1] if '.' in name else '__init__'


def test_the_rooms_import_downwards_only():
    files = [path for path in PACKAGE.rglob('*.py') if '.mim' not in path.parts]
    assert {path.parent.name for path in files if path.parent != PACKAGE} == set().union(*FLOORS)
    for path in files:
        room = path.relative_to(PACKAGE).parts[0].removesuffix('.py')
        for name in imports(path) if path != PACKAGE / '__init__.py' else ():
            assert name.split('.')[0] not in ('tools', 'scripts', 'projects', 'tests'), f'{path} imports {name}'
            if name.split('.')[0] == 'mmseg_sr' and (other := below(name)) != room:
                lower = floor_of(other) < floor_of(room) or floor_of(room) == 0 == floor_of(other)
                assert lower or (room, other) in ALSO, f'{path} imports {name}'
            if name.split('.')[0] == 'matplotlib':
                assert room == 'report', f'{path} imports {name}'


def test_no_two_files_of_the_package_share_a_name():
    names = [path.name for path in PACKAGE.rglob('*.py') if path.name != '__init__.py' and '.mim' not in path.parts]
    assert sorted(set(names)) == sorted(names)


def test_the_house_does_not_grow():
    texts = [path.read_text() for path in PACKAGE.rglob('*.py') if '.mim' not in path.parts]
    counts = [text.count('\n') - lines_of('docstrings', text) - lines_of('empty', text) for text in texts]
    advice = 'take as much away as a feature adds; where that cannot be, LOG.md says why, and this is raised'
    assert len(texts) <= 125 and sum(counts) <= 8550, advice
    assert max(text.count('\n') for text in texts) <= 210, 'a file that one reads at a sitting'


def test_the_block_needs_nothing_of_mmseg_but_its_registry():
    for path in (PACKAGE / 'models').glob('*.py'):
        assert {name for name in imports(path) if name.split('.')[0] == 'mmseg'} <= {'mmseg.registry.MODELS'}, path


def test_the_code_needs_no_newer_python_than_the_metadata_say(root):
    (lowest,) = re.findall(r"python_requires='>=([\d.]+)'", (root / 'setup.py').read_text())
    folders = [root / folder for folder in ('mmseg_sr', 'tools', 'scripts', 'projects')]
    python('-c', 'import vermin; vermin.main()', '--violations', '--no-tips', f'-t={lowest}-', *folders)


def test_text_files_are_utf_8_whatever_the_locale(root):
    folders = ('mmseg_sr', 'tools', 'scripts', 'benchmarks', 'projects')
    opened = r"\.(read|write)_text\(|\bopen\((.*, )?'[rwa]\+?'|TemporaryFile\('w|text=True"
    for path in (path for folder in folders for path in root.glob(f'{folder}/**/*.py')):
        if 'tests' in path.parts:
            continue
        lines = path.read_text(encoding='utf-8').splitlines()
        lines = [line for line in lines if re.search(opened, line) and '>>>' not in line and '... ' not in line]
        assert all('encoding=' in line for line in lines), path


def test_one_place_decides_how_a_bar_is_shown(root):
    folders = ('mmseg_sr', 'tools', 'scripts', 'benchmarks', 'projects')
    paths = [path for folder in folders for path in root.glob(f'{folder}/**/*.py')]
    bars = [path.name for path in paths if re.search(r'^ *(from|import) tqdm\b|\btqdm\(', path.read_text(), re.M)]
    assert bars == ['progress.py']


def test_custom_imports_is_all_a_config_needs_from_any_folder(tmp_path):
    (tmp_path / 'mine.py').write_text(
        "custom_imports = dict(imports=['mmseg_sr'])\n"
        "default_scope = 'mmseg'\n"
        'model = dict(\n'
        "    type='EncoderDecoder',\n"
        "    backbone=dict(type='SRBackbone', backbone=dict(type='ResNet', depth=18),\n"
        "                  sr=dict(after='layer3', memory_size=(4, 8))),\n"
        "    decode_head=dict(type='FCNHead', in_channels=512, channels=8, num_convs=1, num_classes=3),\n"
        ')\n'
    )
    program = (
        'from mmengine import Config\n'
        "config = Config.fromfile('mine.py')\n"
        'from mmseg.apis import init_model\n'
        "model = init_model(config, device='cpu')\n"
        'from mmengine.registry import DATASETS, HOOKS, METRICS, MODELS\n'
        'import mmseg.registry\n'
        "names = [mmseg.registry.MODELS.get('SRNeck'), MODELS.get('SRBlock'),\n"
        "         mmseg.registry.DATASETS.get('CamVidDataset'), mmseg.registry.METRICS.get('ClassIoUMetric'),\n"
        "         HOOKS.get('SRMonitorHook')]\n"
        'assert None not in names\n'
        "print('memory', tuple(model.backbone.layer3.sr.memory.shape))\n"
    )
    assert python('-c', program, cwd=tmp_path).out.splitlines()[-1] == 'memory (2, 256, 4, 8)'


@pytest.mark.parametrize(
    ('error', 'status', 'said'),
    [(UserError('no such file: a.py'), 2, 'error: no such file: a.py\n'), (KeyboardInterrupt(), 130, 'interrupted\n')],
)
def test_a_users_mistake_is_one_message_and_a_status(error, status, said, capsys):
    @command
    def main():
        raise error

    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == status
    assert capsys.readouterr().err == said


def test_a_bug_keeps_its_traceback():
    @command
    def main():
        raise ValueError('ours')

    with pytest.raises(ValueError, match='ours'):
        main()
