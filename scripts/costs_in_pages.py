"""Tables of pages about configs: what each network and its block cost, what is known of them.

numbers_in_pages.py says how they get there.
"""

import csv
from functools import cache
from pathlib import Path

from experiments_in_pages import report
from numbers_in_pages import ROOT, read, rows, table

from mmseg_sr.config import load_config
from mmseg_sr.experiments.settings import count_parameters
from mmseg_sr.openmmlab import SCHEME

COSTS = [  # heads of columns, and what tools/cost.py calls them
    ('parameters', 'parameters', 'all'),
    ('without auxiliary head', 'parameters', 'without_auxiliary'),
    ('multiply-adds', 'multiply_adds', 'all'),
    ('peak memory', 'memory_mib', 'peak_training'),
    ('weights', 'memory_mib', 'weights'),
]
TIMES = {'training step': 'train', 'prediction': 'predict'}


def more(value: float, reference: float, digits: int = 2) -> str:
    """What a value has more than another, in percent."""
    return f'{100 * (value / reference - 1):+.{digits}f} %'


def slower(found: dict) -> str:
    """A ratio of times with its interval, in percent."""
    middle, low, high = (100 * (found[key] - 1) for key in ('ratio', 'low', 'high'))
    return f'{middle:+.2f} % [{low:+.2f}, {high:+.2f}]'


def cost(name: str, heads: str) -> None:
    """Write what the blocks add, by a file of tools/cost.py; ``heads`` says which columns."""
    lines = []
    for result in read(name)['results']:
        ours, base = result['rows']['SR'], result['rows']['baseline']
        cells = {'config': f'`{Path(result["config"]).stem}`', 'numbers': f'{ours["parameters"]["sr"]:,}'}
        cells |= {head: more(ours[kind][key], base[kind][key], 3) for head, kind, key in COSTS}
        cells |= {head: slower(result['ratio'][key]) for head, key in TIMES.items()}
        lines.append([cells[head] for head in heads.split(' | ')])
    table(heads, lines)


def models() -> None:
    """Write networks with configs here, what their blocks add, and the released weights."""
    lines, scores = [], {row['config']: f'{row["mIoU"]["mean"]:.2f}' for row in report('camvid_cpu')['results']}
    for result in read('results/cost.json')['results']:
        count = [result['rows'][arm]['parameters']['all'] for arm in ('SR', 'baseline')]
        config = f'[{Path(result["config"]).stem}]({result["config"]})'
        lines.append([config, f'{count[0]:,}', more(*count), scores.get(result['config'], 'not measured'), '-'])
    released = read('results/released.json')['models']
    for model in reversed(released):
        count = [each['parameters']['total'] for each in (model, released[0])]
        config, weights = f'[{Path(model["config"]).stem}]({model["config"]})', f'[safetensors]({model["weights"]})'
        added = more(*count) if model['parameters']['sr'] else '-'
        lines.append([config, f'{count[0]:,}', added, f'{model["metrics"]["mIoU"]:.2f}', weights])
    table('network | parameters | SR adds | mIoU | released weights', lines)


def zoo(folder: str, data: str) -> None:
    """Write the configs of a folder that are trained on some data: size, cost, scores, weights.

    A column in which no config has a figure is left out.
    """
    models = [
        each for each in read(f'configs/{folder}/metafile.yaml')['Models'] if each['Metadata']['Training Data'] == data
    ]
    found = [_row(each, _measured().get(each['Config'], {})) for each in models]
    heads = [head for head in found[0] if any(row[head] != '-' for row in found)]
    table(' | '.join(heads), [[row[head] for head in heads] for row in found])


def _row(model: dict, measured: dict) -> dict[str, str]:
    name = Path(model['Config']).stem
    count = count_parameters(load_config(ROOT / model['Config'], {'model.pretrained': None}))
    weights = model.get('Weights', '').removeprefix(SCHEME)
    return {
        'config': f'[{name}]({name}.py)',
        'iterations': f'{model["Metadata"]["Iterations"]:,}',
        'parameters': f'{count["total"]:,}',
        'SR adds': more(count['total'], count['total'] - count['sr']) if count['sr'] else '-',
        'training, MiB': measured.get('memory', '-'),
        'images/s': measured.get('speed', '-'),
        'mIoU': measured.get('mIoU', 'not trained'),
        'mIoU in the paper': measured.get('paper', '-'),
        'download': f'[safetensors](../../{weights})' if weights else '-',
    }


