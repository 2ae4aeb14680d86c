"""Compare networks over seeds: train and test what is missing, then say what the differences are worth.

    python tools/experiment.py run experiments/camvid_cpu.yaml
    python tools/experiment.py run experiments/camvid_cpu.yaml --jobs 2 --work-dir runs/camvid
    python tools/experiment.py run experiments/table4.yaml --print-commands > table4.sh
    python tools/experiment.py report experiments/camvid_cpu.yaml --out results/camvid_cpu
    python tools/experiment.py plan experiments/table4.yaml --gain 0.2 --seconds 0.6

An experiment is a YAML file of arms (a config and options), seeds and test modes; mmseg_sr/experiments/plan.py shows
all it can say. `run` trains each arm from each seed by tools/train.py and tests the last checkpoint, or the one that
was best in validation where the file says `checkpoint: best`, in each mode by tools/test.py. What is done is skipped,
what was interrupted goes on from its last checkpoint, and Ctrl-C ends all it started. What all runs need is tried
before the first. Failures are named as they happen, the rest goes on; exit status 1 if there are any. Each run gets a
config of its own, in WORK_DIR/<arm>/seed<k>/configs, with options, seed and work directory in it; logs are in
WORK_DIR/logs.

`run --print-commands` writes these configs and prints the commands as a shell script instead, with `launcher: slurm`
for Slurm. Whatever machines they run on, `report` reads what they left in WORK_DIR.

`report` writes report.md, report.json and forest.png. It answers the question that the experiment was made for
(`primary`: a metric, a mode, the arms): is a gain shown over seeds, corrected for the number of arms, and is it the SR
block's? To know that, `run` tests these networks without their blocks too. All else is reported as also looked at:
mean and standard deviation, differences with 95 % intervals over seeds and over images, each class. It says what is
missing.

`plan` says what the seeds can show and how many a gain needs, before anything is trained: from the spread of the seeds
that were run, of the published figures, or --std; and the hours that takes.
"""

import argparse
import math
import sys
from pathlib import Path

from _cli import Parser, answer, at_least, counted, program

TOOLS = Path(__file__).resolve().parent


def above_zero(text: str) -> float:
    """Read an argument that is a number above zero."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f'must be a number above 0, got {text!r}')
    return value


def parse_args() -> argparse.Namespace:
    parser = Parser(__doc__)
    commands = parser.add_subparsers(dest='command', required=True)
    running = commands.add_parser('run', help='train and test what is missing')
    running.add_argument('--jobs', type=at_least(1), default=1, metavar='N', help='runs at a time (default: 1)')
    running.add_argument('--print-commands', action='store_true', help='print the commands and run nothing')
    running.add_trust()
    reporting = commands.add_parser('report', help='write tables, intervals and a figure')
    reporting.add_argument('--out', type=Path, metavar='DIR', help='folder (default: WORK_DIR/report)')
    planning = commands.add_parser('plan', help='say how many seeds are needed')
    planning.add_argument('--gain', type=above_zero, default=0.2, metavar='POINTS', help='to be shown (default: 0.2)')
    planning.add_argument('--std', type=above_zero, metavar='POINTS', help='of the difference, from seed to seed')
    planning.add_argument('--seconds', type=above_zero, metavar='S', help='an iteration (default: as logged)')
    for subparser in (running, reporting, planning):
        subparser.add_argument('experiment', metavar='EXPERIMENT.yaml', help='what to run')
        subparser.add_argument('--work-dir', metavar='DIR', help='folder of trainings and tests, instead of its own')
    return parser.parse_args()


def run(args: argparse.Namespace) -> int:
    """Run what is missing, or print its commands. 1 if something failed."""
    from mmseg_sr.atomic import check_folder
    from mmseg_sr.experiments import run as experiment
    from mmseg_sr.experiments.plan import load
    from mmseg_sr.experiments.results import cells, rows

    exp = load(args.experiment, args.work_dir)
    check_folder('--work-dir', exp.work_dir)
    if args.print_commands:
        print('\n'.join(experiment.commands(exp, TOOLS)))
        print(f'that is a shell script of what is missing; its configs are in {exp.work_dir}', file=sys.stderr)
        return 0
    failures = experiment.run(exp, args.jobs, TOOLS)
    done, wanted = len(rows(exp)), len(cells(exp))
    failed = f', {len(failures)} failed' if failures else ''
    document = {'rows': done, 'of': wanted, 'failed': [failure.name for failure in failures]}
    answer(args, f'{done} of {counted(wanted, "test")} are there{failed}: {exp.work_dir}', document)
    return int(bool(failures))


def report(args: argparse.Namespace) -> int:
    """Write the report of the rows that there are."""
    from mmseg_sr.atomic import check_folder
    from mmseg_sr.experiments import markdown, plan
    from mmseg_sr.report.charts import forest_plot

    exp = plan.load(args.experiment, args.work_dir)
    out = args.out or exp.work_dir / 'report'
    check_folder('--out', out)
    document = markdown.write(exp, out)
    forest_plot(document['differences'], exp.primary.metric).savefig(out / 'forest.png')
    print((out / 'report.md').read_text(encoding='utf-8'))
    answer(args, f'report.md, report.json and forest.png are in {out}', document)
    return 0


def plan(args: argparse.Namespace) -> int:
    """Say what the seeds can show."""
    from mmseg_sr.experiments import plan, results, seeds

    exp = plan.load(args.experiment, args.work_dir)
    document = seeds.plan_seeds(exp, results.rows(exp), args.gain, args.std, args.seconds)
    print(f'{seeds.to_markdown(document)}\n')
    needed = [each['seeds_needed'] or 'more than 10,000' for each in document['arms']]
    wanted = ', '.join(f'{each["arm"]} {seeds}' for each, seeds in zip(document['arms'], needed, strict=True))
    answer(args, f'seeds for {args.gain:+.2f} {document["metric"]}: {wanted}', document)
    return 0


def work(args: argparse.Namespace) -> int:
    return {'run': run, 'report': report, 'plan': plan}[args.command](args)


main = program(parse_args, work)

if __name__ == '__main__':
    main()
