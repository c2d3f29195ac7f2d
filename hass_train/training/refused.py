"""What Lightning offers and a run through the three phases cannot take; each is refused before training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning import callbacks as offered

from hass_train.runtime.errors import UserError

_EPOCHS = "say search.warmup.epochs, search.search.epochs and search.recover.epochs"
_INSTEAD = {
    "max_epochs": _EPOCHS,
    "max_steps": f"{_EPOCHS}, or trainer.limit_train_batches",
    "fast_dev_run": "say debug=fdr",
    "default_root_dir": "say hydra.run.dir",
    "logger": "say logger=csv or logger=wandb",
    "callbacks": "say +callbacks.NAME._target_=…",
}
"""Options of the trainer that a run sets, and what to say instead."""
_MEASURED = {"train": "the network learns from", "val": "accuracy is measured on", "test": "accuracy is measured on"}
_HALF = ("16", 16, "16-mixed")
_SIZES = "steps are counted before training; say trainer.accumulate_grad_batches, data.batch_size or search.*.lr"
_CALLBACKS: dict[type[pl.Callback], str] = {
    offered.GradientAccumulationScheduler: _SIZES,
    offered.BatchSizeFinder: _SIZES,
    offered.LearningRateFinder: _SIZES,
}
"""Callbacks that no run takes, and why."""
_AVERAGES = "would bring back weights that are pruned, by averaging them with those of earlier phases"
_IN_SEARCHES: dict[type[pl.Callback], str] = {
    offered.WeightAveraging: f"{_AVERAGES}; leave it out, or use it in train.py and search from there with init_from=",
    offered.StochasticWeightAveraging: f"{_AVERAGES}; leave it out",
    offered.ModelPruning: "prunes by other masks than the search; leave it out, and choose a sparsity=",
}
"""Callbacks that searches do not take, and why."""


def check_options(options: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Check the options of the trainer.

    Args:
        options: those of the user.
        own: those that a run sets.

    Raises:
        UserError: a run sets an option of the user's itself, or leaves out a whole split.
    """
    if taken := sorted({*own} & {*options}):
        raise UserError(f"trainer.{taken[0]} is not for you to set; {_INSTEAD.get(taken[0], 'leave it out')}")
    every = options.get("accumulate_grad_batches", 1)
    if isinstance(every, int) and every < 1:
        raise UserError(f"trainer.accumulate_grad_batches is {every}; it must be ≥ 1")
    for split, use in _MEASURED.items():
        if options.get(f"limit_{split}_batches") == 0:
            raise UserError(f"trainer.limit_{split}_batches is 0, and these are what {use}; say at least 1")


def check_precision(asked: Any, trainer: pl.Trainer) -> None:
    """Check the precision of a trainer.

    Args:
        asked: what the user has asked for.
        trainer: the trainer, which may have chosen another one.

    Raises:
        UserError: the precision cannot be had here, or AdamW cannot train in it.
    """
    if asked in _HALF and trainer.precision != "16-mixed":
        raise UserError(f"trainer.precision is {asked}, which needs a GPU; say trainer.precision=bf16-mixed")
    if trainer.precision == "16-true":
        raise UserError(
            "trainer.precision is 16-true, in which the squares of small gradients that AdamW divides by are 0; "
            "say bf16-true, bf16-mixed or 16-mixed"
        )


def check_callbacks(callbacks: Sequence[pl.Callback], searches: bool) -> None:
    """Check the callbacks of a run.

    Args:
        callbacks: all of them.
        searches: whether the run is a search, rather than plain training.

    Raises:
        UserError: one of them does what a run cannot take.
    """
    refused = {**_CALLBACKS, **(_IN_SEARCHES if searches else {})}
    for one in callbacks:
        for kind, why in refused.items():
            if isinstance(one, kind):
                raise UserError(f"callbacks: {type(one).__name__} cannot be used here: {why}")
