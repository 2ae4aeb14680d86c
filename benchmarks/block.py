"""Time the SR block against its memory traffic, other ways to write it, and blocks that go to the same place.

    python benchmarks/block.py results/block.csv
    python benchmarks/block.py results/block.csv --rounds 30 --threads 2

Forms of this package: `SR`, `rank 16` (SRBlock(memory_rank=16)), `SE` and `CBAM`; and `naive` (a product of weights and
memory blown up to N x P x C x H x W, then a sum), `compiled` (torch.compile of the naive form, with --compile) and
`before` (the SR block of another checkout, with --before).

`limit_ms` is what the traffic alone takes on this machine, measured in the same rounds: a map is X or one like it,
a tensor that must be written anew costs a clone (one read, one write, the pages of a new tensor), any other read a sum.
    SR forward   clone(X) + read(X) + read(M): the weights depend on all of X, so it is read twice
    SR backward  clone(X) + read(X) + read(dY) + clone(M): the weights' gradient, and so dX, depends on all of dY
    SE forward   clone(X) + read(X), backward clone(X) + 2 read(X); CBAM and the memory of low rank, which is next to
                 nothing beside X, are held against the same
`ratio` is the median over the rounds of a form's time to the limit of that round, with its 95 % interval. `peak_mib`
is the most memory that tensors held during forward and backward, beyond the input and the parameters.
"""

import argparse
import importlib
import json
import sys
import types
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from mmengine.registry import Registry
from torch import Tensor, nn

from mmseg_sr import CBAMBlock, SEBlock, SRBlock
from mmseg_sr.atomic import write_csv
from mmseg_sr.cost.peak import peak_bytes
from mmseg_sr.cost.timing import in_turn, ratio, spread
from mmseg_sr.errors import command
from mmseg_sr.provenance import provenance

# (N, C, h, w), (H, W), P: rows of Table IV at their crops, ImageNet's, and a map of another size than the memory.
CASES = [
    ((2, 1024, 32, 64), (32, 64), 3),
    ((2, 1024, 64, 128), (64, 128), 2),
    ((8, 1024, 14, 14), (14, 14), 10),
    ((1, 1024, 128, 256), (64, 128), 2),
]


class Naive(nn.Module):
    """The formula with every memory block times every weight held at once."""

    def __init__(self, block: SRBlock):
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        squeezed = self.block.squeeze(x)
        memory = self.block.memory
        if x.shape[-2:] != memory.shape[-2:]:
            squeezed = nn.functional.interpolate(squeezed, memory.shape[-2:], mode='bilinear')
            memory = nn.functional.interpolate(memory, x.shape[-2:], mode='bilinear')
        weights = self.block.gate(squeezed.flatten(1))
        return x + (weights[:, :, None, None, None] * memory).sum(dim=1)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path, metavar='FILE.csv', help='where the numbers go')
    parser.add_argument('--rounds', type=int, default=20, help='how often each form is timed')
    parser.add_argument('--threads', type=int, default=torch.get_num_threads(), help='threads on a CPU')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--dtype', default='float32', choices=['float32', 'bfloat16', 'float16'])
    parser.add_argument('--channels-last', action='store_true', help='the layout of maps and memory')
    parser.add_argument('--compile', action='store_true', help='time torch.compile of the naive form too')
    parser.add_argument('--before', type=Path, metavar='CHECKOUT', help='time the SR block of another checkout too')
    return parser.parse_args()


@command
def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    rows = []
    for shape, size, num_memories in CASES:
        rows += measure(args, shape, size, num_memories)
        print(table([row for row in rows if row['shape'] == shape]))
    source = provenance()
    shared = dict(machine=source['machine']['gpu'] or source['machine']['cpu'], threads=args.threads, dtype=args.dtype)
    shared |= dict(channels_last=args.channels_last, torch=torch.__version__)
    shared |= dict(date=source['date'], commit=source['commit'])
    write_csv(args.out, [row | shared for row in rows])
    print(json.dumps({'rows': len(rows), 'out': str(args.out)}))


