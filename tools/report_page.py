"""Write a report as one HTML file: the verdict first, then numbers, curves, pictures, the memory, and the cost.

    python tools/report_page.py experiments/camvid_cpu.yaml --out camvid_cpu.html
    python tools/report_page.py CONFIG CHECKPOINT
    python tools/report_page.py CONFIG CHECKPOINT --baseline CONFIG CHECKPOINT --out page.html

The page loads nothing from elsewhere: it can be sent, printed, and read on a phone or without a network.

Of an experiment it shows the rows that there are, and pictures and memories of its first seed, as far as checkpoints
and data are on this machine. A checkpoint, and its baseline, are first tested by tools/test.py, single-scale; what it
wrote before by --metrics is taken instead by --metrics and --baseline-metrics, without intervals over images then.
Curves are those of the logs beside a checkpoint. --cfg-options go to both configs.

What is not there leaves a sentence in the page. The last line of the output is a JSON document: the page, its size, and
these sentences. Exit status 2 and one message for a mistake in what was given.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from _cli import Parser, at_least, program

if TYPE_CHECKING:
    from mmseg_sr.report.collect import Trained
    from mmseg_sr.report.page import Page

TEST = Path(__file__).resolve().with_name('test.py')


def parse_args() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument('source', nargs='+', metavar='EXPERIMENT.yaml | CONFIG CHECKPOINT', help='what to report')
    parser.add_argument('--work-dir', metavar='DIR', help="the experiment's folder, instead of its own")
    parser.add_argument('--baseline', nargs=2, metavar=('CONFIG', 'CHECKPOINT'), help='to compare the checkpoint with')
    parser.add_argument('--metrics', type=Path, metavar='FILE.json', help='of the checkpoint, by tools/test.py')
    parser.add_argument('--baseline-metrics', type=Path, metavar='FILE.json', help='of the baseline')
    parser.add_argument('--out', type=Path, metavar='FILE.html', help="default: report.html in the source's work_dir")
    parser.add_argument('--pictures', type=at_least(0), default=3, metavar='N', help='images to predict (default: 3)')
    parser.add_argument(
        '--num-images', type=at_least(0), default=20, metavar='N', help='for the memory figures (default: 20)'
    )
    parser.add_config_options()
    args = parser.parse_args()
    check(parser, args)
    return args


def check(parser: Parser, args: argparse.Namespace) -> None:
    """Refuse what does not go together, before anything is done."""
    if len(args.source) > 2 or (len(args.source) == 1 and args.source[0].endswith('.py')):
        parser.error(f'one experiment, or a config and a checkpoint, are reported; got {" ".join(args.source)}')
    alone = ('work_dir',) if len(args.source) == 2 else ('baseline', 'metrics', 'baseline_metrics', 'cfg_options')
    for name in alone:
        if getattr(args, name):
            kind = 'an experiment' if name == 'work_dir' else 'a checkpoint'
            parser.error(f'--{name.replace("_", "-")} is for {kind}')
    if args.baseline_metrics and not args.baseline:
        parser.error('--baseline-metrics needs --baseline CONFIG CHECKPOINT')


def page_of_experiment(args: argparse.Namespace) -> tuple['Page', Path]:
    from mmseg_sr.experiments import markdown, plan
    from mmseg_sr.report.collect import experiment_page

    exp = plan.load(args.source[0], args.work_dir)
    page = experiment_page(exp, markdown.document_of(exp), args.pictures, args.num_images)
    return page, exp.work_dir / 'report/report.html'


def page_of_checkpoint(args: argparse.Namespace) -> tuple['Page', Path]:
    from mmseg_sr.checkpoints.reading import read_checkpoint
    from mmseg_sr.config import load_config, read_options
    from mmseg_sr.report import collect

    options = read_options(args.cfg_options)
    given = [(collect.BASELINE, args.baseline, args.baseline_metrics)] if args.baseline else []
    given.append((collect.MODEL, args.source, args.metrics))
    with tempfile.TemporaryDirectory() as folder:
        networks = []
        for name, (config, checkpoint), metrics in given:
            cfg = load_config(config, options)
            read_checkpoint(checkpoint)  # a wrong one is known before the first test
            metrics = metrics or Path(folder) / f'{name}.json'
            networks.append(collect.Trained(name, config, cfg, checkpoint, metrics))
        for network in networks:
            if network.metrics.parent == Path(folder):
                test(network, args.cfg_options, Path(folder))
        exp = collect.experiment_of(networks, options, Path(folder))
        document = collect.document_of(exp, networks)
    page = collect.checkpoint_page(exp, document, networks, args.pictures, args.num_images)
    return page, Path(cfg.work_dir) / 'report.html'


def test(network: 'Trained', options: list[str], folder: Path) -> None:
    """Let tools/test.py write the metrics and confusion matrices of a network."""
    from mmseg_sr.errors import UserError
    from mmseg_sr.report.collect import confusion_file

    words = [sys.executable, TEST, network.config, network.checkpoint, '--metrics', network.metrics]
    words += ['--confusion', confusion_file(folder, network.name), '--work-dir', folder / 'test']
    words += ['--cfg-options', *options] if options else []
    if subprocess.run([str(word) for word in words], stdout=sys.stderr).returncode:
        raise UserError(f'the test of {network.checkpoint} failed; see above')


def work(args: argparse.Namespace) -> None:
    from mmseg_sr.atomic import check_file
    from mmseg_sr.report.page import write

    check_file('--out', args.out)
    page, default = page_of_experiment(args) if len(args.source) == 1 else page_of_checkpoint(args)
    out = args.out or default
    write(page, out)
    print(json.dumps({'out': str(out), 'bytes': out.stat().st_size, 'missing': page.gallery.gaps}))


main = program(parse_args, work)

if __name__ == '__main__':
    main()
