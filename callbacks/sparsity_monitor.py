"""Logs how sparse the network is, every epoch."""

from __future__ import annotations

import pytorch_lightning as pl

from hass_train.module import SparseClassifier
from hass_train.sparsity import running_profile


class SparsityMonitor(pl.Callback):
    """Logs weight, activation and pair sparsity of the whole network, and every layer's pair density, from the running
    averages."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, SparseClassifier)
        assert pl_module.question is not None
        workload, profile = pl_module.question.workload, running_profile(pl_module.model)
        pl_module.log_dict(
            {
                "sparsity/weight": profile.weight_sparsity(workload),
                "sparsity/activation": profile.activation_sparsity(workload),
                "sparsity/pair": profile.pair_sparsity(workload),
                **{f"density/{name}": layer.pair_density for name, layer in profile.layers.items()},
            },
            rank_zero_only=True,
        )
