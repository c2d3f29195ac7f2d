"""Logs the sparsity of the network after every epoch."""

from __future__ import annotations

import pytorch_lightning as pl

from hass_train.search.phases import Phase
from hass_train.sparsity import running_profile
from hass_train.training.module import classifier, search_state


class SparsityMonitor(pl.Callback):
    """Logs the weight, activation and pair sparsity of the whole network and the pair density of every layer, all from
    running averages, and in the recover phase the validation accuracy at the final sparsity (`val/acc_sparse`)."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        state = search_state(pl_module)
        workload, profile = state.asked.workload, running_profile(classifier(pl_module).model)
        if state.phase is Phase.RECOVER and state.val_acc is not None:
            # networks of other phases must not count as the best, since they are not sparse yet
            pl_module.log("val/acc_sparse", state.val_acc, rank_zero_only=True)
        pl_module.log_dict(
            {
                "sparsity/weight": profile.weight_sparsity(workload),
                "sparsity/activation": profile.activation_sparsity(workload),
                "sparsity/pair": profile.pair_sparsity(workload),
                **{f"density/{name}": layer.pair_density for name, layer in profile.layers.items()},
            },
            rank_zero_only=True,
        )
