"""Hold the parameters that this project's classifiers have more than the stock networks against the paper's tables.

    python scripts/audit.py --out results/audit.json

Each row with a published overhead is built as its experiment says (experiments/cifar100.yaml, table2.yaml,
imagenet.yaml, cifar10.yaml), and so is the network with nothing in it. Biases of SR blocks do not count, as in Eq. (1)
of the paper.
Where a row does not round to the published figure, `fits` says with how many memories, or in which network, it would.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

from torch import nn

from mmseg_sr.atomic import check_file, write_text
from mmseg_sr.config import load_config
from mmseg_sr.errors import command
from mmseg_sr.experiments.plan import Arm, Experiment, load
from mmseg_sr.experiments.settings import resolve
from mmseg_sr.models.find import sr_blocks
from mmseg_sr.openmmlab import HOME
from mmseg_sr.runs.models import build_model

# Published overheads in percent, by table and experiment, of the arms that have one, in their order.
PUBLISHED = {
    ('I', 'cifar100'): (1.47, 0.88, 0.30, 0.15, 0.16, 0.46, 0.16, 0.46, 0.21, 0.55, 0.14, 0.14, 0.42, 0.10),
    ('II', 'table2'): (0.78, 1.66, 0.79, 1.09, 0.74, 1.05, 0.76, 0.84, 10.61, 12.28, 10.68, 11.24),
    ('III', 'imagenet'): (1.59, 1.59, 7.87, 15.73, 6.31, 7.87),
    ('V', 'cifar10'): (0.89, 1.48, 0.45, 0.34, 0.77, 0.23, 0.08, 0.62, 0.15, 0.42, 0.15, 0.42, 0.10, 0.48),
}
QUARTER = {'SR3': 'layer3.5.bn2', 'SR4': 'layer4.2.bn2'}  # in the last bottleneck, of a quarter of the stage's channels
MOST = 20  # memories, the paper's largest number


def parameters(model: nn.Module) -> int:
    """Count the parameters of a network but for the biases of its SR blocks."""
    blocks = sr_blocks(model).values()
    biases = [each for block in blocks for name, each in block.named_parameters() if name.endswith('bias')]
    return sum(each.numel() for each in model.parameters()) - sum(each.numel() for each in biases)


def counted(arm: Arm, **options: object) -> int:
    """Build the network of an arm, with other options, and count its parameters."""
    return parameters(build_model(resolve(replace(arm, options={**arm.options, **options}))))


def row(table: str, arm: Arm, base: int, published: float) -> dict:
    """Compare a row of a table with its network as built."""
    use = arm.options['model.backbone.use']
    block = next((name for name in use if name.startswith('SR')), None)
    memories = f'model.backbone.insert.{block}.num_memories'
    found = {'table': table, 'row': arm.name, 'M': block and int(block[2:]), 'P': arm.options.get(memories)}
    found |= {'base': base, 'published': published, 'extra': counted(arm) - base, 'quarter': None, 'fits': None}
    options = {}
    if arm.name.startswith('R50') and table in ('I', 'V'):
        options[f'model.backbone.insert.{block}.after'] = QUARTER[block]
        found['quarter'] = counted(arm, **options) - base
    extra = found['quarter'] or found['extra']
    found |= {'percent': round(100 * found['extra'] / base, 3)}
    found |= {'percent_of_quarter': found['quarter'] and round(100 * found['quarter'] / base, 3)}
    found['rounds'] = f'{100 * extra / base:.2f}' == f'{published:.2f}'
    if not found['rounds']:
        each = counted(arm, **options, **{memories: found['P'] + 1}) - base - extra
        found['fits'] = fitting(extra, each, found['P'], base, published)
    return found


def fitting(extra: int, each: int, memories: int, base: int, published: float) -> str:
    """Say with how many memories, which cost ``each``, or in a network of which size it would round to the figure."""
    totals = {count: extra + (count - memories) * each for count in range(1, MOST + 1)}
    fits = [str(count) for count, total in totals.items() if f'{100 * total / base:.2f}' == f'{published:.2f}']
    low, high = (100 * extra / (published + half) / 1e6 for half in (0.005, -0.005))
    return f'with P = {" or ".join(fits)}' if fits else f'in a network of {low:.2f} to {high:.2f} million'


def rows(table: str, experiment: Experiment, published: tuple[float, ...]) -> list[dict]:
    """Compare all rows of a table."""
    attention = {'SE', 'CBAM'}
    arms = [
        arm
        for arm in experiment.arms.values()
        if any(name.startswith('SR') or name in attention for name in arm.options.get('model.backbone.use', ()))
    ]
    bases = {name: counted(arm) for name, arm in experiment.arms.items() if not arm.options}
    return [
        row(table, arm, bases[arm.name.partition('+')[0]], figure) for arm, figure in zip(arms, published, strict=True)
    ]


@command
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, required=True, metavar='FILE.json', help='file to write')
    args = parser.parse_args()
    check_file('--out', args.out)
    found = [
        each
        for (table, name), published in PUBLISHED.items()
        for each in rows(table, load(HOME / f'experiments/{name}.yaml'), published)
    ]
    configs = sorted((HOME / 'configs/classification').glob('*.py'))
    document = {'command': 'python scripts/audit.py --out results/audit.json', 'of': len(found)}
    document['fit'] = sum(each['rounds'] for each in found)
    document['networks'] = {path.stem: parameters(build_model(load_config(path))) for path in configs}
    document['rows'] = found
    write_text(args.out, json.dumps(document, indent=1) + '\n')
    print(f'{document["fit"]} of {document["of"]} rows round to the published figure')


if __name__ == '__main__':
    main()
