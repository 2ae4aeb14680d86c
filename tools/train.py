"""Train a segmentor or a classifier: on one GPU, or on the CPU where there is none.

    python tools/train.py CONFIG
    python tools/train.py CONFIG --work-dir runs/a --seed 0 --cfg-options train_cfg.max_iters=100 model.pretrained=None
    python tools/train.py CONFIG --resume                     # from the newest checkpoint in the work directory, if any
    python tools/train.py CONFIG --resume runs/a/iter_400.pth

Logs and checkpoints go to the work directory: --work-dir, else the config's work_dir, else work_dirs/ and the
config's name. Several processes: tools/dist_train.sh and tools/slurm_train.sh.

Weights that the config names in `pretrained` are downloaded at the start. Without a network set it to a local file,
or to None: --cfg-options model.pretrained=None.

SIGTERM (from Slurm before it takes the node, from `kill`): the iteration is finished and saved, and the exit status is
143. Another one after five seconds ends at once. Whatever ended a run, the same command with --resume goes on: from the
newest checkpoint that is whole, with a line for each newer one that is not. One that is whole and cannot be resumed is
never trained over: that is an error. The run then ends as without the stop, bit for bit, if it has as many processes as
before and its operations are deterministic: on a CPU they are, on a GPU --deterministic asks for it. A job that may be
started more than once is best started with --resume at once.
"""

import argparse
from pathlib import Path

from _cli import Parser, answer, counted, program


def parse_args() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument('config', metavar='CONFIG', help='config file')
    parser.add_argument('--resume', nargs='?', const=True, metavar='CHECKPOINT', help='go on with an earlier run')
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision; needs a GPU')
    parser.add_argument('--seed', type=int, help='random seed')
    parser.add_argument('--deterministic', action='store_true', default=None, help='deterministic algorithms only')
    parser.add_run()
    return parser.parse_args()


def train(args: argparse.Namespace) -> None:
    from mmseg_sr.checkpoints.resuming import resume_newest
    from mmseg_sr.config import load_config, with_amp
    from mmseg_sr.options import merge_options, read_options
    from mmseg_sr.processes import is_first_process
    from mmseg_sr.runs import launch

    flags = {
        'work_dir': args.work_dir,
        'launcher': args.launcher,
        'randomness.seed': args.seed,
        'randomness.deterministic': args.deterministic,
        'load_from': None if args.resume is True else args.resume,
        'resume': True if isinstance(args.resume, str) else None,
    }
    cfg = load_config(args.config, merge_options(read_options(args.cfg_options), flags))
    if args.amp:
        cfg = with_amp(cfg)
    if args.resume is True:  # goes before a load_from of the config, which is where the run began
        cfg = resume_newest(cfg)
    runner = launch.train(cfg)
    if is_first_process(cfg):
        note = Path(runner.work_dir, 'last_checkpoint')  # mmengine's
        saved = note.read_text(encoding='utf-8').strip() if note.is_file() else None
        document = {'config': args.config, 'iterations': runner.iter, 'checkpoint': saved, 'work_dir': runner.work_dir}
        place = f'the last checkpoint is {saved}' if saved else f'no checkpoint was saved in {runner.work_dir}'
        answer(args, f'{counted(runner.iter, "iteration")} trained; {place}', document)


main = program(parse_args, train, launched=True)

if __name__ == '__main__':
    main()
