"""One network of each timm family: is it traced and estimated, and do its multiplications agree with torch's counter?

    python benchmarks/zoo.py                 # all families, a few hours on one core; what is known is not done again
    python benchmarks/zoo.py hrnet_w18_small # some networks, again
    python benchmarks/zoo.py --table         # nothing but the table of what is known

Networks are the smallest of their families, at their own input size, without training. The interval is that of the
dense network on u250 with 8-bit words, found within 5 % of the optimum. Multiply-accumulates are compared with
`torch.utils.flop_counter.FlopCounterMode`, as far as they depend on the image; of a network that is changed for its
deployment, both count the changed one. Answers lie in runs/zoo/, the table in
benchmarks/results/zoo.md.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from families import NAMES
from torch import fx, nn
from torch.utils.flop_counter import FlopCounterMode

from hass_train.hardware import (
    CannotFit,
    DataflowAccelerator,
    DataflowOptions,
    SparsityProfile,
    UnsupportedOperation,
    Workload,
    load_device,
)
from hass_train.hardware.trace import Walk, walk
from hass_train.runtime.files import write_text
from hass_train.training.networks import deployed, merges

# isort: split
import timm  # after hass_train, which makes a torchvision without its operators importable
import torchvision
from torchvision.models import segmentation

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "zoo.md"
RUNS = ROOT / "runs" / "zoo"
OTHERS = (
    "convnextv2_atto", "mobilenetv4_hybrid_medium", "ghostnetv2_100", "resmlp_12_224", "mobilevitv2_050",
    "eva02_tiny_patch14_224", "nf_regnet_b0", "lambda_resnet26t", "bat_resnext26ts", "botnet26t_256", "poolformer_s12",
    "torchvision.shufflenet_v2_x0_5", "torchvision.googlenet", "torchvision.squeezenet1_1", "torchvision.maxvit_t",
    "torchvision.deeplabv3_mobilenet_v3_large", "torchvision.fcn_resnet50", "torchvision.alexnet",
    "torchvision.mnasnet0_5", "torchvision.lraspp_mobilenet_v3_large", "torchvision.vit_b_16", "torchvision.swin_v2_t",
)  # fmt: skip
"""Variants of these families that work differently, and networks of torchvision; see `_MORE`."""
_MORE = (
    "Variants that work differently, and networks of torchvision. The last five were chosen after all else and traced "
    "without new code:"
)
TOLERANCE = 0.05


class Counter(fx.Interpreter):
    """Runs a traced network on the meta device, node by node, and has torch count what depends on the image.

    Args:
        walked: the network, traced.
    """

    def __init__(self, walked: Walk) -> None:
        super().__init__(fx.GraphModule(nn.Module(), walked.graph))
        self.streams, self.flops = {one.name for one in walked.tracer.sources}, 0
        self.counter = FlopCounterMode(display=False)

    def macs(self) -> int:
        """The multiply-accumulates for one image."""
        inputs = [node.meta["val"] for node in self.module.graph.nodes if node.op == "placeholder"]
        with self.counter, torch.no_grad():
            self.run(*(torch.empty(one.shape, dtype=one.dtype, device="meta") for one in inputs))
        return self.flops // 2

    def run_node(self, n: fx.Node) -> Any:
        before = self.counter.get_total_flops()
        made = super().run_node(n)
        self.flops += (self.counter.get_total_flops() - before) * (n.name in self.streams)
        return made


def made(name: str) -> tuple[nn.Module, tuple[int, int, int]]:
    """A network as it is deployed, and its input size."""
    name, _, other = name.partition("torchvision.")
    with torch.device("meta"):
        if other:
            backbone = {"weights_backbone": None} if other in torchvision.models.list_models(segmentation) else {}
            return torchvision.models.get_model(other, weights=None, **backbone), (3, 224, 224)
        model = timm.create_model(name)
    if merges(model):  # which computes with weights
        model = timm.create_model(name)
    channels, height, width = model.default_cfg["input_size"]
    return deployed(model), (channels, height, width)


def asked(name: str) -> dict[str, Any]:
    """Trace, count and estimate one network."""
    model, size = made(name)
    found: dict[str, Any] = {"name": name, "size": list(size)}
    started = time.perf_counter()
    try:
        walked = walk(model, size, name)
    except UnsupportedOperation as error:
        return found | {"refused": str(error)}
    workload = Workload(name, size, tuple(walked.tracer.operations))
    found |= {"trace_s": time.perf_counter() - started, "operations": len(workload.operations), "macs": workload.macs}
    try:
        found["counted"] = Counter(walked).macs()
    except Exception as error:  # torch's counter runs the network, which not all can on the meta device
        found["uncounted"] = str(error).splitlines()[0] if str(error) else type(error).__name__
    started = time.perf_counter()
    options = DataflowOptions(weight_bits=8, activation_bits=8, tolerance=TOLERANCE)
    try:
        estimate = DataflowAccelerator(load_device("u250"), options).estimate(workload, SparsityProfile.dense(workload))
    except (CannotFit, ValueError) as error:
        return found | {"refused": str(error)}
    return found | {
        "estimate_s": time.perf_counter() - started, "interval": estimate.interval_cycles,
        "ips": estimate.throughput_ips, "parts": len(estimate.parts),
    }  # fmt: skip


def row(one: dict[str, Any]) -> str:
    """One network's row of the table."""
    size = "×".join(map(str, one["size"]))
    macs = f"{one['macs'] / 1e9:.3f}" if "macs" in one else ""
    ratio = f"{one['macs'] / one['counted'] - 1:+.2%}" if one.get("counted") else one.get("uncounted", "")
    answer = f"{one['interval']:,}" if "interval" in one else one["refused"]
    cells = (one["name"], size, one.get("operations", ""), macs, ratio, answer, f"{one.get('trace_s', 0):.1f}")
    return "| " + " | ".join(map(str, cells)) + " |"


def table() -> str:
    """The table of all answers."""
    paths = {name: RUNS / f"{name}.json" for name in (*NAMES, *OTHERS)}
    known = {name: json.loads(path.read_text()) for name, path in paths.items() if path.exists()}
    families = [known[name] for name in NAMES if name in known]
    answered = sum("interval" in one for one in families)
    close = [one for one in known.values() if one.get("counted") and abs(one["macs"] / one["counted"] - 1) <= 0.01]
    both = sum(bool(one.get("counted")) for one in known.values())
    head = (
        f"# One network of each timm family\n\n`python benchmarks/zoo.py`, timm {timm.__version__}, u250, 8-bit words, "
        f"dense, within {TOLERANCE:.0%} of the optimum. {answered} of {len(families)} families are estimated. Of "
        f"{both} networks that torch's FlopCounterMode counts, {len(close)} have the same multiply-accumulates within "
        "1 %.\n\n"
        "| network | input | operations | GMACs | less torch's | interval, cycles, or why not | trace, s |\n"
        "|---|---|---|---|---|---|---|\n"
    )
    rows = [row(one) for one in families]
    more = [row(known[name]) for name in OTHERS if name in known]
    return head + "\n".join(rows) + f"\n\n{_MORE}\n\n" + "\n".join([*head.splitlines()[-2:], *more]) + "\n"


def main() -> None:
    """Ask for every network that is not known yet, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    RUNS.mkdir(parents=True, exist_ok=True)
    for name in () if given.table else given.names or (*NAMES, *OTHERS):
        path = RUNS / f"{name}.json"
        if given.names or not path.exists():
            found = asked(name)
            write_text(path, json.dumps(found))
            print(row(found), flush=True)
    write_text(RESULTS, table())


if __name__ == "__main__":
    main()
