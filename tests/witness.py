"""What each of several processes sees in a training; imported by the configs of tests."""

import os
import signal
from pathlib import Path

import torch
from mmengine.dist import get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from torch.nn.modules.batchnorm import _BatchNorm
from yapf.yapflib import yapf_api

yapf_api.FormatCode = lambda text, **style: (text, False)  # formatting the config takes longer than such a training


@HOOKS.register_module(force=True)
class EachProcessHook(Hook):
    """Freeze batch norm, and write down what this process has: gradients before chosen steps, weights at the end.

    Args:
        folder: Gets ``<processes>-<rank>-<iterations>.pth``, each with a dict of tensors by name.
        gradients: Iterations, counted from 0, whose gradients are written.
        victim: Rank that dies in iteration ``death``, by SIGKILL.
    """

    def __init__(self, folder: str, gradients: tuple = (), victim: int = -1, death: int = -1):
        self.folder = Path(folder)
        self.gradients = gradients
        self.end = (victim, death)

    def before_train(self, runner) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.gradients:
            runner.optim_wrapper.optimizer.register_step_pre_hook(lambda *_: self._write_gradients(runner))

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        for module in runner.model.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
        if (get_rank(), runner.iter) == self.end:
            os.kill(os.getpid(), signal.SIGKILL)

    def after_train(self, runner) -> None:
        self._write(runner.iter, runner.model.named_parameters())

    def _write_gradients(self, runner) -> None:
        if runner.iter in self.gradients:
            self._write(runner.iter, ((name, each.grad) for name, each in runner.model.named_parameters()))

    def _write(self, iterations: int, tensors) -> None:
        content = {name.removeprefix('module.'): tensor.detach().clone() for name, tensor in tensors}
        torch.save(content, self.folder / f'{get_world_size()}-{get_rank()}-{iterations}.pth')
