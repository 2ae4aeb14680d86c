"""SROnlyHook: the SR blocks of a trained network learn, and nothing else in it changes."""

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from ..errors import UserError
from ..models.find import sr_blocks


@HOOKS.register_module()
class SROnlyHook(Hook):
    """Train the SR blocks alone: memory-only fine-tuning of a network that was trained without them, or with.

    In a config: ``load_from = 'stock.pth'`` and ``custom_hooks = [dict(type='SROnlyHook')]``. All other weights get no
    gradient, so neither the optimizer nor its weight decay touches them (a learning rate of 0 would let the batch norms
    go on), and normalisation layers keep the statistics they have. Without its blocks the fine-tuned network is bit for
    bit the one it started from. Dropout goes on as in any training. Several processes need no
    ``find_unused_parameters``.

    Raises:
        UserError: At the start of a run: without an SR block, and with one in a frozen stage that has no
            ``keep_trainable=True``.
    """

    def before_run(self, runner: Runner) -> None:
        """Freeze before the first pass; after the Runner has wrapped the network for several processes."""
        network = _unwrapped(runner.model)
        blocks = sr_blocks(network)
        if not blocks:
            raise UserError('SROnlyHook: the model has no SR block, so nothing would learn')
        for name, block in blocks.items():
            if not all(part.requires_grad for part in block.memory_parameters()):
                raise UserError(
                    f'SROnlyHook: {name} is in a frozen stage and would not learn. '
                    "Give its sr=dict(...) keep_trainable=True, or leave out the backbone's frozen_stages"
                )
        freeze_all_but_sr(network)
        if is_model_wrapper(runner.model):
            # DDP waits for the gradients of all that were to get one when it was made: it is made anew.
            runner.model = runner.wrap_model(runner.cfg.get('model_wrapper_cfg'), network)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Freeze anew, for the training loop has just put every layer into training mode."""
        freeze_all_but_sr(_unwrapped(runner.model))


def freeze_all_but_sr(network: nn.Module) -> None:
    """Stop the gradients of all but the SR blocks, and put normalisation layers into evaluation mode.

    Example:
        >>> from mmseg_sr import SRBlock
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), SRBlock(4, (2, 2)))
        >>> freeze_all_but_sr(network)
        >>> [any(weight.requires_grad for weight in layer.parameters()) for layer in network], network[1].training
        ([False, False, True], False)
    """
    learning = {id(weight) for block in sr_blocks(network).values() for weight in block.parameters()}
    for weight in network.parameters():
        weight.requires_grad = id(weight) in learning  # train() of some backbones has frozen stages, blocks too
    for module in network.modules():
        if isinstance(module, _NormBase):
            module.eval()


def _unwrapped(model: nn.Module) -> nn.Module:
    return model.module if is_model_wrapper(model) else model
