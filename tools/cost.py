"""What does the block cost? A network with its SR blocks against the same network without them.

    python tools/cost.py CONFIG [CONFIG ...]
    python tools/cost.py CONFIG --shape 512
    python tools/cost.py CONFIG --shape 512 1024 --batch 2 --rounds 10 --out cost.json
    python tools/cost.py CONFIG --device cuda --dtype bfloat16 --compile

No data and no checkpoint are needed: images and labels are random, and so are the weights; the memory is given values,
lest zeros be faster. Each config's network is built once, and copied without its blocks. Both make training steps (a
batch, the config's optimizer) and predictions (one image) in turn, so that whatever else the machine does meets both;
`ratio` is the median over the rounds, with the 95 % interval of resampled rounds. GFLOPs are billions of multiply-adds
of one image, as mmseg's get_flops.py gives them, by mmengine's counter, which names the operations it cannot count;
those of the blocks are in closed form too. Peak memory is of tensors in a training step, on a GPU what the allocator
gave. Checkpoints: weights alone, and with the optimizer's state.

Printed are two Markdown tables: both networks, and what the blocks add. The JSON document has more; --out writes it to
a file, after each config.
"""

import argparse
import json
import shlex
import sys
from pathlib import Path

from _cli import Parser, answer, at_least, program
from tabulate import tabulate

MIB = 2**20


def parse_args() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument('configs', nargs='+', metavar='CONFIG', help='config of a network with SR blocks')
    parser.add_size('--shape', help="image size (the config's crop)")
    parser.add_argument('--batch', type=at_least(1), metavar='N', help="training images in a step (the config's batch)")
    parser.add_argument('--rounds', type=at_least(1), default=10, metavar='N', help='how often each is timed')
    parser.add_argument('--device', help='cpu, cuda, ... (default: a GPU, if there is one)')
    parser.add_argument('--dtype', default='float32', choices=['float32', 'bfloat16', 'float16'], help='autocast to it')
    parser.add_argument('--compile', action='store_true', help='with torch.compile')
    parser.add_argument('--threads', type=at_least(1), metavar='N', help="threads on a CPU (default: torch's)")
    parser.add_argument('--out', type=Path, metavar='FILE.json', help='write the numbers to FILE.json')
    parser.add_config_options()
    return parser.parse_args()


def set_up(args: argparse.Namespace) -> None:
    """Fill in the device and the threads, and refuse a device that is not there."""
    import torch

    from mmseg_sr.atomic import check_file
    from mmseg_sr.errors import UserError

    check_file('--out', args.out)
    args.device = args.device or ('cuda' if torch.cuda.is_available() else 'cpu')
    args.threads = args.threads or torch.get_num_threads()
    torch.set_num_threads(args.threads)
    try:
        torch.empty(1, device=args.device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f'--device {args.device}: {str(error).splitlines()[0]}') from error


def networks(path: str, args: argparse.Namespace) -> tuple:
    """Read a config, and build its networks 'baseline' and 'SR', with random weights and random memory."""
    from torch import nn

    from mmseg_sr.config import load_config
    from mmseg_sr.cost.count import without_blocks
    from mmseg_sr.errors import UserError
    from mmseg_sr.models.find import sr_blocks
    from mmseg_sr.options import read_options
    from mmseg_sr.runs.models import build_model

    cfg = load_config(path, read_options(args.cfg_options))
    model = build_model(cfg)
    if not sr_blocks(model):
        raise UserError(f'the model of {path} has no SR block: there is nothing to compare')
    for block in sr_blocks(model).values():
        nn.init.normal_(block.memory_parameters()[0], std=0.01)
    return cfg, {'baseline': without_blocks(model), 'SR': model}


