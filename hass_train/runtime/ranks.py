"""Communication between processes that train together; with a single process these functions do nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, distributed

T = TypeVar("T")


def together() -> bool:
    """Whether several processes train together."""
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def rank() -> int:
    """The rank of this process, from 0."""
    return distributed.get_rank() if together() else 0


def processes() -> int:
    """The number of processes that train together."""
    return distributed.get_world_size() if together() else 1


def summed(values: Tensor) -> Tensor:
    """Sum a tensor, of the same shape in all processes, over the processes."""
    if not together():
        return values
    total = values.to(_device(), copy=True)  # NCCL reduces only tensors on the GPU
    distributed.all_reduce(total)
    return total.to(values.device)


def averaged(values: Sequence[Tensor]) -> list[Tensor]:
    """Average scalars over all processes, in a single all-reduce."""
    if not together() or not values:
        return list(values)
    return list((summed(torch.stack([value.detach().float() for value in values])) / processes()).unbind())


def from_first(make: Callable[[], T]) -> T:
    """Call `make` in the first process alone, and return its result, which must be picklable, in all processes.

    Raises:
        Exception: whatever `make` raised in the first process, in all processes.
    """
    if not together():
        return make()
    made: list[tuple[T | None, Exception | None]] = [(None, None)]
    if rank() == 0:
        try:
            made = [(make(), None)]
        except Exception as error:  # otherwise the others would wait for ever
            made = [(None, error)]
    distributed.broadcast_object_list(made, src=0, device=_device())
    value, failure = made[0]
    if failure is not None:
        raise failure
    return value  # type: ignore[return-value]


def shared(tensors: Sequence[Tensor]) -> None:
    """Overwrite tensors, in place, by those of the first process."""
    if together():
        for tensor in tensors:
            moved = tensor.detach().to(_device())
            distributed.broadcast(moved, src=0)
            with torch.no_grad():
                tensor.copy_(moved)


def check_same(tensors: Sequence[Tensor], what: str) -> None:
    """Check that tensors are the same in all processes.

    Args:
        tensors: the tensors to compare.
        what: what they are, in the plural, for the message.

    Raises:
        RuntimeError: the tensors differ.
    """
    if not together():
        return
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    found: list[str | None] = [None] * processes()
    distributed.all_gather_object(found, digest.hexdigest())
    if len(set(found)) > 1:
        raise RuntimeError(f"{what} differ between processes; this is a bug, or machines that compute differently")


def _device() -> torch.device:
    gpu = distributed.get_backend() == "nccl"
    return torch.device("cuda", torch.cuda.current_device()) if gpu else torch.device("cpu")
