"""Tables and sentences of pages about experiments. numbers_in_pages.py says how they get there."""

from pathlib import Path

from numbers_in_pages import ROOT, read, show, table

from mmseg_sr.experiments.markdown import corrected, interval
from mmseg_sr.experiments.plan import load
from mmseg_sr.experiments.seeds import plan_seeds, to_markdown


def report(experiment: str) -> dict:
    """What `tools/experiment.py report` wrote."""
    return read(f'results/{experiment}/report.json')


def of_primary(experiment: str) -> list[dict]:
    """The differences in a report of the metric that its question is about."""
    found = report(experiment)
    return [row for row in found['differences'] if row['metric'] == found['primary']['metric']]


def results(experiment: str) -> None:
    """Write the scores of all networks of an experiment."""
    lines = []
    for row in report(experiment)['results']:
        scores = [f'{row[name]["mean"]:.2f} ± {row[name]["std"]:.2f}' for name in ('mIoU', 'mAcc', 'aAcc')]
        overhead = '-' if row['parameter_overhead'] is None else f'{row["parameter_overhead"]:+.2f} %'
        seeds = f'{len(row["seeds"])} of {row["of"]}'
        lines.append([row['arm'], seeds, *scores, f'{row["parameters"]["total"]:,}', overhead])
    table('network | seeds | mIoU | mAcc | aAcc | parameters | more', lines)


def differences(*experiments: str) -> None:
    """Write the differences of mIoU to the baseline, with their intervals over seeds, and the verdicts."""
    lines = []
    for row in (row for experiment in experiments for row in of_primary(experiment)):
        line = [row['arm'], row['mode'], row['seeds'], f'{row["difference"]:+.2f}']
        lines.append([*line, interval(row['over_seeds']) + corrected(row), row['verdict'] or 'also looked at'])
    table('network | tested on | seeds | mIoU | 95 % over seeds | verdict', lines)


def screening(experiment: str) -> None:
    """Write the differences of mIoU alone: a row a network, a column a way of testing."""
    found = {(row['arm'], row['mode']): f'{row["difference"]:+.2f}' for row in of_primary(experiment)}
    modes = dict.fromkeys(mode for _, mode in found)
    lines = [[arm, *(found[arm, mode] for mode in modes)] for arm in dict.fromkeys(arm for arm, _ in found)]
    table(' | '.join(['network', *modes]), lines)


def verdict(text: str, experiment: str, arm: str) -> None:
    """Write a sentence: the difference of a network to its baseline, its interval over seeds, the verdict."""
    (row,) = (row for row in of_primary(experiment) if row['arm'] == arm)
    over = row['over_seeds']
    change = f'{row["difference"]:+.2f} {row["metric"]} '
    change += f'({row["seeds"]} seeds, 95 % interval {interval(over)}{corrected(row)})'
    show(f'{text} {change}: **{row["verdict"]}**.')


def summary() -> None:
    """Write what the README says of all experiments."""
    lines = []
    for data, what, experiment, arm in [
        ('CamVid', 'the block of the paper', 'camvid_cpu', 'SR'),
        ('CamVid', 'memory of rank 16', 'camvid_rank', 'SR-rank16'),
        ('CamVid', 'the block of the paper, ResNet-50', 'camvid_r50', 'FCN-SR'),
        ('IDD-Lite', 'the block of the paper', 'recall_idd_lite', 'SR'),
        ('drawn streets', 'the block of the paper', 'scene_mini', 'SR'),
        ('drawn streets', 'memory of the scene, rank 16', 'scene_mini', 'placed-rank16'),
        ('drawn streets', 'the same, 6,000 iterations', 'scene_lasting', 'placed-rank16-6k'),
        ('CIFAR-100, a part', 'narrow ResNet-18', 'cifar100_small', 'R18+SR'),
    ]:
        (row,) = (row for row in of_primary(experiment) if row['arm'] == arm)
        means = {each['arm']: f'{each[row["metric"]]["mean"]:.2f}' for each in report(experiment)['results']}
        change = f'{row["difference"]:+.2f} {interval(row["over_seeds"])}'
        scores = [means[row['baseline']], means[arm], change, row['verdict']]
        lines.append([data, f'[{what}](results/{experiment}/report.md)', row['metric'], row['seeds'], *scores])
    lines.append(['Cityscapes', '[Table IV of the paper](experiments/table4.yaml)', 'mIoU', *'----', 'not measured'])
    table('data | with SR | metric | seeds | without | with | difference, corrected 95 % over seeds | verdict', lines)


