"""Distillation: the dense network as a teacher of the sparse one."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hass_train.export.initial import initialise
from hass_train.precision import Stage, quantisers_of
from hass_train.sparsity import Mode, sparse_layers

TEMPERATURE = 2.0
"""The temperature of the softmax when answers are compared."""


class Teacher:
    """A dense network whose answers the sparse one imitates while it recovers.

    This is not a torch module, so that the teacher does not become a part of the module that is trained.

    Args:
        model: the network that is taught, with sparse layers; it is copied.
        dense: state dict of the dense network, with timm's keys.
    """

    def __init__(self, model: nn.Module, dense: Mapping[str, Tensor]) -> None:
        network = copy.deepcopy(model)
        initialise(network, dense)
        for _, layer in sparse_layers(network):
            layer.set_mode(Mode.DENSE)
        if quantisers := quantisers_of(network):
            quantisers.set_stage(Stage.FLOAT)
        self.network = network.eval().requires_grad_(False)

    def distance(self, images: Tensor, logits: Tensor) -> Tensor:
        """Return the KL divergence from the teacher's softened answers, times the squared temperature, as a scalar
        (Hinton et al., 2015, section 2).

        Args:
            images: (n, channels, height, width) images.
            logits: (n, classes) answers of the network that is taught.
        """
        with torch.no_grad():
            answers = self.network(images.contiguous(memory_format=torch.channels_last))
        found, wanted = F.log_softmax(logits / TEMPERATURE, 1), F.log_softmax(answers / TEMPERATURE, 1)
        return TEMPERATURE**2 * F.kl_div(found, wanted, log_target=True, reduction="batchmean")
