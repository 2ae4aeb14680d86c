"""Whatever is given to a constructor or to a tool, a mistake is one clear message: ValueError, or exit status 2."""

from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from in_process import call
from mmengine.registry import HOOKS, init_default_scope
from mmseg.registry import MODELS
from tiny_config import SR, write_config

from mmseg_sr import LossGuardHook, SRBackbone, SRBlock, SRMonitorHook, SRNeck
from mmseg_sr.config import load_config, prepare

GOOD = dict(in_channels=4, memory_size=(2, 3), num_memories=2, hidden_channels=3, resize=True)
RESNET = dict(type='ResNet', depth=18, base_channels=4)

# Values of all kinds that is none of a size's: small, as a wrong one must not be made before it is refused.
wrong_types = st.one_of(
    st.none(), st.booleans(), st.floats(), st.text(max_size=5), st.binary(max_size=3), st.complex_numbers(),
    st.lists(st.integers(1, 3), max_size=3), st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
    st.just(torch.tensor(3)), st.just(int), st.just(range(2)),
)  # fmt: skip
too_small = st.integers(max_value=0)
too_large = st.integers(min_value=2**31, max_value=2**80)
wrong_sizes = st.one_of(wrong_types, too_small, too_large)
few = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))


def message(build, *args, **kwargs) -> str:
    """What the ValueError says, which must be that and a short one."""
    with pytest.raises(ValueError) as error:
        build(*args, **kwargs)
    assert type(error.value) is ValueError
    assert 10 < len(str(error.value)) < 1500
    return str(error.value)


@few
@given(st.sampled_from(['in_channels', 'num_memories', 'hidden_channels', 'memory_rank']), wrong_sizes)
@example('in_channels', 2.5)
@example('hidden_channels', '16')
@example('memory_rank', 5)
def test_a_block_takes_positive_integers_only(name, value):
    assume((name, value) != ('memory_rank', None))
    said = message(SRBlock, **{**GOOD, name: value})
    if type(value) is not int or value < 1:
        assert said == f'{name} must be a positive integer, got {value!r}'
    else:
        assert 'would have' in said or said.startswith(f'memory_rank={value} is above min(C, H*W) = 4')


@few
@given(wrong_types.filter(lambda value: not isinstance(value, list) or len(value) != 2))
@example(4)
@example('23')
@example((4, 5, 6))
def test_a_memory_size_is_a_pair(value):
    said = message(SRBlock, **{**GOOD, 'memory_size': value})
    assert said == f'memory_size must be (H, W), the height and width of the feature map, got {value!r}'


@few
@given(st.sampled_from(['height', 'width']), wrong_sizes)
@example('height', True)
@example('width', 2**28)
def test_a_height_and_a_width_are_positive_integers(side, value):
    said = message(SRBlock, **{**GOOD, 'memory_size': (value, 3) if side == 'height' else (2, value)})
    wanted = f'the {side} in memory_size must be a positive integer, got {value!r}'
    assert said == wanted or type(value) is int and value > 0 and 'memory_size' in said and 'would have' in said


@few
@given(wrong_types.filter(lambda value: not isinstance(value, bool)))
def test_resize_is_true_or_false(value):
    assert 'resize must be True or False' in message(SRBlock, **{**GOOD, 'resize': value})


@few
@given(wrong_types.filter(lambda value: value is not None and value != []))
@example([dict(type='Constant', val=1), 3])
@example(dict(type='Constand', val=1))
@example(dict(val=1))
def test_an_init_cfg_is_a_config(value):
    for build, options in (
        (SRBlock, GOOD),
        (SRNeck, dict(in_channels=[4], sr=dict(in_index=0, memory_size=(2, 2)))),
        (SRBackbone, dict(backbone=RESNET, sr=dict(after='layer3', memory_size=(2, 2)))),
    ):
        assert 'init_cfg' in message(build, **options, init_cfg=value)


@settings(max_examples=30, deadline=None)
@given(*(st.integers(1, 5) for _ in range(5)), st.booleans(), st.booleans())
def test_good_options_are_taken(channels, height, width, memories, hidden, resize, as_list):
    size = [height, width] if as_list else (height, width)
    block = SRBlock(channels, size, memories, hidden, resize)
    assert block.memory.shape == (memories, channels, height, width)


