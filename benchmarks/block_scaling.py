"""How does the time of the SR block grow with N, P, C and the area of the map? It must grow linearly, or slower.

    python benchmarks/block_scaling.py results/block_scaling.csv
    python benchmarks/block_scaling.py results/block_scaling.csv --draw

One number is doubled at a time, the others stay at (2, 512, 32, 64), P = 4, all sizes of a number in turn. `exponent`
is the slope of a straight line through the upper half of the sizes: 1 is linear; less where a part of the cost does not
depend on it, as the memory's gradient on N. Beside the CSV a log-log plot is drawn, results/block_scaling.png; --draw
draws it from a CSV that is there.
"""

import argparse
import csv
import json
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from torch import nn

from mmseg_sr import SRBlock
from mmseg_sr.atomic import replacing, write_csv
from mmseg_sr.cost.timing import in_turn, spread
from mmseg_sr.errors import UserError, command
from mmseg_sr.provenance import provenance

BASE = {'N': 2, 'P': 4, 'C': 512, 'area': 32 * 64}
SIZES = {
    'N': [1, 2, 4, 8, 16],
    'P': [1, 2, 4, 8, 16, 32],
    'C': [128, 256, 512, 1024, 2048],
    'area': [16 * 32, 32 * 32, 32 * 64, 64 * 64, 64 * 128],
}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path, metavar='FILE.csv', help='where the numbers go')
    parser.add_argument('--draw', action='store_true', help='measure nothing: draw what FILE.csv has')
    parser.add_argument('--rounds', type=int, default=20, help='how often each size is timed')
    parser.add_argument('--threads', type=int, default=torch.get_num_threads(), help='threads on a CPU')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    return parser.parse_args()


def step(sizes: dict[str, int], device: str):
    """Make a function that runs a forward and backward pass at some sizes."""
    height = 2 ** (int(np.log2(sizes['area'])) // 2)
    shape = (sizes['N'], sizes['C'], height, sizes['area'] // height)
    block = SRBlock(sizes['C'], shape[2:], sizes['P']).to(device)
    nn.init.normal_(block.memory)
    x = torch.randn(shape, device=device, requires_grad=True)
    direction = torch.randn_like(x)

    def run() -> None:
        x.grad = None
        block.zero_grad(set_to_none=True)
        block(x).backward(direction)

    return run


def measure(args: argparse.Namespace) -> list[dict]:
    """Time every size; a row each."""
    torch.set_num_threads(args.threads)
    source = provenance()
    shared = dict(machine=source['machine']['gpu'] or source['machine']['cpu'], threads=args.threads)
    shared |= dict(torch=torch.__version__, date=source['date'], commit=source['commit'])
    rows = []
    for name, values in SIZES.items():
        seconds = in_turn({value: step(BASE | {name: value}, args.device) for value in values}, args.rounds, show=True)
        medians = [float(np.median(seconds[value])) for value in values]
        upper = len(values) // 2
        exponent = round(float(np.polyfit(np.log(values[upper:]), np.log(medians[upper:]), 1)[0]), 3)
        for value in values:
            rows.append(BASE | {name: value, 'varied': name} | spread(seconds[value]) | {'exponent': exponent} | shared)
    return rows


def scaling_figure(rows: list[dict]) -> Figure:
    """Draw a panel for each number, its sizes on the axis; dotted is linear growth."""
    groups = {name: list(each) for name, each in groupby(rows, lambda row: row['varied'])}
    figure = Figure(figsize=(12, 3), layout='constrained')
    panels = figure.subplots(1, len(groups), sharey=True)
    for ax, (name, each) in zip(panels, groups.items(), strict=True):
        values, medians = ([float(row[key]) for row in each] for key in (name, 'median_ms'))
        ax.loglog(values, medians, 'o-')
        ax.loglog(values, [medians[-1] * value / values[-1] for value in values], ':', color='grey')
        ax.set(xlabel=name, title=f'exponent {float(each[0]["exponent"]):.2f}')
        ax.set_xticks(values, [f'{value:,.0f}' for value in values])
        ax.xaxis.set_minor_locator(NullLocator())
    panels[0].set_ylabel('forward + backward, ms')
    return figure


@command
def main() -> None:
    args = parse_args()
    if not args.draw:
        write_csv(args.out, measure(args))
    elif not args.out.is_file():
        raise UserError(f'there is no {args.out} to draw')
    with args.out.open(encoding='utf-8', newline='') as file:
        rows = list(csv.DictReader(file))
    with replacing(args.out.with_suffix('.png')) as partial:
        scaling_figure(rows).savefig(partial, format='png', dpi=110)
    print(json.dumps({'exponents': {row['varied']: float(row['exponent']) for row in rows}, 'out': str(args.out)}))


if __name__ == '__main__':
    main()