def measure(path: str, args: argparse.Namespace) -> dict:
    """Measure all costs of a config's network, without and with its blocks."""
    import torch

    from mmseg_sr.cost import count as cost
    from mmseg_sr.cost.timing import in_turn, ratio, spread
    from mmseg_sr.cost.workload import Drill
    from mmseg_sr.datasets.build import channels_of
    from mmseg_sr.progress import Bar
    from mmseg_sr.serving.metadata import trained_size

    cfg, models = networks(path, args)
    shape = tuple(args.shape or trained_size(cfg) or (512, 1024))
    batch = args.batch or (cfg.get('train_dataloader') or {}).get('batch_size') or 2
    image = torch.rand(1, channels_of(cfg), *shape)
    rows = {}
    for name, model in Bar(models.items(), 'count', leave=False, unit='network'):
        operations = cost.count_multiply_adds(model.eval(), image)
        rows[name] = {'parameters': cost.count_parameters(model), 'multiply_adds': operations}
    dtype = getattr(torch, args.dtype)
    drills = {name: Drill(model, cfg, shape, batch, args.device, dtype, args.compile) for name, model in models.items()}
    for name, drill in Bar(drills.items(), 'peak memory', leave=False, unit='network'):
        peak = drill.peak_bytes()
        weights, state = drill.model.state_dict(), drill.optim_wrapper.state_dict()
        sizes = {
            'peak_training': peak,
            'optimizer_state': drill.state_bytes(),
            'weights': cost.stored_bytes(weights),
            'checkpoint': cost.stored_bytes({'state_dict': weights, 'optimizer': state}),
        }
        rows[name]['memory_mib'] = {what: size and round(size / MIB, 2) for what, size in sizes.items()}
    calls = {f'{name} {what}': getattr(drill, what) for name, drill in drills.items() for what in ('train', 'predict')}
    seconds = in_turn(calls, args.rounds, show=True)
    for name, row in rows.items():
        for what, images in (('train', batch), ('predict', 1)):
            row[what] = spread(seconds[f'{name} {what}'])
            row[what]['images_per_second'] = round(1e3 * images / row[what]['median_ms'], 3)
    overhead = {what: ratio(seconds[f'SR {what}'], seconds[f'baseline {what}']) for what in ('train', 'predict')}
    return {'config': path, 'shape': shape, 'batch': batch, 'rows': rows, 'ratio': overhead}


def networks_table(results: list[dict]) -> str:
    """Write both networks of each config in Markdown, a line for each."""
    heads = ['config', 'network', 'image', 'parameters', 'GFLOPs (multiply-adds)', 'trained images/s']
    heads += ['predicted images/s', 'peak memory, MiB']
    lines = []
    for result in results:
        for name, row in result['rows'].items():
            line = [Path(result['config']).stem, name, 'x'.join(map(str, result['shape']))]
            line += [f'{row["parameters"]["all"]:,}', f'{row["multiply_adds"]["all"] / 1e9:,.3f}']
            line += [f'{row[what]["images_per_second"]:,.2f}' for what in ('train', 'predict')]
            lines.append([*line, row['memory_mib']['peak_training'] or '-'])
    return tabulate(lines, heads, tablefmt='github', disable_numparse=True)


def table(results: list[dict]) -> str:
    """Write what the blocks add in Markdown, a line for each config."""
    heads = ['config', 'parameters', 'without auxiliary head', 'multiply-adds']
    heads += ['training step', 'prediction', 'peak memory', 'weights']
    lines = []
    for result in results:
        base, ours = result['rows']['baseline'], result['rows']['SR']
        line = [Path(result['config']).stem]
        line += [_more(ours['parameters'][what], base['parameters'][what]) for what in ('all', 'without_auxiliary')]
        line += [_more(ours['multiply_adds']['all'], base['multiply_adds']['all'])]
        line += [_interval(result['ratio'][what]) for what in ('train', 'predict')]
        line += [_more(ours['memory_mib'][what], base['memory_mib'][what]) for what in ('peak_training', 'weights')]
        lines.append(line)
    return tabulate(lines, heads, tablefmt='github', disable_numparse=True)


def _more(value: float | None, reference: float | None) -> str:
    return '-' if value is None else f'{100 * (value / reference - 1):+.3f} %'


def _interval(found: dict[str, float]) -> str:
    middle, low, high = (100 * (found[key] - 1) for key in ('ratio', 'low', 'high'))
    return f'{middle:+.2f} % [{low:+.2f}, {high:+.2f}]'


def sentence(result: dict) -> str:
    """Say what the blocks add to a network."""
    blocks, time = result['rows']['SR']['parameters']['sr'], _interval(result['ratio']['train'])
    return f'{Path(result["config"]).stem}: SR adds {blocks:,} parameters, and {time} to a training step'


def document(args: argparse.Namespace, results: list[dict]) -> dict:
    from mmseg_sr.provenance import provenance

    return {
        'command': shlex.join(['python', 'tools/cost.py', *sys.argv[1:]]),
        **{key: getattr(args, key) for key in ('device', 'dtype', 'compile', 'threads', 'rounds')},
        'results': results,
        **provenance(),
    }


def work(args: argparse.Namespace) -> None:
    from mmseg_sr.atomic import write_text

    set_up(args)
    results = []
    for path in args.configs:
        results.append(measure(path, args))
        found = document(args, results)
        if args.out:  # after each config: the next one may take long
            write_text(args.out, f'{json.dumps(found, allow_nan=False)}\n')
    uncounted = sorted({name for result in results for name in result['rows']['SR']['multiply_adds']['uncounted']})
    left_out = f'Multiply-adds leave out: {", ".join(uncounted) or "nothing"}.'
    print(f'\n{networks_table(results)}\n\nThe blocks add:\n\n{table(results)}\n\n{left_out}\n')
    answer(args, '\n'.join(map(sentence, results)), found, args.out)


main = program(parse_args, work)

if __name__ == '__main__':
    main()
