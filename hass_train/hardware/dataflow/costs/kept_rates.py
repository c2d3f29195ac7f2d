"""Rates of formulas that other processes have worked out, in files beside the compiled modules.

Working out what a module's costs grow by takes a fraction of a millisecond for each set of parameters, of which a
network asks thousands. They depend on the package alone, so that they are kept as numba keeps compiled loops: in
`__pycache__`, under a digest of what they follow from, even where Python is told to write no bytecode, as in many
containers. Where that folder cannot be written, every process works them out anew.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from hass_train.runtime.files import replacing

Floats = NDArray[np.float64]
Key = tuple[tuple[str, int], ...]

_FOLDER = Path(__file__).parent / "__pycache__"
_WRITTEN_EVERY = 128  # rates after which they are written, for processes that run beside this one


class KeptRates(dict[Key, Floats]):
    """Rates by the parameters that they hold for; what is added is written now and then, and when the process ends.

    Of two processes that write at once one may lose what the other adds, and works it out again.

    Args:
        name: of the module and family.
        formula: a text that says what else they depend on.
    """

    def __init__(self, name: str, formula: str) -> None:
        super().__init__()
        digest = hashlib.sha256((_sources() + formula).encode()).hexdigest()[:16]
        self._file, self._name, self._new = _FOLDER / f"rates.{name}.{digest}.safetensors", name, 0
        self.update(self._read())

    def add(self, key: Key, rates: Floats) -> None:
        """Keep the rates of some parameters."""
        self[key] = rates
        self._new += 1
        if self._new == 1:
            atexit.register(self.write)
        if self._new % _WRITTEN_EVERY == 0:
            self.write()

    def write(self) -> None:
        """Write all rates, and take over those of other processes; a file is written completely or not at all."""
        self.update(self._read())
        names = [name for name, _ in next(iter(self))]
        keys = np.array([[value for _, value in key] for key in self], np.int64)
        with contextlib.suppress(OSError, SafetensorError):  # the latter is how safetensors says that it cannot write
            with replacing(self._file) as partly:
                save_file({"keys": keys, "rates": np.stack(list(self.values()))}, partly, {"names": ",".join(names)})
            for other in _FOLDER.glob(f"rates.{self._name}.*.safetensors"):
                if other != self._file:
                    other.unlink(missing_ok=True)

    def _read(self) -> dict[Key, Floats]:
        """What is in the file; nothing if there is none, or if it is damaged."""
        try:
            with safe_open(self._file, framework="numpy") as found:
                names, keys, rates = found.metadata()["names"].split(","), *map(found.get_tensor, ("keys", "rates"))
        except (OSError, SafetensorError):
            return {}
        return {tuple(zip(names, key, strict=True)): one for key, one in zip(keys.tolist(), rates, strict=True)}


@cache
def _sources() -> str:
    """A digest of the classes that say what costs grow with."""
    digest = hashlib.sha256()
    for file in sorted((Path(__file__).parent / "modules").glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()