def planned(experiment: str, gain: float) -> None:
    """Write what tools/experiment.py plan says of an experiment that nobody has run."""
    show(to_markdown(plan_seeds(load(ROOT / experiment, '/nowhere'), [], gain)))


def paper(name: str) -> None:
    """Write what the paper publishes of the networks of an experiment."""
    found = {arm: row['paper'] for arm, row in read(name)['arms'].items()}
    lines = [
        [arm, *('{:.2f} ± {:.2f}'.format(*row[score]) for score in ('mIoU', 'mAcc'))] for arm, row in found.items()
    ]
    table('network, in the paper | mIoU | mAcc', lines)


def on_two_machines(here: str, there: str) -> None:
    """Write the differences of seed 0 to the baseline in two reports of an experiment."""
    columns = []
    for found in map(read, (here, there)):
        scores = {row['arm']: row['mIoU']['values'][0] for row in found['results'] if 0 in row['seeds']}
        base = scores.pop(found['results'][0]['baseline'])
        columns.append({arm: f'{score - base:+.2f}' for arm, score in scores.items()})
    table('network | on one machine | on another', [[arm, columns[0][arm], both] for arm, both in columns[1].items()])


def ablation(name: str, digits: int) -> None:
    """Write what one trained network scores with its blocks changed, or several do, by a file of tools/ablate.py."""
    found, lines = read(name), []
    several = len(found['checkpoints']) > 1
    for variant, row in found['variants'].items():
        if 'memory' not in variant:
            metric = next(iter(row['change']))
            score = row[metric]['mean'] if several else row[metric]
            change = f'{row["change"][metric]:+.{digits}f}'
            lines.append([variant, f'{score:.2f}', change, interval(row['change'], digits)])
    table(f'SR blocks | {metric} | change | 95 % over {"seeds" if several else "images"}', lines)


def ablations(folder: str, *arms: str) -> None:
    """Write how the mIoU of trained networks changes with their blocks changed: a row a network, in order of seeds."""
    kinds, lines = ('removed', 'static recall', 'shuffled'), []
    for arm in arms:
        for seed, found in enumerate(read(f'{folder}/{arm}-ablation.json')['checkpoints']):
            changes = [found['variants'][kind]['change'] for kind in kinds]
            lines.append([arm, seed, *(f'{each["mIoU"]:+.3f} {interval(each, 3)}' for each in changes)])
    table(f'network | seed | {" | ".join(kinds)}', lines)


def memories(folder: str, *arms: str) -> None:
    """Write what trained memories add, how alike they are and how many an image recalls, by tools/visualize_sr.py."""
    lines = []
    for arm in arms:
        (block,) = read(f'{folder}/{arm}/memory.json')['blocks'].values()
        alike = min(min(row) for row in block['similarity'])
        use = block['usage']
        cells = [f'{100 * block["shift"]["mean"]:.3f} %', f'{alike:.2f}', f'{use["per_image"]:.2f}']
        lines.append([arm, *cells, f'{use["distinct"]:.3f}'])
    table(
        'network | adds, of the norm of the map | least similarity | memories in a mixture | different mixtures', lines
    )


def prior(*names: str) -> None:
    """Write the scores with a prior of the place: a row a weight, a column a file."""
    found = [read(name)['rows'] for name in names]
    lines = [[each[0]['weight'], *(f'{row["mIoU"]:.2f}' for row in each)] for each in zip(*found, strict=True)]
    table(' | '.join(['weight', *(f'mIoU, {Path(name).stem.removeprefix("prior-")}' for name in names)]), lines)


def methods() -> None:
    """Write how often a verdict is false and a gain is found: a row a size of experiment, a column a method."""
    found = read('results/verdicts.json')['methods']
    names = list(dict.fromkeys(row['method'] for row in found))
    cells = {(row['seeds'], row['arms'], row['method']): f'{row["false"]:.1f} / {row["power"]:.0f} %' for row in found}
    sizes = dict.fromkeys((row['seeds'], row['arms']) for row in found)
    heads = ' | '.join(['seeds', 'arms', *(f'{name}: false / found' for name in names)])
    table(heads, [[*size, *(cells[(*size, name)] for name in names)] for size in sizes])


def forms() -> None:
    """Write how often a verdict has each form, by what is true."""
    found = read('results/verdicts.json')['forms']
    names = sorted({name for row in found for name in row if name != 'truth'})
    lines = [[row['truth'], *(f'{row.get(name, 0):.1f} %' for name in names)] for row in found]
    table(' | '.join(['true is', *names]), lines)
