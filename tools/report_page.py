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

from mmseg_sr.atomic import check_file
from mmseg_sr.checkpoints.reading import read_checkpoint
from mmseg_sr.config import OptionAction, load_config
from mmseg_sr.errors import UserError, command
from mmseg_sr.experiments import markdown as report
from mmseg_sr.experiments import run as experiment
from mmseg_sr.experiments.settings import option_words
from mmseg_sr.report import checkpoints
from mmseg_sr.report.collect import checkpoint_page, experiment_page
from mmseg_sr.report.page import Page, write

TEST = Path(__file__).resolve().with_name('test.py')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', nargs='+', metavar='EXPERIMENT.yaml | CONFIG CHECKPOINT', help='what to report')
    parser.add_argument('--work-dir', metavar='DIR', help="the experiment's folder, instead of its own")
    parser.add_argument('--baseline', nargs=2, metavar=('CONFIG', 'CHECKPOINT'), help='to compare the checkpoint with')
    parser.add_argument('--metrics', type=Path, metavar='FILE.json', help='of the checkpoint, by tools/test.py')
    parser.add_argument('--baseline-metrics', type=Path, metavar='FILE.json', help='of the baseline')
    parser.add_argument('--out', type=Path, metavar='FILE.html', help="default: report.html in the source's work_dir")
    parser.add_argument('--pictures', type=int, default=3, metavar='N', help='images to predict (default: 3)')
    parser.add_argument('--num-images', type=int, default=20, metavar='N', help='for the memory figures (default: 20)')
    parser.add_argument('--cfg-options', nargs='+', action=OptionAction, metavar='KEY=VALUE', help='overwrite configs')
    args = parser.parse_args()
    check(args)
    return args


def check(args: argparse.Namespace) -> None:
    """Refuse what does not go together, before anything is done."""
    if len(args.source) > 2 or (len(args.source) == 1 and args.source[0].endswith('.py')):
        raise UserError(f'one experiment, or a config and a checkpoint, are reported; got {" ".join(args.source)}')
    alone = ('work_dir',) if len(args.source) == 2 else ('baseline', 'metrics', 'baseline_metrics', 'cfg_options')
    for name in alone:
        if getattr(args, name) is not None:
            kind = 'an experiment' if name == 'work_dir' else 'a checkpoint'
            raise UserError(f'--{name.replace("_", "-")} is for {kind}')
    if args.baseline_metrics and not args.baseline:
        raise UserError('--baseline-metrics needs --baseline CONFIG CHECKPOINT')
    if min(args.pictures, args.num_images) < 0:
        raise UserError('--pictures and --num-images are numbers from 0')
    check_file('--out', args.out)


def page_of_experiment(args: argparse.Namespace) -> tuple[Page, Path]:
    exp = experiment.load(args.source[0], args.work_dir)
    page = experiment_page(exp, report.document_of(exp), args.pictures, args.num_images)
    return page, exp.work_dir / 'report/report.html'


def page_of_checkpoint(args: argparse.Namespace) -> tuple[Page, Path]:
    options = args.cfg_options or {}
    given = [(checkpoints.BASELINE, args.baseline, args.baseline_metrics)] if args.baseline else []
    given.append((checkpoints.MODEL, args.source, args.metrics))
    with tempfile.TemporaryDirectory() as folder:
        networks = []
        for name, (config, checkpoint), metrics in given:
            cfg = load_config(config, options)
            read_checkpoint(checkpoint)  # a wrong one is known before the first test
            metrics = metrics or Path(folder) / f'{name}.json'
            networks.append(checkpoints.Trained(name, config, cfg, checkpoint, metrics))
        for network in networks:
            if network.metrics.parent == Path(folder):
                test(network, options, Path(folder))
        exp = checkpoints.experiment_of(networks, options, Path(folder))
        document = checkpoints.document_of(exp, networks)
    return checkpoint_page(exp, document, networks, args.pictures, args.num_images), Path(cfg.work_dir) / 'report.html'


def test(network: checkpoints.Trained, options: dict, folder: Path) -> None:
    """Let tools/test.py write the metrics and confusion matrices of a network."""
    words = [sys.executable, TEST, network.config, network.checkpoint, '--metrics', network.metrics]
    words += ['--confusion', checkpoints.confusion_file(folder, network.name), '--work-dir', folder / 'test']
    words += ['--cfg-options', *option_words(options)] if options else []
    if subprocess.run([str(word) for word in words], stdout=sys.stderr).returncode:
        raise UserError(f'the test of {network.checkpoint} failed; see above')


@command
def main() -> None:
    args = parse_args()
    page, default = page_of_experiment(args) if len(args.source) == 1 else page_of_checkpoint(args)
    out = args.out or default
    write(page, out)
    print(json.dumps({'out': str(out), 'bytes': out.stat().st_size, 'missing': page.gallery.gaps}))


if __name__ == '__main__':
    main()
