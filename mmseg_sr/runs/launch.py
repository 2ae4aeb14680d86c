"""Run a config by OpenMMLab's Runner: on GPUs or CPUs, in one process or several.

    cfg = load_config('configs/sr.py', {'train_cfg.max_iters': 100})
    runner = train(cfg)
    metrics = test(cfg, 'work_dirs/sr/iter_100.pth')

Datasets, network and checkpoint are checked, and the run is rehearsed, before the Runner makes its first folder, so a
mistake is one :class:`UserError` and leaves nothing behind. The Runner gets this network; it does not build another.
"""

from pathlib import Path
from urllib.error import URLError

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import print_log
from mmengine.runner import Runner
from mmengine.runner.checkpoint import _load_checkpoint_to_model
from torch import nn

from ..checkpoints.loaders import pretrained_of
from ..checkpoints.reading import read_checkpoint
from ..checkpoints.resuming import RESUMES, resume_newest
from ..checkpoints.weights import check_finite, check_some_fit, check_weights, plain_weights, without_blocks
from ..config import evaluators, prepare, require, with_tta
from ..errors import UserError, blame, one_line
from ..kinds import is_kind
from ..names import find_checkpoint
from ..processes import is_first_process, process_group, quiet
from .rehearsal import rehearse
from .runner import Loaded, build_network, build_runner
from .test_outputs import KeepFolders


def train(cfg: Config) -> Runner:
    """Train as a config says; ``resume`` and ``load_from`` in it as in OpenMMLab.

    Where it resumes without a ``load_from``, that is from the newest checkpoint of the work directory that is whole.

    Returns:
        The Runner, after training.

    Raises:
        UserError: For a mistake in the config, missing data, a start that does not fit, pretrained weights that
            cannot be fetched, mixed precision without a GPU, a full disk, a bad file, and a loss that is not finite.
        SystemExit: With status 143, after SIGTERM and what :class:`.PreemptionHook` does then.
    """
    cfg = prepare(cfg)
    require(cfg, 'model', 'train_dataloader', 'train_cfg', 'optim_wrapper')
    if get_device() == 'cpu' and is_kind(cfg.optim_wrapper, 'OPTIM_WRAPPERS', 'AmpOptimWrapper'):
        raise UserError('mixed precision (--amp, AmpOptimWrapper) needs a GPU, and there is none')
    if cfg.get('resume') and not cfg.get('load_from'):
        cfg = resume_newest(cfg)
    with process_group(cfg):
        network = build_network(cfg, 'train_dataloader', 'val_dataloader')
        if cfg.get('load_from'):
            _check_start(cfg, network.model)
        try:
            notes = rehearse(cfg, network)
        except URLError as error:
            raise UserError(_no_download(cfg, error)) from error
        runner = build_runner(cfg, network, cfg.get('load_from'))
        for note in notes:
            runner.logger.warning(note)
        try:
            runner.train()
        except FileNotFoundError as error:
            raise UserError(one_line(error)) from error
        finally:
            runner.call_hook('release_sigterm')  # of PreemptionHook
    return runner


def test(cfg: Config, checkpoint: str | Path, tta: bool = False, without_sr: bool = False) -> dict[str, float]:
    """Evaluate a checkpoint on the config's test data.

    Args:
        cfg: The config of the model. A stock ``IoUMetric`` in it is taken for ``ClassIoUMetric``, which gives the
            same numbers unrounded, and each class's.
        checkpoint: File of the weights, opened once; a stock model's too, then the SR blocks are the identity.
        tta: With the config's test-time augmentation.
        without_sr: With every SR block the identity, whatever the checkpoint has for it.

    Returns:
        Metrics by name, in every process.

    Raises:
        UserError: For a mistake in the config, missing data, or a checkpoint that does not fit the model.
    """
    cfg = prepare(cfg)
    require(cfg, 'model', 'test_dataloader', 'test_cfg', 'test_evaluator')
    for evaluator in evaluators(cfg):
        if is_kind(evaluator, 'METRICS', 'IoUMetric'):
            evaluator['type'] = 'ClassIoUMetric'
    cfg = with_tta(cfg) if tta else cfg
    cfg.load_from, cfg.resume = str(checkpoint), False
    find_checkpoint(checkpoint)  # says at once that there is none
    with process_group(cfg):
        network = build_network(cfg, 'test_dataloader')
        notes = rehearse(cfg, network, test=True)  # before the checkpoint takes its memory
        weights = read_checkpoint(checkpoint)
        model = network.model.module if tta else network.model
        weights = without_blocks(weights, model) if without_sr else weights
        blocks = check_weights(model, weights, checkpoint)
        if blocks and is_first_process(cfg):
            reason = 'tested without' if without_sr else f'{checkpoint} has no'
            print_log(f'{reason} weights of {", ".join(blocks)}: identity there.', logger='current')
        runner = build_runner(cfg, network)
        for note in notes:
            runner.logger.warning(note)
        runner.register_hook(Loaded(weights, checkpoint))
        runner.register_hook(KeepFolders())
        del weights
        return runner.test()


def _check_start(cfg: Config, model: nn.Module) -> None:
    checkpoint = read_checkpoint(cfg.load_from)
    with quiet('ERROR'):  # the Runner loads the same weights and says what there is to say
        if cfg.get('resume'):
            if not checkpoint.keys() >= RESUMES:
                raise UserError(f'{cfg.load_from} has weights only and cannot be resumed; start from it by load_from=')
            check_weights(model, checkpoint, cfg.load_from, whole=True)
            return
        check_finite(plain_weights(checkpoint), cfg.load_from, buffers={name for name, _ in model.named_buffers()})
        # To start from other weights, in part too, is what load_from is for; an SR block says what cannot fit.
        with blame(f'start from {cfg.load_from}'):
            check_some_fit(model, plain_weights(checkpoint), cfg.load_from)
            _load_checkpoint_to_model(model, checkpoint, logger='silent')


def _no_download(cfg: Config, error: URLError) -> str:
    addresses = [key for key, value in pretrained_of(cfg.model) if '://' in value]
    # Of init_cfg=dict(type='Pretrained', checkpoint=...) the whole is to be None.
    places = [key if key.endswith('.pretrained') else key.rpartition('.')[0] for key in addresses]
    options = ' '.join(f'{place}=None' for place in places or ['model.pretrained'])
    return (
        f'cannot download the pretrained weights: {one_line(error)}. '
        f'To train without them: --cfg-options {options}; a local file can stand there instead of None'
    )