@cache
def _measured() -> dict[str, dict[str, str]]:
    """What files say of each config, by its path."""
    found: dict[str, dict[str, str]] = {}
    for result in read('results/cost.json')['results']:
        for config, arm in ((result['config'], 'SR'), (result['config'].replace('-sr_', '_'), 'baseline')):
            row = result['rows'][arm]
            memory, speed = row['memory_mib']['peak_training'], row['predict']['images_per_second']
            found[config] = {'memory': f'{memory:,.0f}', 'speed': f'{speed:.2f}'}
    for arm in read('experiments/table4.yaml')['arms'].values():
        found.setdefault(arm['config'], {})['paper'] = '{:.2f} ± {:.2f}'.format(*arm['paper']['mIoU'])
    for model in read('results/released.json')['models']:
        found.setdefault(model['config'], {})['mIoU'] = f'{model["metrics"]["mIoU"]:.2f}, 1 seed'
    for experiment in ('camvid_cpu', 'camvid_rank', 'scene_mini'):  # of a config in two, the first one's
        for row in (row for row in report(experiment)['results'] if row['mode'] == 'single-scale'):
            score = f'{row["mIoU"]["mean"]:.2f} ± {row["mIoU"]["std"]:.2f}, {len(row["seeds"])} seeds'
            found.setdefault(row['config'], {}).setdefault('mIoU', score)
    return found


def classifiers(data: str) -> None:
    """Write the configs of classifiers that are trained on some data."""
    models = read('configs/classification/metafile.yaml')['Models']
    lines = []
    for model in (each for each in models if each['Metadata']['Training Data'] == data):
        config, meta = Path(model['Config']).stem, model['Metadata']
        count = read('results/audit.json')['networks'][config]
        lines.append([f'[{config}]({config}.py)', f'{meta["Iterations"]:,}', f'{count:,}', 'not trained'])
    table('config | iterations | parameters | top-1', lines)


def audit(name: str) -> None:
    """Write what the classifiers of a table of the paper have more than the stock networks, beside its figures."""
    lines = []
    for row in (row for row in read('results/audit.json')['rows'] if row['table'] == name):
        built = f'{row["percent"]:.3f} %'
        if row['quarter']:
            built += f', of a quarter {row["percent_of_quarter"]:.3f} %'
        fits = 'yes' if row['rounds'] else f'no; it would {row["fits"]}'
        lines.append([row['row'], row['M'] or '-', row['P'] or '-', f'{row["published"]:.2f} %', built, fits])
    table('network | after stage | P | paper | as built | rounds to it', lines)


def block_speed(name: str) -> None:
    """Write the times of the block alone, over the least that its memory traffic takes and over the block's own."""
    with open(ROOT / name, newline='', encoding='utf-8') as file:
        found = [row for row in csv.DictReader(file) if row['form'] in ('SR', 'rank 16', 'naive', 'SE', 'CBAM')]
    there, back = ([row for row in found if row['passes'] == passes] for passes in ('forward', 'forward + backward'))
    lines = []
    for row, both in zip(there, back, strict=True):
        case = [row[key] for key in ('form', 'shape', 'memory', 'P')]
        lines.append([*case, *(f'{float(each):.2f}' for each in (row['ratio'], both['ratio'], both['to_SR']))])
    heads = 'block | map (N, C, h, w) | memory (H, W) | P | forward / limit | forward + backward / limit'
    table(f'{heads} | / SR', lines)


def sizes(network: str) -> None:
    """Write what a network and its block score at sizes that they were not trained at."""
    heads = 'image | tested | memory | mIoU | block | 95 % | labels | weights'
    cells = '{size[0]}x{size[1]} | {mode} | {memory_size[0]}x{memory_size[1]} | {mIoU:.2f} | {block[mIoU]:+.3f}'
    cells += ' | [{block[low]:+.3f}, {block[high]:+.3f}] | {labels:.2%} | {weights:.3f}'
    rows('results/other_sizes.json', f'networks/{network}', heads, cells)


def moved(name: str) -> None:
    """Write what it costs to resize a memory."""
    lines = []
    for network, row in ((network, row) for network, each in read(name)['networks'].items() for row in each):
        if row['moved'] is not None:
            places = ['{}x{}'.format(*row[key]) for key in ('size', 'memory_size')]
            lines.append([network, *places, f'{100 * row["moved"]:.2f} %'])
    table('network | image | memory | other labels', lines)
