"""The table of configs in configs/*/README.md. numbers_in_pages.py says how it gets there."""

from functools import cache

from numbers_in_pages import ROOT, read, table
from tables_in_pages import more, report

from mmseg_sr.config import load_config
from mmseg_sr.experiments.settings import count_parameters
from mmseg_sr.openmmlab import SCHEME


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


def classifiers(data: str) -> None:
    """Write the configs of classifiers that are trained on some data."""
    models = read('configs/classification/metafile.yaml')['Models']
    lines = []
    for model in (each for each in models if each['Metadata']['Training Data'] == data):
        config, meta = _stem(model['Config']), model['Metadata']
        count = read('results/audit.json')['networks'][config]
        lines.append([f'[{config}]({config}.py)', f'{meta["Iterations"]:,}', f'{count:,}', 'not trained'])
    table('config | iterations | parameters | top-1', lines)


def _row(model: dict, measured: dict) -> dict[str, str]:
    config = model['Config']
    count = count_parameters(load_config(ROOT / config, {'model.pretrained': None}))
    weights = model.get('Weights', '').removeprefix(SCHEME)
    return {
        'config': f'[{_stem(config)}]({_stem(config)}.py)',
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
        for config, arm in ((result['config'], 'SR'), (_without(result['config']), 'baseline')):
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


def _without(config: str) -> str:
    """The config without SR of a pair."""
    return config.replace('-sr_', '_')


def _stem(config: str) -> str:
    return config.rpartition('/')[2].removesuffix('.py')