BLOCK = dict(memory_size=(2, 2))
WRONG_SR = {
    'None': (None, 'sr must be the options'),
    'nothing': ([], 'sr must be the options'),
    'a name': ('layer3', 'sr must be the options'),
    'a number in a list': ([3], 'sr must be the options'),
    'no size': ({}, 'memory_size'),
    'another name': (dict(BLOCK, memory_blocks=3), 'memory_blocks'),
    'another type': (dict(BLOCK, type='NoBlock'), 'NoBlock'),
    'no type': (dict(BLOCK, type=3), 'sr: cannot build'),
    'other channels': (dict(BLOCK, in_channels=5), 'in_channels=5'),
    'a wrong value': (dict(BLOCK, num_memories=0), 'num_memories must be a positive integer, got 0'),
}


@pytest.mark.parametrize(('sr', 'words'), WRONG_SR.values(), ids=WRONG_SR)
def test_options_of_a_block_in_a_config_are_checked(sr, words):
    init_default_scope('mmseg')
    places = (
        (lambda sr: MODELS.build(dict(type='SRBackbone', backbone=RESNET, sr=sr)), 'after', 'layer3'),
        (lambda sr: MODELS.build(dict(type='SRNeck', in_channels=[16], sr=sr)), 'in_index', 0),
    )
    for build, key, place in places:
        assert words in message(build, {**sr, key: place} if isinstance(sr, dict) else sr)


@few
@given(wrong_types | st.integers())
def test_a_place_for_a_block_is_one_that_there_is(value):
    assert 'layer1, layer2, layer3' in message(SRBackbone, backbone=RESNET, sr=dict(BLOCK, after=value))
    if type(value) is not int or value not in range(2):
        assert f'in_index must be in 0 .. 1, got {value!r}' in message(
            SRNeck, in_channels=[4, 4], sr=dict(BLOCK, in_index=value)
        )


@few
@given(wrong_types | st.integers())
def test_what_a_neck_and_a_backbone_are_built_from_is_checked(value):
    sr = dict(BLOCK, in_index=0)
    if not (isinstance(value, list) and value):
        assert 'in_channels' in message(SRNeck, in_channels=value, sr=sr)
    assert 'in_channels' in message(SRNeck, in_channels=[4, 0], sr=sr)
    if value is not None:
        assert 'neck must be a config' in message(SRNeck, in_channels=[4], sr=sr, neck=value)
    assert 'backbone must be a config' in message(SRBackbone, backbone=value, sr=dict(BLOCK, after='layer3'))
    if not isinstance(value, (str, type(None))):
        assert 'pretrained must be' in message(
            SRBackbone, backbone=RESNET, sr=dict(BLOCK, after='layer3'), pretrained=value
        )


@few
@given(wrong_types | st.integers(max_value=-1))
def test_hooks_take_counts_only(value):
    assert 'max_skips must be an integer from 0' in message(LossGuardHook, max_skips=value)
    for name in ('interval', 'patience'):
        for count in (value, 0):
            assert f'{name} must be a positive integer' in message(SRMonitorHook, **{name: count})


def test_an_option_that_a_hook_does_not_have_is_named():
    for kind in ('SRMonitorHook', 'LossGuardHook', 'DataGuardHook', 'PreemptionHook', 'ExactResumeHook'):
        with pytest.raises(TypeError, match=f'{kind}.*(takes no arguments|intervall)'):
            HOOKS.build(dict(type=kind, intervall=3))


