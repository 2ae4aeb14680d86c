"""Take a few pixels of a run's first images through its network and losses."""

import copy

import torch
from mmengine.device import get_device
from mmengine.dist import broadcast_object_list, is_distributed
from mmengine.model import BaseModel, BaseTTAModel
from mmengine.structures import PixelData
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from ..errors import UserError, one_line

SIDE = 64  # pixels; at a stride of 32 still four cells


def try_batch(model: nn.Module, loader: DataLoader) -> None:
    """Run the middle of a loader's first images, up to two, through a network, and its losses if it trains.

    Where that fails, they go through it whole, as in a run: a network may not take images this small. All processes
    use the same images.

    Raises:
        UserError: Says what failed, in which layer.
    """
    stock = isinstance(model, BaseModel) and not isinstance(model, BaseTTAModel)
    if not stock or loader.batch_sampler is None or isinstance(loader.dataset, IterableDataset):
        return
    indices = [next(iter(loader.batch_sampler))[:2]]
    broadcast_object_list(indices)
    images = [loader.dataset[index] for index in indices[0]]
    if len(images) == 1 and model.training and is_distributed():
        images *= 2  # one image is enough for a SyncBN over all processes, not for the BN that stands in for it
    batch = loader.collate_fn(images)
    with torch.no_grad():
        try:
            return _run(model, batch, small=True)
        except Exception:
            inside: list[str] = []
        handles = [handle for name, module in model.named_modules() for handle in _follow(module, name, inside)]
        try:
            _run(model, batch, small=False)
        except torch.cuda.OutOfMemoryError:
            return  # the run may be shorter of memory, or not
        except UserError:
            raise
        except Exception as error:  # each layer and each loss has its own
            place = f' (in {inside[-1]})' if any(inside[-1:]) else ''
            task = 'train' if model.training else 'run'
            raise UserError(f'cannot {task} the network: {one_line(error)}{place}') from error
        finally:
            for handle in handles:
                handle.remove()


def _run(model: BaseModel, batch: object, small: bool) -> None:
    batch = copy.deepcopy(batch)  # a preprocessor may change it
    if not model.training and not small:
        model.test_step(batch)
        return
    data = model.data_preprocessor(batch, model.training)
    data = _cut(data) if small else data
    result = model._run_forward(data, mode='loss' if model.training else 'predict')
    if model.training:
        model.parse_losses(result)
    if get_device() == 'cuda':
        torch.cuda.synchronize()  # a device reports later


def _cut(data: dict) -> dict:
    images = data['inputs']
    window = tuple(slice(start := max(0, (side - SIDE) // 2), start + SIDE) for side in images.shape[-2:])
    for sample in data['data_samples']:
        sample.set_data({name: value[window] for name, value in sample.items() if isinstance(value, PixelData)})
        sizes = {name: images[(..., *window)].shape[-2:] for name in ('ori_shape', 'img_shape', 'pad_shape')}
        sample.set_metainfo({**sizes, 'padding_size': [0] * 4, 'img_padding_size': [0] * 4})  # to what it is resized
    return {**data, 'inputs': images[(..., *window)]}


def _follow(module: nn.Module, name: str, inside: list[str]) -> list:
    """Keep in ``inside`` the names of the modules that are running."""
    return [
        module.register_forward_pre_hook(lambda *_: inside.append(name)),
        module.register_forward_hook(lambda *_: inside.remove(name)),
    ]
