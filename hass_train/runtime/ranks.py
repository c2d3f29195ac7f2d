"""What processes that train together tell each other; with a single process nothing happens."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, distributed

T = TypeVar("T")


def together() -> bool:
    """Whether several processes train."""
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def rank() -> int:
    """Number of this process, from 0."""
    return distributed.get_rank() if together() else 0


def processes() -> int:
    """How many there are."""
    return distributed.get_world_size() if together() else 1


def summed(values: Tensor) -> Tensor:
    """Sum over all processes, of tensors of the same shape."""
    if not together():
        return values
    total = values.to(_device(), copy=True)  # NCCL reduces what is on the GPU alone
    distributed.all_reduce(total)
    return total.to(values.device)


def averaged(values: Sequence[Tensor]) -> list[Tensor]:
    """Mean over all processes, of scalars, in one exchange."""
    if not together() or not values:
        return list(values)
    return list((summed(torch.stack([value.detach().float() for value in values])) / processes()).unbind())


def from_first(make: Callable[[], T]) -> T:
    """What the first process makes, for all of them; the others wait and make nothing."""
    if not together():
        return make()
    made: list[tuple[T | None, Exception | None]] = [(None, None)]
    if rank() == 0:
        try:
            made = [(make(), None)]
        except Exception as error:  # else the others would wait for ever
            made = [(None, error)]
    distributed.broadcast_object_list(made, src=0, device=_device())
    value, failure = made[0]
    if failure is not None:
        raise failure
    return value  # type: ignore[return-value]


def shared(tensors: Sequence[Tensor]) -> None:
    """Give the first process's values of tensors to all."""
    if together():
        for tensor in tensors:
            moved = tensor.detach().to(_device())
            distributed.broadcast(moved, src=0)
            with torch.no_grad():
                tensor.copy_(moved)


def check_same(tensors: Sequence[Tensor], what: str) -> None:
    """Raise RuntimeError if tensors differ between the processes."""
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