TWO = ['{config}', '{home}/none.pth']  # an option is refused before the checkpoint is looked for
AT_LEAST_ONE = {
    ('ablate', '--num-train'): TWO,
    ('ablate', '--num-val'): TWO,
    ('check_dataset', '--workers'): ['{config}'],
    ('cost', '--batch'): ['{config}'],
    ('cost', '--rounds'): ['{config}'],
    ('cost', '--threads'): ['{config}'],
    ('demo', '--frames'): ['--out', '{home}/demo', '{value}'],
    ('export', '--num-frames'): [*TWO, '--dynamic'],
    ('experiment', '--jobs'): ['run', '{experiment}', '--print-commands'],
    ('make_mini_cityscapes', '--train'): ['{home}/drawn'],
    ('make_mini_cityscapes', '--val'): ['{home}/drawn'],
    ('make_mini_cityscapes', '--size'): ['{home}/drawn', '{value}'],
    ('predict', '--batch'): ['{config}', '{checkpoint}', '{home}', '--out', '{home}/predicted'],
    ('predict', '--stride'): ['{config}', '{checkpoint}', '{home}', '--mode', 'slide', '{value}'],
    ('predict', '--window'): ['{config}', '{checkpoint}', '{home}', '--mode', 'slide', '{value}'],
    ('prepare_cityscapes', '--jobs'): ['{home}'],
    ('visualize_sr', '--num-images'): TWO,
    ('visualize_sr', '--pictures'): TWO,
    ('visualize_sr', '--dpi'): TWO,
}
AT_LEAST_ZERO = {
    ('make_mini_cityscapes', '--seed'): ['{home}/drawn'],
    ('report_page', '--pictures'): TWO,
    ('report_page', '--num-images'): TWO,
    ('train', '--seed'): ['{config}'],
}
BOUNDED = ['--frames', '--train', '--val', '--size', '--dpi']  # of what else is there in any number, all is taken
FOLDERS = {
    ('demo', '--out'): [],
    ('experiment', '--out'): ['report', '{experiment}'],
    ('experiment', '--work-dir'): ['run', '{experiment}'],
    ('make_mini_cityscapes', ''): [],
    ('predict', '--out'): ['{config}', '{checkpoint}', '{home}'],
    ('prepare_cifar', '--out'): ['{config}'],
    ('prepare_cityscapes', '--out'): ['{home}/cityscapes'],
    ('publish_model', '--out'): ['{checkpoint}', '--config', '{config}'],
    ('test', '--out'): ['{config}', '{checkpoint}'],
    ('test', '--show-dir'): ['{config}', '{checkpoint}'],
    ('test', '--work-dir'): ['{config}', '{checkpoint}'],
    ('train', '--work-dir'): ['{config}'],
    ('visualize_sr', '--out'): TWO,
}
FILES = {
    ('ablate', '--out'): TWO,
    ('check_dataset', '--out'): ['{config}'],
    ('cost', '--out'): ['{config}'],
    ('draw_block', ''): [],
    ('draw_street', ''): [],
    ('export', '--out'): ['{config}', '{checkpoint}', '--dynamic'],
    ('report_page', '--out'): TWO,
    ('test', '--confusion'): TWO,
    ('test', '--metrics'): TWO,
}
GIVEN = {
    ('ablate', ''): ['{config}'],
    ('app', ''): ['{config}'],
    ('check_dataset', ''): [],
    ('cost', ''): [],
    ('experiment', ''): ['run'],
    ('export', ''): ['{config}'],
    ('predict', ''): ['{config}', '{value!s}', '--out', '{home}/predicted'],  # which is the image too
    ('prepare_cifar', ''): ['--out', '{home}/prepared'],
    ('prepare_cityscapes', ''): ['--out', '{home}/prepared'],
    ('inspect_checkpoint', ''): [],
    ('publish_model', ''): ['--out', '{home}/published'],
    ('publish_model', '--metrics'): ['{checkpoint}', '--out', '{home}/published'],
    ('report_page', ''): ['{config}'],
    ('report_page', '--metrics'): ['{config}', '{checkpoint}'],
    ('test', ''): ['{config}'],
    ('train', ''): [],
    ('train', '--resume'): ['{config}'],
    ('visualize_sr', ''): ['{config}'],
    ('visualize_sr', '--images'): ['{config}', '{checkpoint}'],
}
EXPERIMENT = """
name: tiny
work_dir: {home}/runs
baseline: a
seeds: [0]
arms: {{a: {{config: {config}}}, b: {{config: {config}}}}}
"""


