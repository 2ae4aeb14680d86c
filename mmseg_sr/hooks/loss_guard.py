"""LossGuardHook: a loss that is not finite stops a training before it reaches the weights; it must reach all blocks."""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial

import torch
from mmengine.dist import all_gather_object, all_reduce, is_distributed
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor

from ..checkpoints.resuming import last_good
from ..checkpoints.weights import plain_name
from ..errors import UserError
from ..models.find import sr_blocks

SKIPPED = 'loss_guard_skipped'  # in mmengine's message hub, which a checkpoint keeps


@HOOKS.register_module()
class LossGuardHook(Hook):
    """Stop where the loss is NaN or infinite: with the iteration, the batch's files and the last good checkpoint.

    The tools here use it in every training; to let it leave batches out, or with other tools:
    ``custom_hooks = [dict(type='LossGuardHook', max_skips=3)]``.

    The loss is judged before its gradients are computed, so it changes no weight, at the price of one wait for the GPU
    in an iteration. With mixed precision infinite *gradients* are left to the gradient scaler.

    SR blocks that the first loss does not reach are named, for they learn nothing: no head reads their maps. Under DDP,
    which would end in the next iteration, that ends the training.

    A batch that is left out changes neither weights nor buffers (BatchNorm's means have seen it by then and are put
    back, at the price of a copy of all buffers in each iteration), and costs an iteration of the schedule. Of several
    processes all leave their batches out, or stop, together.

    Args:
        max_skips: How many batches may be left out, in a training and all that resume it, before it stops.

    Raises:
        ValueError: For a ``max_skips`` that is no integer from 0.
        UserError: In a training, where the loss is not finite.
    """

    def __init__(self, max_skips: int = 0):
        if isinstance(max_skips, bool) or not isinstance(max_skips, int) or max_skips < 0:
            raise ValueError(f'max_skips must be an integer from 0, got {max_skips!r}')
        self.max_skips = max_skips
        self._batch: object = None
        self._buffers: list[Tensor] = []
        self._reached = False

    def before_train(self, runner: Runner) -> None:
        wrapper = runner.optim_wrapper
        wrapper.update_params = partial(self._update, runner, wrapper.update_params)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        self._batch = data_batch
        if self.max_skips:
            self._buffers = [buffer.clone() for buffer in runner.model.buffers()]

    def after_train(self, runner: Runner) -> None:
        runner.optim_wrapper.__dict__.pop('update_params', None)  # the class's own is below

    def _update(self, runner: Runner, update: Callable, loss: Tensor, *args, **kwargs) -> None:
        """mmengine's ``update_params``, for a loss that is finite in all processes."""
        if not _is_spoiled(loss):
            with contextlib.nullcontext() if self._reached else _reaching(runner):
                update(loss, *args, **kwargs)
            self._reached = True
            return
        story = f'iteration {runner.iter + 1}: the loss is {_of_all(float(loss.detach()), self._batch)}'
        parameters = runner.model.named_parameters()
        weight = next((plain_name(name) for name, value in parameters if not value.isfinite().all()), None)
        skipped = runner.message_hub.runtime_info.get(SKIPPED, 0)
        if weight is None and skipped < self.max_skips:
            runner.message_hub.update_info(SKIPPED, skipped + 1)
            for buffer, kept in zip(runner.model.buffers(), self._buffers, strict=True):
                buffer.copy_(kept)
            runner.logger.warning(f'{story}. Left out, {skipped + 1} of {self.max_skips}.')
            return
        self.after_train(runner)
        raise UserError(f'{story}. {_cause(weight, self.max_skips)} {_way_back(runner)}')


@contextlib.contextmanager
def _reaching(runner: Runner) -> Iterator[None]:
    """Name the SR blocks to which no gradient comes inside the ``with`` block."""
    memories = {name: block.memory_parameters()[0] for name, block in sr_blocks(runner.model).items()}
    unread = {name for name, memory in memories.items() if memory.requires_grad}
    handles = [memories[name].register_hook(lambda _, name=name: unread.discard(name)) for name in unread]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
    if unread:
        story = (
            f'{", ".join(sorted(unread))}: the loss does not depend on it, so it learns nothing. No head reads its map'
        )
        if is_distributed() and not getattr(runner.model, 'find_unused_parameters', True):
            raise UserError(story)
        runner.logger.warning(story)


def _is_spoiled(loss: Tensor) -> bool:
    spoiled = (~torch.isfinite(loss.detach())).any().int()
    if is_distributed():
        all_reduce(spoiled, 'max')
    return bool(spoiled)


def _of_all(loss: float, batch: object) -> str:
    """Each process's loss that is not finite, and the files of its batch."""
    found = all_gather_object((loss, _files(batch))) if is_distributed() else [(loss, _files(batch))]
    return '; '.join(f'{value} for {", ".join(files)}' for value, files in found if not abs(value) < float('inf'))


def _files(batch: object) -> list[str]:
    """Images of a batch; their labels have their names."""
    samples = batch.get('data_samples', ()) if isinstance(batch, dict) else ()
    return [str(getattr(sample, 'img_path', 'an image without a name')) for sample in samples] or ['a nameless batch']


def _cause(weight: str | None, max_skips: int) -> str:
    if weight is not None:
        return f'{weight} was not finite before: an earlier step spoiled it, a learning rate too high say.'
    if max_skips:
        return f'The weights are as before it; {max_skips} batches have been left out already.'
    return (
        'The weights are as before it. Look at these files (tools/check_dataset.py CONFIG); a lower learning rate, or '
        "custom_hooks=[dict(type='LossGuardHook', max_skips=3)], may help."
    )


def _way_back(runner: Runner) -> str:
    good = last_good(runner.work_dir, [plain_name(name) for name, _ in runner.model.named_buffers()])
    if good:
        return f'Last good checkpoint: {good} (--resume {good})'
    return f'There is no good checkpoint in {runner.work_dir}'
