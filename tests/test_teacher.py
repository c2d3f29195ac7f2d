"""The teacher of distillation answers as the dense network did."""

from __future__ import annotations

import pytest
import timm
import torch

from hass_train.sparsity import Balanced, LayerRule, Mode, sparse_layers, sparsify, watching
from hass_train.training.teacher import Teacher


@pytest.mark.parametrize("modes", [(), (Mode.SEARCH,), (Mode.SEARCH, Mode.FROZEN)], ids=str)
def test_a_teacher_knows_nothing_of_the_zeros_that_its_pupil_has(modes: tuple[Mode, ...]) -> None:
    torch.manual_seed(0)
    model = timm.create_model("test_resnet", num_classes=10, in_chans=1).eval()
    dense = {name: value.clone() for name, value in model.state_dict().items()}
    images = torch.randn(4, 1, 32, 32)
    with torch.no_grad():
        answers = model(images)
        sparsify(model, {"all": LayerRule("*")}, Balanced())
        with watching(model):
            model(images)
        for mode in modes:
            for _, layer in sparse_layers(model):
                layer.set_mode(mode)
                if mode is Mode.SEARCH:
                    layer.set_sparsity(0.5, 1.0)
        teacher = Teacher(model, dense)
        torch.testing.assert_close(teacher.network(images), answers)
        assert float(teacher.distance(images, answers)) == pytest.approx(0.0, abs=1e-6)
        assert bool((model(images) - answers).abs().max() > 1e-3) == bool(modes)
