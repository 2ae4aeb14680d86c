"""From a config to a run of OpenMMLab's Runner: on GPUs or CPUs, in one process or several.

    cfg = load_config('configs/sr.py', {'train_cfg.max_iters': 100})
    runner = train(cfg)
    metrics = test(cfg, 'work_dirs/sr/iter_100.pth')

Whatever the user gave is tried before the Runner makes its first folder, so a mistake is one :class:`UserError` and
leaves nothing behind.
"""

import copy
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import print_log
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner
from mmengine.runner.checkpoint import _load_checkpoint_to_model
from torch import nn

from ..checkpoints.reading import read_checkpoint
from ..checkpoints.resuming import resume_newest
from ..checkpoints.weights import BlockRemoval, check_finite, check_weights, plain_weights
from ..config import evaluators, prepare, require, with_tta
from ..datasets.build import build_dataset, check_files
from ..errors import UserError, blame, one_line
from ..hooks.data_guard import DataGuardHook
from ..hooks.loss_guard import LossGuardHook
from ..hooks.preemption import PreemptionHook
from ..processes import is_first_process, process_group, quiet


def build_runner(cfg: Config) -> Runner:
    """Build the Runner of a config on this machine, with the hooks that guard its data and its loss.

    Raises:
        UserError: Where the config names what is not registered, lacks an argument or has a wrong one.
    """
    cfg = prepare(cfg)
    with blame('build the runner'):
        runner = Runner.from_cfg(cfg)
    for guard in (DataGuardHook, LossGuardHook):
        if not any(isinstance(hook, guard) for hook in runner.hooks):
            runner.register_hook(guard())
    return runner


def train(cfg: Config) -> Runner:
    """Train as a config says; ``resume`` and ``load_from`` in it as in OpenMMLab.

    Where it resumes without a ``load_from``, that is from the newest checkpoint of the work directory that is whole.

    Returns:
        The Runner, after training.

    Raises:
        UserError: For a mistake in the config, missing data, a start that does not fit, pretrained weights that
            cannot be fetched, mixed precision without a GPU, a checkpoint that cannot be written, a file that cannot be
            trained on, and a loss that is not finite.
        SystemExit: With status 143, after SIGTERM and what :class:`.PreemptionHook` does then.
    """
    cfg = prepare(cfg)
    require(cfg, 'model', 'train_dataloader', 'train_cfg', 'optim_wrapper')
    if get_device() == 'cpu' and cfg.optim_wrapper.get('type') == 'AmpOptimWrapper':
        raise UserError('mixed precision (--amp, AmpOptimWrapper) needs a GPU, and there is none')
    seed = (cfg.get('randomness') or {}).get('seed')
    if seed is not None and not (isinstance(seed, int) and 0 <= seed < 2**32):
        raise UserError(f'randomness.seed (--seed) is a whole number from 0 to {2**32 - 1}, got {seed!r}')
    if cfg.get('resume') and not cfg.get('load_from'):
        cfg = resume_newest(cfg)
    with process_group(cfg):
        model = _try_parts(cfg, 'train_dataloader', 'val_dataloader')
        if cfg.get('load_from'):
            _try_start(cfg, model)
        runner = build_runner(cfg)
        # Runner.train would build the rest too; here a mistake in it is known to be the config's.
        with blame('set up training'):
            _ = runner.train_loop, runner.val_loop
        with blame(f'build the optimizer {cfg.optim_wrapper.get("optimizer")}'):
            runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
        del model  # the Runner has built its own
        try:
            runner.train()
        except URLError as error:
            raise UserError(_no_download(cfg, error)) from error
        except FileNotFoundError as error:
            raise UserError(one_line(error)) from error
        finally:
            for hook in runner.hooks:
                if isinstance(hook, PreemptionHook):
                    hook.release()
    return runner


def test(cfg: Config, checkpoint: str | Path, tta: bool = False, without_sr: bool = False) -> dict[str, float]:
    """Evaluate a checkpoint on the config's test data.

    Args:
        cfg: The config of the model. A stock ``IoUMetric`` in it is taken for ``ClassIoUMetric``, which gives the
            same numbers unrounded, and each class's.
        checkpoint: File of the weights; a stock model's too, then the SR blocks are the identity.
        tta: With the config's test-time augmentation.
        without_sr: With every SR block the identity, whatever the checkpoint has for it.

    Returns:
        Metrics by name, in every process.

    Raises:
        UserError: For a mistake in the config, missing data, or a checkpoint that does not fit the model.
    """
    cfg = prepare(cfg)
    require(cfg, 'model', 'test_dataloader', 'test_cfg', 'test_evaluator')
    weights = read_checkpoint(checkpoint)
    with process_group(cfg):
        model = _try_parts(cfg, 'test_dataloader')
        removal = BlockRemoval(model) if without_sr else None
        if removal:
            removal.after_load_checkpoint(None, weights)
        with quiet('ERROR'):  # the Runner loads the same weights and says what there is to say
            blocks = check_weights(model, weights, checkpoint)
        if blocks and is_first_process(cfg):
            reason = 'tested without' if without_sr else f'{checkpoint} has no'
            print_log(f'{reason} weights of {", ".join(blocks)}: identity there.', logger='current')
        del model, weights  # the Runner builds and loads its own
        cfg.load_from, cfg.resume = str(checkpoint), False
        for evaluator in evaluators(cfg):
            if evaluator.get('type') in ('IoUMetric', 'mmseg.IoUMetric'):
                evaluator['type'] = 'ClassIoUMetric'
        runner = build_runner(with_tta(cfg) if tta else cfg)
        if removal:
            runner.register_hook(removal)
        with blame('set up testing'):
            _ = runner.test_loop
        return runner.test()


def _try_parts(cfg: Config, *loaders: str) -> nn.Module:
    """Build the model and the datasets once: the Runner makes folders before it finds a mistake in them."""
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmengine')):
        for name in loaders:
            if cfg.get(name):
                check_files(name, build_dataset(name, cfg[name]))
        with blame('build the model'):
            return MODELS.build(copy.deepcopy(cfg.model))


def _try_start(cfg: Config, model: nn.Module) -> None:
    checkpoint = read_checkpoint(cfg.load_from)
    check_finite(plain_weights(checkpoint), cfg.load_from, buffers={name for name, _ in model.named_buffers()})
    with quiet('ERROR'):  # the Runner loads the same weights and says what there is to say
        if not cfg.get('resume'):
            # To start from other weights, in part too, is what load_from is for; an SR block says what cannot fit.
            with blame(f'start from {cfg.load_from}'):
                _load_checkpoint_to_model(model, checkpoint, logger='silent')
            return
        if not {'meta', 'message_hub', 'optimizer'} <= checkpoint.keys():
            raise UserError(f'{cfg.load_from} has weights only and cannot be resumed; start from it by load_from=')
        check_weights(model, checkpoint, cfg.load_from, whole=True)


def _no_download(cfg: Config, error: URLError) -> str:
    places = [option for option, value in _addresses(cfg.model, 'model') if '://' in value]
    options = ' '.join(f'{place}=None' for place in places) or 'model.pretrained=None'
    return (
        f'cannot download the pretrained weights: {one_line(error)}. '
        f'To train without them: --cfg-options {options}; a local file can stand there instead of None'
    )


def _addresses(node: object, path: str) -> Iterator[tuple[str, str]]:
    """Yield (dotted key, value) of the pretrained weights that a model's config names."""
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        if key in ('pretrained', 'checkpoint') and isinstance(value, str):
            yield f'{path}.{key}' if key == 'pretrained' else path, value
        else:
            yield from _addresses(value, f'{path}.{key}')
