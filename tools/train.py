"""Train a segmentor: on one GPU, or on the CPU where there is none.

    python tools/train.py CONFIG
    python tools/train.py CONFIG --work-dir runs/a --seed 0 --cfg-options train_cfg.max_iters=100 model.pretrained=None
    python tools/train.py CONFIG --resume                     # from the newest checkpoint in the work directory, if any
    python tools/train.py CONFIG --resume runs/a/iter_400.pth

Logs and checkpoints go to the work directory: --work-dir, else the config's work_dir, else work_dirs/ and the
config's name. Several processes: tools/dist_train.sh and tools/slurm_train.sh.

Weights that the config names in `pretrained` are downloaded at the start. Without a network set it to a local file,
or to None: --cfg-options model.pretrained=None. Exit status 2 and one message for a mistake in what was given.

SIGTERM (from Slurm before it takes the node, from `kill`): the iteration is finished and saved, and the exit status is
143. Another one after five seconds ends at once. Whatever ended a run, the same command with --resume goes on: from the
newest checkpoint that is whole, with a line for each newer one that is not. The run then ends as without the stop, bit
for bit, if it has as many processes as before and its operations are deterministic: on a CPU they are, on a GPU
--deterministic asks for it. A job that may be started more than once is best started with --resume at once.
"""

import argparse
import copy
import os

from mmengine.config import Config

from mmseg_sr.checkpoints.resuming import resume_newest
from mmseg_sr.config import load_config, merge_options, run_arguments
from mmseg_sr.errors import UserError, command
from mmseg_sr.processes import first_process_speaks
from mmseg_sr.runs.launch import train


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, parents=[run_arguments()]
    )
    parser.add_argument('config', metavar='CONFIG', help='config file')
    parser.add_argument('--resume', nargs='?', const=True, metavar='CHECKPOINT', help='go on with an earlier run')
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision; needs a GPU')
    parser.add_argument('--seed', type=int, help='random seed')
    parser.add_argument('--deterministic', action='store_true', default=None, help='deterministic algorithms only')
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def with_amp(cfg: Config) -> Config:
    """Let mmengine's AmpOptimWrapper run the config's optimizer."""
    cfg = copy.deepcopy(cfg)
    wrapper = cfg.get('optim_wrapper') or {}
    if wrapper.get('type', 'OptimWrapper') not in ('OptimWrapper', 'AmpOptimWrapper'):
        raise UserError(f'--amp works with OptimWrapper only, and the config has {wrapper.type}')
    wrapper.type = 'AmpOptimWrapper'
    wrapper.setdefault('loss_scale', 'dynamic')
    return cfg


def with_resume(cfg: Config, checkpoint: str | None = None) -> Config:
    """Resume from a checkpoint, or from the newest in the work directory: from the beginning if there is none."""
    if checkpoint is None:
        return resume_newest(cfg)
    cfg = copy.deepcopy(cfg)
    cfg.resume, cfg.load_from = True, checkpoint
    return cfg


@command
@first_process_speaks
def main() -> None:
    args = parse_args()
    flags = {
        'work_dir': args.work_dir,
        'launcher': args.launcher,
        'randomness.seed': args.seed,
        'randomness.deterministic': args.deterministic,
        'load_from': None if args.resume is True else args.resume,
    }
    cfg = load_config(args.config, merge_options(args.cfg_options, flags))
    if args.amp:
        cfg = with_amp(cfg)
    if args.resume:
        cfg = with_resume(cfg, None if args.resume is True else args.resume)
    train(cfg)


if __name__ == '__main__':
    main()
