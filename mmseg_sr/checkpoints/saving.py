"""AtomicCheckpointHook: checkpoints that a kill, a power cut or a full disk cannot take away."""

import os
from collections import deque
from pathlib import Path

from mmengine.dist import master_only
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ..atomic import replacing
from ..config import TRUST
from ..errors import UserError, one_line
from .records import fault_of, without_functions

LAST = 'last_checkpoint'
BEST = 'best.pth'


@register_backend('atomic')
class AtomicBackend(LocalBackend):
    """Write local files that appear whole or not at all, and that go when :meth:`tidy` is called.

    Raises:
        UserError: Where a file cannot be written, a full disk say. What was there before stays.
    """

    def __init__(self):
        self.outdated: list[str] = []

    def put(self, obj: bytes, filepath: str | Path) -> None:
        try:
            with replacing(Path(filepath), durable=True) as partial:
                partial.write_bytes(obj)
        except OSError as error:
            raise UserError(
                f'cannot write {filepath}: {one_line(error)}. What was saved before is whole: '
                'once there is room, go on from it with --resume'
            ) from error

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        self.put(obj.encode(encoding), filepath)

    def remove(self, filepath: str | Path) -> None:
        self.outdated.append(str(filepath))

    def tidy(self, keep: set[str]) -> None:
        """Remove what was to be removed, but for the paths in ``keep``."""
        for path in self.outdated:
            if path not in keep:
                Path(path).unlink(missing_ok=True)
        self.outdated.clear()


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """Save as mmengine's CheckpointHook; at any moment there is a whole checkpoint, and ``last_checkpoint`` names one.

    In a config: ``default_hooks = dict(checkpoint=dict(type='AtomicCheckpointHook', ...))``, with the arguments of
    CheckpointHook. A checkpoint, a best one too, is written to a hidden temporary file, brought to the disk and
    renamed; then ``last_checkpoint`` names it; only then the one that it replaces goes. The disk has to hold one more
    than are kept. With one metric in ``save_best``, the best one is ``best.pth`` too, a link.

    Raises:
        ValueError: For a place that is not on a local disk.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if self.file_client_args or self.backend_args or '://' in str(self.out_dir):
            place = self.file_client_args or self.backend_args or self.out_dir
            raise ValueError(f'AtomicCheckpointHook writes to local folders, not to {place!r}: take CheckpointHook')
        self.backend_args = dict(backend='atomic')
        self._saved: int | None = None
        self._fault: str | None = None

    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)
        step = runner.epoch if self.by_epoch else runner.iter
        path = Path(self.out_dir, self.filename_tmpl.format(step))
        source = Path(runner.cfg.get('load_from') or path)
        if step and path.is_file() and source.resolve() == path.resolve():  # resumed from there
            self._saved, self.last_ckpt = step, str(path)
            self._name_last(runner)  # a kill can come between a checkpoint and its name
        for folder in {self.out_dir, runner.work_dir}:
            self._sweep(Path(folder))
        self._tidy()

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Say at once, and not when it is resumed, what of a checkpoint will be refused."""
        if 'param_schedulers' in checkpoint:
            checkpoint['param_schedulers'] = without_functions(checkpoint['param_schedulers'])
        fault = fault_of(checkpoint)
        if fault and fault != self._fault and os.environ.get(TRUST) != '1':
            runner.logger.error(
                f'What is saved will be refused by --resume and by every other tool: {fault}. '
                'Leave that out of the training, or read the checkpoints with --trust-checkpoint.'
            )
        self._fault = fault

    def save(self, runner: Runner, iteration: int) -> None:
        """Save the state after ``iteration`` iterations, unless that has been done."""
        if self._saved != iteration:
            self._save_checkpoint_with_step(runner, iteration, meta=dict(epoch=runner.epoch, iter=iteration))

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        """mmengine's, in an order in which nothing is lost."""
        self._tidy()  # The best checkpoint before the one that has just been saved.
        kept = []
        if self.max_keep_ckpts > 0:
            kept = [*(each for each in self.keep_ckpt_ids if each != step), step]
            # With the outdated one still among them, which a run resumed from here will remove if this one cannot.
            runner.message_hub.update_info('keep_ckpt_ids', list(kept))
        name = self.filename_tmpl.format(step)
        self.last_ckpt = str(Path(self.out_dir, name))
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            name,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        self._saved = step
        self._name_last(runner)
        for outdated in kept[: -self.max_keep_ckpts]:
            self.file_backend.remove(Path(self.out_dir, self.filename_tmpl.format(outdated)))
        self._tidy()
        if self.max_keep_ckpts > 0:
            self.keep_ckpt_ids = deque(kept, self.max_keep_ckpts)
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        super()._save_best_checkpoint(runner, metrics)
        self._link_best(runner)
        self._tidy()

    @master_only
    def _link_best(self, runner: Runner) -> None:
        best = getattr(self, 'best_ckpt_path', None)  # of several metrics there are several
        if best:
            with replacing(Path(runner.work_dir, BEST)) as partial:
                partial.symlink_to(os.path.relpath(best, runner.work_dir))

    @master_only
    def _name_last(self, runner: Runner) -> None:
        self.file_backend.put_text(self.last_ckpt, Path(runner.work_dir, LAST))

    @master_only
    def _tidy(self) -> None:
        best = {getattr(self, 'best_ckpt_path', None), *getattr(self, 'best_ckpt_path_dict', {}).values()}
        self.file_backend.tidy(keep={str(path) for path in best})

    @master_only
    def _sweep(self, folder: Path) -> None:
        """Remove what a killed process left half written."""
        start = self.filename_tmpl.partition('{')[0]
        for partial in folder.glob('.*.partial*'):
            if partial.name.startswith((f'.{start}', '.best_', f'.{LAST}')):
                partial.unlink(missing_ok=True)
