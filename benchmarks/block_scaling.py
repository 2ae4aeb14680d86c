"""How does the time of the SR block grow with N, P, C and the area of the map? It must grow linearly, or slower.

    python benchmarks/block_scaling.py results/block_scaling.csv

One number is doubled at a time, the others stay at (2, 512, 32, 64), P = 4, all sizes of a number in turn. Beside the
CSV a log-log plot is drawn, results/block_scaling.png. `exponent` is the slope of a straight line through the upper
half of the sizes: 1 is linear; less where a part of the cost does not depend on it, as the memory's gradient on N.
"""

import argparse
import json
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib import pyplot
from torch import nn

from mmseg_sr import SRBlock
from mmseg_sr.atomic import replacing, write_csv
from mmseg_sr.cost.timing import in_turn, spread
from mmseg_sr.errors import command
from mmseg_sr.provenance import provenance

matplotlib.use('Agg')

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


@command
def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    rows, exponents = [], {}
    figure, axes = pyplot.subplots(1, len(SIZES), figsize=(12, 3), sharey=True, layout='constrained')
    for ax, (name, values) in zip(axes, SIZES.items(), strict=True):
        seconds = in_turn({value: step(BASE | {name: value}, args.device) for value in values}, args.rounds, show=True)
        medians = [float(np.median(seconds[value])) for value in values]
        upper = len(values) // 2
        exponents[name] = round(float(np.polyfit(np.log(values[upper:]), np.log(medians[upper:]), 1)[0]), 3)
        rows += [BASE | {name: value} | {'varied': name} | spread(seconds[value]) for value in values]
        ax.loglog(values, [1e3 * median for median in medians], 'o-')
        ax.loglog(values, [1e3 * medians[-1] * value / values[-1] for value in values], ':', color='grey')
        ax.set(xlabel=name, title=f'exponent {exponents[name]:.2f}')
    axes[0].set_ylabel('forward + backward, ms')
    source = provenance()
    shared = dict(machine=source['machine']['gpu'] or source['machine']['cpu'], threads=args.threads)
    shared |= dict(torch=torch.__version__, date=source['date'], commit=source['commit'])
    rows = [row | {'exponent': exponents[row['varied']]} | shared for row in rows]
    write_csv(args.out, rows)
    with replacing(args.out.with_suffix('.png')) as partial:
        figure.savefig(partial, format='png', dpi=110)
    print(json.dumps({'exponents': exponents, 'out': str(args.out)}))


if __name__ == '__main__':
    main()
