"""Write a report as one HTML file: the verdict first, then numbers, curves, pictures, the memory, and the cost.

    python tools/report_page.py experiments/camvid_cpu.yaml --out camvid_cpu.html
    python tools/report_page.py CONFIG CHECKPOINT
    python tools/report_page.py CONFIG CHECKPOINT --baseline CONFIG CHECKPOINT --out page.html

The page loads nothing from elsewhere: it can be sent, printed, and read on a phone or without a network.

For an experiment it shows the results so far, and pictures and memories of its first seed, where their checkpoints and
data are found. A checkpoint, and its baseline, are first tested by tools/test.py, single-scale; --metrics and
--baseline-metrics name what its --metrics wrote before, and no test is run: there are no intervals over images then.
Curves are drawn from the logs beside a checkpoint. --cfg-options go to both configs.

What is missing leaves a sentence in the page. The JSON document has the page, its size, and these sentences.
"""

import argparse
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from _cli import Parser, answer, at_least, counted, program

TEST = Path(__file__).resolve().with_name('test.py')


def parse_args() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument('source', nargs='+', metavar='EXPERIMENT.yaml | CONFIG CHECKPOINT', help='what to report')
    parser.add_argument('--work-dir', metavar='DIR', help="the experiment's folder, instead of its own")
    parser.add_argument('--baseline', nargs=2, metavar=('CONFIG', 'CHECKPOINT'), help='to compare the checkpoint with')
    parser.add_argument('--metrics', type=Path, metavar='FILE.json', help='of the checkpoint, by tools/test.py')
    parser.add_argument('--baseline-metrics', type=Path, metavar='FILE.json', help='of the baseline')
    parser.add_argument('--out', type=Path, metavar='FILE.html', help="default: report.html in the source's work_dir")
    count = {'type': at_least(0), 'metavar': 'N'}
    parser.add_argument('--pictures', **count, help='images to predict (default: 3, by classifiers 24)')
    text = 'for the memory figures, of classifiers of each class (default: 20)'
    parser.add_argument('--num-images', **count, default=20, help=text)
    parser.add_config_options()
    parser.add_trust()
    args = parser.parse_args()
    if len(args.source) > 2 or (len(args.source) == 1 and args.source[0].endswith('.py')):
        parser.error(f'one experiment, or a config and a checkpoint, are reported; got {" ".join(args.source)}')
    alone = ('work_dir',) if len(args.source) == 2 else ('baseline', 'metrics', 'baseline_metrics', 'cfg_options')
    for name in alone:
        if getattr(args, name):
            kind = 'an experiment' if name == 'work_dir' else 'a checkpoint'
            parser.error(f'--{name.replace("_", "-")} is for {kind}')
    if args.baseline_metrics and not args.baseline:
        parser.error('--baseline-metrics needs --baseline CONFIG CHECKPOINT')
    return args


def page_of_experiment(args: argparse.Namespace):
    """Make the page of an experiment, and fill in where it goes."""
    from mmseg_sr.atomic import check_file
    from mmseg_sr.experiments import markdown, plan
    from mmseg_sr.report.collect import experiment_page

    exp = plan.load(args.source[0], args.work_dir)
    args.out = args.out or exp.work_dir / 'report/report.html'
    check_file('--out', args.out)
    return experiment_page(exp, markdown.document_of(exp), args.pictures, args.num_images)


def page_of_checkpoint(args: argparse.Namespace):
    """Test a checkpoint and its baseline where that is not done, make their page, and fill in where it goes."""
    from mmseg_sr.atomic import check_file
    from mmseg_sr.checkpoints.reading import read_checkpoint
    from mmseg_sr.config import load_config
    from mmseg_sr.names import find_checkpoint
    from mmseg_sr.options import read_options
    from mmseg_sr.report.collect import checkpoint_page
    from mmseg_sr.report.gallery import Network

    given = [('baseline', args.baseline, args.baseline_metrics)] if args.baseline else []
    given.append(('model', args.source, args.metrics))
    cfgs = [load_config(config, read_options(args.cfg_options)) for _, (config, _), _ in given]
    args.out = args.out or Path(cfgs[-1].work_dir) / 'report.html'
    check_file('--out', args.out)
    networks = []
    for cfg, (name, (_, checkpoint), _) in zip(cfgs, given, strict=True):
        networks.append(Network(name, given[0][0], cfg, find_checkpoint(checkpoint)))
        read_checkpoint(checkpoint)  # a wrong one is known before the first test
    with tempfile.TemporaryDirectory() as folder:
        tests = {}
        for name, pair, metrics in given:
            made = Path(folder) / f'{name}.json'
            tests[name] = (metrics or made, made.with_suffix('.npz'))
            if not metrics:
                test(pair, args.cfg_options, made)
        return checkpoint_page(networks, tests, command_of(args), args.pictures, args.num_images)


def command_of(args: argparse.Namespace) -> str:
    """Write the command line that tests a checkpoint and makes its page."""
    words = ['python', 'tools/report_page.py', *args.source]
    words += ['--baseline', *args.baseline] if args.baseline else []
    return shlex.join(words + (['--cfg-options', *args.cfg_options] if args.cfg_options else []))


def test(pair: list[str], options: list[str], metrics: Path) -> None:
    """Let tools/test.py write the metrics of a config and a checkpoint, and confusion matrices beside them."""
    from mmseg_sr.errors import UserError

    words = [sys.executable, TEST, *pair, '--metrics', metrics, '--confusion', metrics.with_suffix('.npz')]
    words += ['--work-dir', metrics.parent / 'test', *(['--cfg-options', *options] if options else [])]
    if subprocess.run([str(word) for word in words], stdout=sys.stderr).returncode:
        raise UserError(f'the test of {pair[1]} failed; see above')


def work(args: argparse.Namespace) -> None:
    from mmseg_sr.report.page import write

    page = page_of_experiment(args) if len(args.source) == 1 else page_of_checkpoint(args)
    write(page, args.out)
    gaps, size = page.gallery.gaps, args.out.stat().st_size
    missing = f'; {counted(len(gaps), "gap")}, which it names' if gaps else ''
    answer(args, f'{args.out}, {size:,} bytes{missing}', {'out': str(args.out), 'bytes': size, 'missing': gaps})


main = program(parse_args, work)

if __name__ == '__main__':
    main()