def measure(args: argparse.Namespace, shape: tuple, size: tuple, num_memories: int) -> list[dict]:
    """Time all forms at one shape: a row for each form and pass."""
    layout = torch.channels_last if args.channels_last else torch.contiguous_format
    to = dict(device=args.device, dtype=getattr(torch, args.dtype))
    block, low_rank = (SRBlock(shape[1], size, num_memories, memory_rank=rank) for rank in (None, 16))
    forms = {'SR': block, 'naive': Naive(block), 'rank 16': low_rank}
    forms |= {'SE': SEBlock(shape[1]), 'CBAM': CBAMBlock(shape[1])}
    if args.before:
        forms['before'] = block_of(args.before)(shape[1], size, num_memories)
    if args.compile:
        forms['compiled'] = torch.compile(forms['naive'])
    forms = {name: form.to(**to).to(memory_format=layout) for name, form in forms.items()}
    for each in (block, low_rank):
        nn.init.normal_(each.memory_parameters()[0])
    x = torch.randn(shape, **to).to(memory_format=layout).requires_grad_()
    direction = torch.randn_like(x)

    def forward(form: nn.Module) -> None:
        with torch.no_grad():
            form(x)

    def training(form: nn.Module) -> None:
        x.grad = None
        form.zero_grad(set_to_none=True)
        form(x).backward(direction)

    parts = {'clone(X)': x.detach().clone, 'read(X)': x.detach().sum}
    parts |= {'clone(M)': block.memory.detach().clone, 'read(M)': block.memory.detach().sum}
    rows = []
    for name, run in {'forward': forward, 'forward + backward': training}.items():
        calls = {form: lambda form=forms[form], run=run: run(form) for form in forms}
        seconds = in_turn(parts | calls, args.rounds, show=True)
        for form in forms:
            bound = limit(form, name, seconds)
            row = dict(shape=shape, memory=size, P=num_memories, form=form, passes=name) | spread(seconds[form])
            row |= dict(limit_ms=spread(bound)['median_ms']) | ratio(seconds[form], bound)
            row |= dict(to_SR=round(ratio(seconds[form], seconds['SR'])['ratio'], 3))
            rows.append(row | dict(peak_mib=peak(lambda form=forms[form], run=run: run(form), forms[form], x)))
    return rows


def block_of(checkout: Path) -> type[nn.Module]:
    """Import the SRBlock of another checkout, which registers nothing."""
    ours = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split('.')[0] == 'mmseg_sr'}
    for name in ('mmseg_sr', 'mmseg_sr.models'):
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = [str(checkout.joinpath(*name.split('.')))]
    with mock.patch.object(Registry, '_register_module'):
        theirs = importlib.import_module('mmseg_sr.models.block').SRBlock
    sys.modules.update(ours)
    return theirs


def limit(form: str, passes: str, seconds: dict[str, np.ndarray]) -> np.ndarray:
    """Add up the time that the least traffic of a form takes, round by round."""
    backward = passes != 'forward'
    least = (1 + backward) * seconds['clone(X)'] + (1 + 2 * backward) * seconds['read(X)']
    if form in ('SE', 'CBAM', 'rank 16'):
        return least
    return least + seconds['read(M)'] + backward * seconds['clone(M)']


def peak(call, form: nn.Module, x: Tensor) -> float:
    """Measure the most MiB that tensors held in a call, beyond what was there before."""
    form.zero_grad(set_to_none=True)
    x.grad = None
    if x.is_cuda:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        return round((torch.cuda.max_memory_allocated() - before) / 2**20, 1)
    held = [x, *form.parameters()]
    before = sum(tensor.untyped_storage().nbytes() for tensor in held)
    return round((peak_bytes(call, held) - before) / 2**20, 1)


def table(rows: list[dict]) -> str:
    return '\n'.join(
        f'{row["shape"]} P={row["P"]} {row["passes"]:>18} {row["form"]:>8} {row["median_ms"]:9.2f} ms'
        f'  {row["ratio"]:5.2f} x limit  peak {row["peak_mib"]} MiB'
        for row in rows
    )


if __name__ == '__main__':
    main()
