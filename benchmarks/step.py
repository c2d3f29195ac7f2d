"""What sparse layers cost in training: step time of each phase over the dense step.

    python benchmarks/step.py [--device cuda]

Phases take turns within one process, so that noise meets all alike; means of 50 steps less the quickest and the slowest
five. With OMP_NUM_THREADS=1 processor time is taken, which other work beside it disturbs less.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import torch
from torch.nn import functional as F

from hass_train.precision import Precision, integer_graph, quantise
from hass_train.runtime.allocator import keep_freed_memory
from hass_train.search.penalty import PricedPenalty
from hass_train.sparsity import LayerRule, Mode, SearchStep, apply_masks, sparse_layers, sparsify, watching
from hass_train.training.module import SPARED, WATCH
from hass_train.training.quantisation import calibrate_precision, follow_weights, observing

# isort: split
import timm  # after hass_train, which makes a torchvision without its operators importable

ROOT = Path(__file__).resolve().parent.parent
RULES = {"all": LayerRule("*"), "gates": LayerRule("*.se.*", activation=False)}


def stepper(
    name: str, mode: Mode | None, batch: int, every: int = 1, device: str = "cpu", integers: bool = False
) -> Callable[[], None]:
    """One training step of a network in a mode; None = the plain timm model. Thresholds learn `every` so many steps."""
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=10, in_chans=1).to(device, memory_format=torch.channels_last)
    graph = integer_graph(model, (1, 32, 32), name) if integers else None
    model.train()
    if mode is not None:
        sparsify(model, RULES)
        with watching(model), torch.no_grad():
            model(torch.randn(8, 1, 32, 32, device=device))  # the statistics that a search begins with
        for _, layer in sparse_layers(model):
            layer.set_mode(mode)
        if graph is not None:
            quantise(model, graph, Precision())
            calibrate_precision(model, [torch.randn(64, 1, 32, 32, device=device)])
    prices = dict.fromkeys((layer for layer, _ in sparse_layers(model)), 0.01)
    penalty = PricedPenalty(prices, prices)
    turn, steps = 0, SearchStep(model)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, fused=True)
    images = torch.randn(batch, 1, 32, 32, device=device).to(memory_format=torch.channels_last)
    labels = torch.randint(10, (batch,), device=device)

    def learns() -> bool:
        return turn % every == 1 % every

    def around() -> AbstractContextManager[object]:
        contexts, watches = ExitStack(), turn % WATCH == 1
        if watches:
            follow_weights(model)
        if mode is Mode.SEARCH:
            if watches:
                contexts.enter_context(observing(model))
            contexts.enter_context(steps(learns(), learns()))
        elif mode is not None and watches:
            contexts.enter_context(watching(model))
        return contexts

    def step() -> None:
        nonlocal turn
        turn += 1
        optimizer.zero_grad()
        with around():
            loss = F.cross_entropy(model(images), labels)
        if mode is Mode.SEARCH and learns():
            loss = loss + 0.01 * penalty(sparse_layers(model))
        loss.backward()
        optimizer.step()
        if mode is Mode.FROZEN:
            apply_masks(model)
        if device == "cuda":
            torch.cuda.synchronize()

    return step


HEAD = (
    "| model, 32 px | batch | dense ms | freed memory not kept | warm-up | search "
    "| search, thresholds in one step of four | recover | the same search, int8 | recover, int8 |"
)
CASES = {
    "cpu": (("mobilenetv3_small_100", 128), ("resnet18", 64)),
    "cuda": (("mobilenetv3_small_100", 1024), ("resnet18", 1024)),
}
MACHINES = {"cpu": ("step.md", "two noisy cores"), "cuda": ("step-cuda.md", "float32, TF32 in convolutions")}


def alone() -> bool:
    """Whether steps run in one thread."""
    return torch.get_num_threads() == 1 and not torch.cuda.is_available()


def milliseconds(steps: list[Callable[[], None]], turns: int) -> list[float]:
    """Mean time of each step function, taking turns, less a tenth of the steps at either end."""
    clock = time.process_time if alone() else time.perf_counter
    times: list[list[float]] = [[] for _ in steps]
    for turn in range(turns + 5):
        for step, seen in zip(steps, times, strict=True):
            started = clock()
            step()
            if turn >= 5:
                seen.append(1e3 * (clock() - started))
    return [statistics.fmean(sorted(seen)[turns // 10 : -(turns // 10)]) for seen in times]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=CASES, default="cpu")
    parser.add_argument("--turns", type=int, default=50)
    device, turns = (given := parser.parse_args()).device, given.turns
    cases = CASES[device]
    before = [milliseconds([stepper(name, None, batch, device=device)], 10)[0] for name, batch in cases]
    keep_freed_memory()  # as runs do
    rows = [HEAD, "|" + "---|" * 10]
    for (name, batch), slow in zip(cases, before, strict=True):
        modes = (
            (None, 1, False), (Mode.DENSE, 1, False), (Mode.SEARCH, 1, False), (Mode.SEARCH, SPARED, False),
            (Mode.FROZEN, 1, False), (Mode.SEARCH, SPARED, True), (Mode.FROZEN, 1, True),
        )  # fmt: skip
        steps = [stepper(name, mode, batch, every, device, integers) for mode, every, integers in modes]
        dense, *others = milliseconds(steps, turns)
        ratios = " | ".join(f"{one / dense:.2f}×" for one in (slow, *others))
        rows.append(f"| {name} | {batch} | {dense:.{0 if dense > 50 else 1}f} | {ratios} |")
        print(rows[-1], flush=True)
    file, machine = MACHINES[device]
    if device == "cuda":
        machine = f"{torch.cuda.get_device_name()}, {machine}"
    elif alone():
        machine = "one thread, processor time"
    option = "" if device == "cpu" else f" --device {device}"
    command = f"{'OMP_NUM_THREADS=1 ' if alone() else ''}python benchmarks/step.py --turns {turns}{option}"
    text = (
        f"Made by `{command}`; {machine}. Ratios are to the step of timm's own network; warm-up is the dense network "
        "with this project's convolutions.\n\n"
    )
    (ROOT / "benchmarks" / "results" / file).write_text(text + "\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
