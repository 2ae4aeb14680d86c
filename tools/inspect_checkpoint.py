"""What is in this checkpoint? Told from the file alone: no config is read, and nothing in the file is run.

    python tools/inspect_checkpoint.py CHECKPOINT [CHECKPOINT ...]

For each file: size and sha256, iteration, config's name, classes, metrics and versions where it tells them, how many
numbers it holds and whether all are finite, whether a training can go on from it, and its SR blocks with their sizes
and the norms of their memories: those of an untrained block are 0.
"""

import argparse
import json

from _cli import Parser, answer, counted, program


def parse_args() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument('checkpoints', nargs='+', metavar='CHECKPOINT', help='.pth or .safetensors file')
    parser.add_trust()
    return parser.parse_args()


def lines(source: str, told: dict) -> list[str]:
    """What there is to read of a file."""
    config = told['config'] or ('inside, without a name' if told['config_text'] else 'not told')
    classes = ', '.join(told['classes'] or []) or 'not told'
    found = [
        f'{source}: {told["bytes"]:,} bytes, sha256 {told["sha256"]}',
        f'  config {config}, iteration {told["iter"] or "not told"}, classes: {classes}',
        f'  {told["tensors"]} tensors, {told["numbers"]:,} numbers; '
        + ('training can go on from it' if told['resumable'] else 'weights only, training can start from it'),
    ]
    if told['not_finite']:
        found.append(f'  NaN or infinite: {", ".join(told["not_finite"])}')
    for name, block in told['sr_blocks'].items():
        norms = ', '.join(f'{norm:.4g}' for norm in block['norms'])
        height, width = block['memory_size']
        found.append(
            f'  {name}: {block["num_memories"]} memories of {block["in_channels"]} x {height} x {width}, '
            + (f'rank {block["memory_rank"]}, ' if block['memory_rank'] else '')
            + f'{block["hidden_channels"]} hidden, norms {norms}'
        )
    return found if told['sr_blocks'] else [*found, '  no SR block']


def work(args: argparse.Namespace) -> None:
    from mmseg_sr.checkpoints.describe import describe

    told = {source: describe(source) for source in args.checkpoints}
    bad = sum(bool(each['not_finite']) for each in told.values())
    for source, each in told.items():
        print('\n'.join(lines(source, each)))
    # Dates become text, and NaN, which JSON does not know, null.
    document = json.loads(json.dumps(told, default=str), parse_constant=lambda _: None)
    answer(args, f'{counted(len(told), "checkpoint")} read, {bad or "none"} with NaN or infinity', document)


main = program(parse_args, work)

if __name__ == '__main__':
    main()
