"""Tables and the picture of `benchmarks/search.py`."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

OTHERS = ("tpe", "nsga2", "greedy", "uniform")
LOST = 0.05  # accuracy below the dense network's where the hyper-volume begins


def ablation_table(rows: list[dict[str, Any]]) -> str:
    """Markdown: what each kind of price keeps at the same target."""
    lines = [
        "| network, device, seed | goal | prices | reached | test points lost | pairs skipped |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {one['model']}, {one['device']}, {one['seed']} | {one['goal']} | {one['prices']} | "
        f"{one['speedup']:.2f}× | {one['points_lost']:.2f} | {one['pair_sparsity']:.3f} |"
        for one in rows
    ]
    return "\n".join(lines) + "\n"


def networks(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Network and device of the rows, each once."""
    return list(dict.fromkeys((one["model"], one["device"]) for one in rows))


def engines_of(rows: list[dict[str, Any]]) -> list[str]:
    """The engines of the rows, each once."""
    return list(dict.fromkeys(one["engine"] for one in rows))


def of(network: tuple[str, str], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of one network on one device."""
    return [one for one in rows if (one["model"], one["device"]) == network]


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: engines by network and device, means over seeds."""
    lines = [
        "| network, device | engine | seconds | images | trials | volume | of learned's | speed-up at ≤ 1 point |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for network in networks(rows):
        some = of(network, rows)
        seeds = len({one["seed"] for one in some})
        mine = fmean(one["hypervolume"] for one in some if one["engine"] == "learned")
        for engine in engines_of(some):
            own = [one for one in some if one["engine"] == engine]
            mean = {key: fmean(one[key] for one in own) for key in ("seconds", "images", "trials", "hypervolume")}
            best = fmean(one["best_within_a_point"] for one in own)
            share = f"{mean['hypervolume'] / mine:.2f}" if mine else "–"
            lines.append(
                f"| {network[0]}, {network[1]}, {seeds} seed{'s' * (seeds > 1)} | {engine} | {mean['seconds']:.0f} | "
                f"{mean['images']:,.0f} | "
                f"{mean['trials']:.0f} | {mean['hypervolume']:.4f} | {share} | {best:.2f}× |"
            )
    head = "| network, device, seed | goal | reached | dense, test | points lost | as a dense one trained as long |"
    lines += ["", head, "|---|---|---|---|---|---|"]
    for one in rows:
        if one["engine"] == "learned":
            gained = one["dense_longer_test_acc"] - one["dense_test_acc"]
            for goal, reached, lost in one["goals"]:
                where = f"{one['model']}, {one['device']}, {one['seed']}"
                lines.append(
                    f"| {where} | {goal} | {reached:.2f}× | {one['dense_test_acc']:.4f} | {100 * lost:.2f} | "
                    f"{100 * (lost + gained):.2f} |"
                )
    return "\n".join(lines) + "\n"


def picture(rows: list[dict[str, Any]], path: Path) -> None:
    """Accuracy against speed-up, a panel for each network and device."""
    found = networks(rows)
    figure, axes = plt.subplots(1, len(found), figsize=(5.5 * len(found), 4.2), squeeze=False)
    for axis, network in zip(axes[0], found, strict=True):
        some = of(network, rows)
        for number, engine in enumerate(engines_of(rows)):
            own = [one for one in some if one["engine"] == engine]
            points = sorted(point for one in own for point in one["points"])
            axis.plot(*zip(*points, strict=True), ".", color=f"C{number}", alpha=0.45, markersize=6)
            final = [point for one in own for point in one["recovered"]]
            axis.plot(*zip(*final, strict=True), "*", color=f"C{number}", markersize=13, label=engine)
        axis.axhline(some[0]["floor"] + LOST, color="0.6", linewidth=0.8)
        axis.text(1, some[0]["floor"] + LOST, "dense", color="0.4", va="bottom")
        axis.set(xlabel="throughput over dense", ylabel="validation accuracy", title=", ".join(network))
        lowest = max(some[0]["floor"] - 0.1, 0)
        highest = max(accuracy for one in some for _, accuracy in one["points"])
        axis.set_ylim(lowest, highest + 0.08 * (highest - lowest))  # so that no star is cut
        axis.set_xlim(0.9, 1.08 * max(gain for one in some for gain, accuracy in one["points"] if accuracy > lowest))
        axis.grid(alpha=0.3)
    axes[0][0].legend(title="stars: recovered", loc="lower left")
    figure.tight_layout()
    figure.savefig(path, dpi=130)
