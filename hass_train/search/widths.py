"""The bits of each layer's weights in a search with `precision=mixed`, chosen where thresholds freeze."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from torch import Tensor

from hass_train.precision import Mixed, quantisers_of
from hass_train.precision.mixed import choose_bits, output_errors
from hass_train.search.subject import Subject


def chosen_widths(subject: Subject, images: Tensor) -> dict[str, int]:
    """Choose the bits of the weights of those layers whose precision leaves them free, and print a line about it.

    Args:
        subject: the network at its final thresholds, which is not changed.
        images: (n, channels, height, width), on which the errors of the answers are measured.

    Returns:
        The bits by the path of a layer's module; empty if there are no free layers.
    """
    quantisers = quantisers_of(subject.model)
    if quantisers is None or not isinstance(quantisers.precision, Mixed) or not quantisers.free_layers:
        return {}
    precision, question = quantisers.precision, subject.question
    errors = output_errors(quantisers, images, precision.choices)
    choices = dict.fromkeys(quantisers.free_layers, precision.choices)
    gains = question.accelerator.width_gains(question.workload, subject.profile(), choices)
    bits = choose_bits(gains, errors, precision.output_error)
    error = sum(errors[layer][own] for layer, own in bits.items())
    print(f"weights: {words(bits)}; the answers' error is {error:.3g} of at most {precision.output_error:g}")
    return bits


def words(bits: Mapping[str, int]) -> str:
    """How many layers have so many bits, as people say it.

    Args:
        bits: of the weights of each layer.
    """
    counts = sorted(Counter(bits.values()).items(), reverse=True)
    return ", ".join(f"{own} bits in {count} layer{'s' * (count != 1)}" for own, count in counts)
