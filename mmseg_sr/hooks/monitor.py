"""SRMonitorHook: see in the training log whether a memory works at all."""

from contextlib import ExitStack

import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapperDict
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor
from torch.optim import Optimizer

from ..memory.probe import Passes, probe
from ..memory.stats import entropy, usage
from ..models.block import SRBlock
from ..models.find import sr_blocks
from ..models.low_rank import block_norms


@HOOKS.register_module()
class SRMonitorHook(Hook):
    """Log what each SR block does, every ``interval`` training iterations.

    In a config: ``custom_hooks = [dict(type='SRMonitorHook')]``. The numbers go the way of the loss: to the log line
    (four digits there) and in full to ``scalars.json`` and every visualizer backend of the config. For a block named
    ``backbone.layer3.sr`` they are ``sr/backbone.layer3.sr/`` with

    * ``memory_norm``: Euclidean norm of the whole memory;
    * ``shift_percent``: norm of what the block adds relative to the norm of its input, the mean over the batch;
    * ``entropy``: of an image's softmax weights, in nats, the mean over the batch; log P at most;
    * ``blocks_in_use``: effective number of memory blocks that the batch uses together, 1 to P;
    * ``memory_gradient``, ``gate_gradient``: Euclidean norms as the optimizer gets them, that is averaged over
      processes, summed over accumulated iterations, unscaled and clipped. Left out for what is frozen.

    With gradient accumulation the gradients are those of the next step, logged when it is taken. Of several processes
    each looks at its own batch; the first one's is logged.

    It warns, once for each block, of a memory that is zero and of one memory block that has a mean weight above 0.99.

    Args:
        interval: Iterations from one look to the next. A multiple of the logger's keeps the log line up to date.
        patience: Iterations before it warns.

    Raises:
        ValueError: For an ``interval`` or ``patience`` that is no positive integer.
    """

    def __init__(self, interval: int = 50, patience: int = 200):
        for name, value in (('interval', interval), ('patience', patience)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f'{name} must be a positive integer, got {value!r}')
        self.interval, self.patience = interval, patience
        self._blocks: dict[str, SRBlock] = {}
        self._passes: dict[str, Passes] = {}
        self._gradients: dict[str, float] = {}
        self._warned: set[tuple[str, str]] = set()
        self._model_hooks, self._step_hooks = ExitStack(), ExitStack()

    def before_train(self, runner: Runner) -> None:
        self._blocks = sr_blocks(runner.model)
        if not self._blocks:
            runner.logger.warning('SRMonitorHook: the model has no SR block, there is nothing to monitor.')

    def before_train_iter(self, runner: Runner, *args: object, **kwargs: object) -> None:
        """Start to look, in the iterations that are logged only."""
        if self._blocks and self.every_n_train_iters(runner, self.interval):
            self._passes = self._model_hooks.enter_context(probe(runner.model))
            self._watch_steps(runner)

    def after_train_iter(self, runner: Runner, *args: object, **kwargs: object) -> None:
        """Log the numbers; before the LoggerHook, whose priority is lower."""
        self._model_hooks.close()
        for name, passes in self._passes.items():
            numbers = self._measure(self._blocks[name], passes)
            self._log(runner, {f'{name}/{key}': value for key, value in numbers.items()})
            self._warn(runner, name, numbers['memory_norm'], passes)
        self._passes = {}
        if self._gradients:
            self._step_hooks.close()
            self._log(runner, self._gradients)
            self._gradients = {}

    def after_train(self, runner: Runner) -> None:
        self._model_hooks.close()
        self._step_hooks.close()

    @staticmethod
    @torch.no_grad()
    def _measure(block: SRBlock, passes: Passes) -> dict[str, float]:
        numbers = {'memory_norm': float(block_norms(*block.memory_parameters()).norm())}
        if passes.weights:  # a compiled model, or one that drops stages at random, may not have run the block
            weights = torch.cat(passes.weights).numpy()
            numbers['shift_percent'] = 100 * float(torch.cat(passes.shift).mean())
            numbers['entropy'] = float(entropy(weights).mean())
            numbers['blocks_in_use'] = usage(weights).in_use
        return numbers

    def _watch_steps(self, runner: Runner) -> None:
        """Look at gradients where they are complete: mmengine zeroes them as soon as the step is done."""
        self._step_hooks.close()
        wrapper = runner.optim_wrapper
        for each in wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]:
            handle = each.optimizer.register_step_pre_hook(self._see_gradients)
            self._step_hooks.callback(handle.remove)

    def _see_gradients(self, optimizer: Optimizer, args: tuple, kwargs: dict) -> None:
        scale = float(getattr(optimizer, 'grad_scale', None) or 1)  # a fused optimizer unscales in its step
        for name, block in self._blocks.items():
            for key, part in (('memory', block.memory_parameters()), ('gate', list(block.gate.parameters()))):
                gradients = [parameter.grad for parameter in part if parameter.grad is not None]
                if gradients:
                    self._gradients[f'{name}/{key}_gradient'] = _norm(gradients) / scale

    @staticmethod
    def _log(runner: Runner, numbers: dict[str, float]) -> None:
        for key, value in numbers.items():
            runner.message_hub.update_scalar(f'train/sr/{key}', value)

    def _warn(self, runner: Runner, name: str, memory_norm: float, passes: Passes) -> None:
        iteration = runner.iter + 1
        if iteration < self.patience:
            return
        faults = {}
        if memory_norm == 0:
            faults['zero'] = f'the memory is still zero after {iteration} iterations: the block is the identity'
        if passes.weights and self._blocks[name].num_memories > 1:
            weights = torch.cat(passes.weights).mean(0)
            if weights.max() > 0.99:
                faults['alone'] = f'memory block {int(weights.argmax())} has a weight of {float(weights.max()):.4f}'
        for kind, message in faults.items():
            if (name, kind) not in self._warned:
                self._warned.add((name, kind))
                runner.logger.warning(f'{name}: {message}')


def _norm(tensors: list[Tensor]) -> float:
    norms = [torch.linalg.vector_norm(tensor.detach(), dtype=torch.float32) for tensor in tensors]
    return float(torch.linalg.vector_norm(torch.stack(norms)))