@pytest.fixture(scope='module')
def places(tmp_path_factory) -> dict[str, str]:
    home = tmp_path_factory.mktemp('home')
    config = write_config(home, extra=SR)
    init_default_scope('mmseg')
    model = MODELS.build(prepare(load_config(config)).model)
    (home / 'experiment.yaml').write_text(EXPERIMENT.format(home=home, config=config))
    torch.save({'meta': {}, 'state_dict': model.state_dict()}, home / 'model.pth')
    (home / 'cityscapes/leftImg8bit').mkdir(parents=True)
    (home / 'file').write_bytes(bytes(range(256)))
    files = {'config': config, 'checkpoint': home / 'model.pth', 'experiment': home / 'experiment.yaml'}
    return {name: str(path) for name, path in {'home': home, **files}.items()}


def no_integer(text: str) -> bool:
    try:
        int(text)
    except ValueError:
        return True
    return False


def refused(places: dict, tool: str, option: str, arguments: list[str], value: object) -> None:
    """Call a tool with a wrong value of an option: its one message names the option or the value."""
    words = [option] * bool(option) + [str(value)]
    words = [each.format(**places, value=value) for each in arguments if each != '{value}'] + words
    words += ['7'] * ('{value}' in arguments)  # the second of two numbers
    done = call(tool, *words, folder=Path(places['home']))
    said = done.mistake
    assert not done.out.rstrip().endswith('}')
    assert str(value) in said or option.strip('-').split('-')[0] in said.lower(), said


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_a_number_out_of_range_is_refused_at_once(places, data):
    tables = ((AT_LEAST_ONE, 0), (AT_LEAST_ZERO, -1))
    (tool, option), arguments, highest = data.draw(
        st.sampled_from([(*item, highest) for table, highest in tables for item in table.items()])
    )
    wrong = st.integers(max_value=highest) | st.floats().map(str) | st.text(max_size=4).filter(no_integer)
    if option in BOUNDED:
        wrong |= st.integers(min_value=10**7)
    refused(places, tool, option, arguments, data.draw(wrong))


@pytest.mark.parametrize('seed', [-1, 2**32])
def test_a_wrong_seed_leaves_no_folder(places, seed):
    before = sorted(Path(places['home']).rglob('*'))
    refused(places, 'train', '--seed', ['{config}'], seed)
    assert sorted(Path(places['home']).rglob('*')) == before


@pytest.mark.parametrize(('tool', 'option'), FOLDERS)
@pytest.mark.parametrize('value', ['{home}/file', '{home}/file/below', '/proc/nowhere'])
def test_a_folder_that_cannot_be_is_refused(places, tool, option, value):
    refused(places, tool, option, FOLDERS[tool, option], value.format(**places))


@pytest.mark.parametrize(('tool', 'option'), FILES)
@pytest.mark.parametrize('value', ['{home}', '{home}/file/below.png', '', '/proc/nowhere/a.npz', '/dev/null'])
def test_a_file_that_cannot_be_written_is_refused(places, tool, option, value):
    refused(places, tool, option, FILES[tool, option], value.format(**places))


@pytest.mark.parametrize('tool', ['export', 'report_page', 'visualize_sr'])
def test_the_place_that_a_config_gives_is_tried_too(places, tool):
    words = [word.format(**places) for word in (*TWO, '--cfg-options', 'work_dir={home}/file')]
    said = call(tool, *words, folder=Path(places['home'])).mistake
    assert '--out' in said and f'{places["home"]}/file/' in said


@pytest.mark.parametrize(('tool', 'option'), GIVEN)
@pytest.mark.parametrize('value', ['{home}/none', '{home}/file'])
def test_a_file_that_is_not_there_or_something_else_is_refused(places, tool, option, value):
    before = sorted(Path(places['home']).rglob('*'))
    refused(places, tool, option, GIVEN[tool, option], value.format(**places))
    assert sorted(Path(places['home']).rglob('*')) == before


TOOLS = sorted({tool for table in (AT_LEAST_ONE, AT_LEAST_ZERO, FOLDERS, FILES, GIVEN) for tool, _ in table})


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(TOOLS), st.from_regex('--[a-z]{9,12}', fullmatch=True))
def test_an_option_that_there_is_not_is_refused(places, tool, option):
    assert call(tool, option, folder=Path(places['home'])).mistake


def test_every_tool_is_here(root):
    scripts = {path.stem for path in (root / 'tools').glob('[!_]*.py')}
    assert scripts <= set(TOOLS)
