"""The rows that compare three designs: dense, dense on sparse engines, searched. Terminal and page show the same."""

from __future__ import annotations

from collections.abc import Callable

from hass_train.hardware.estimate import Estimate
from hass_train.results.result import Result

COLUMNS = ("dense\ndense engines", "dense\nsparse engines", "searched\nsparse engines")
RESOURCE_LABELS = {
    "dsp": "DSPs",
    "bram18": "block RAMs (18 kbit)",
    "uram": "UltraRAMs",
    "lut": "LUTs",
    "ff": "flip-flops",
}


ARRAY_LABELS = {
    "cores": "multiplications cores could do",
    "streams": "time of streams into cores",
    "ddr": "time of DDR",
}
"""What an array's utilization is called, by its name in an estimate."""


def unit_of(estimate: Estimate) -> str:
    """The unit that efficiency is counted per: a core of an array, or a DSP."""
    return "core" if estimate.cores else "DSP"


def rows(result: Result) -> list[tuple[str, list[str]]]:
    """A label and three cells for each row of the comparison of the three designs."""
    dense, sparse = result.dense, result.sparse
    estimates = [dense.estimate, result.natural.estimate, sparse.estimate]
    base, base_j = dense.estimate.throughput_ips, dense.estimate.energy.total_j

    def each(show: Callable[[Estimate], str]) -> list[str]:
        return [show(estimate) for estimate in estimates]

    found = [
        (label, [f"{before:.4f}"] * 2 + [f"{after:.4f}"])
        for label, before, after in (
            ("test accuracy", dense.test_acc, sparse.test_acc),
            ("validation accuracy", dense.val_acc, sparse.val_acc),
        )
    ]
    if sparse.float_test_acc is not None:
        found.insert(1, ("… of its float twin", ["–", "–", f"{sparse.float_test_acc:.4f}"]))
    found += [
        ("pair sparsity", ["–", f"{result.natural.pair_sparsity:.1%}", f"{sparse.pair_sparsity:.1%}"]),
        ("weight sparsity", ["–", "–", f"{sparse.weight_sparsity:.1%}"]),
        ("throughput, images/s", each(lambda one: f"{one.throughput_ips:,.0f}")),
        ("speed-up", each(lambda one: f"{one.throughput_ips / base:.2f}×")),
        ("interval, cycles", each(lambda one: f"{one.interval_cycles:,}")),
        ("latency, ms", each(lambda one: f"{one.latency_ms:.3f}")),
        ("replicas", each(lambda one: str(one.replicas))),
    ]
    if dense.estimate.sequential:
        for name in dense.estimate.utilization:
            cells = [f"{one.utilization[name]:.0%}" for one in estimates]
            found.append((ARRAY_LABELS.get(name, name), cells))
    else:
        for name, label in RESOURCE_LABELS.items():
            cells = [f"{getattr(one.resources, name):,} ({one.utilization[name]:.0%})" for one in estimates]
            found.append((label, cells))
        found.append(("off-chip bandwidth", each(lambda one: f"{one.utilization['bandwidth']:.0%}")))
    found += [
        (f"images/s per {unit_of(dense.estimate)}", each(lambda one: f"{one.efficiency:.2f}")),
        ("energy an image, of dense (estimate)", each(lambda one: f"{one.energy.total_j / base_j:.0%}")),
    ]
    return found
