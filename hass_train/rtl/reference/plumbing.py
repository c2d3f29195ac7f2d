"""Modules that move words and change no value: fork, join, order, width converter, concatenation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from hass_train.hardware.dataflow.costs.modules import plumbing as costs
from hass_train.hardware.dataflow.costs.modules.memories import address_bits
from hass_train.hardware.dataflow.costs.stream_cycles import concatenation_cycles, repacking_cycles
from hass_train.rtl.module import Module, Words
from hass_train.rtl.streams import Ints, Memory, Stream


def random_words(rng: np.random.Generator, words: int, stream: Stream) -> Ints:
    """Random (words, values) integers, unsigned."""
    return rng.integers(0, 1 << stream.bits, (words, stream.values))


@dataclass(frozen=True, kw_only=True)
class StreamFork(costs.StreamFork, Module):
    """A word to several readers, each of which takes it when it likes."""

    @property
    def inputs(self) -> dict[str, Stream]:
        return {"in": Stream(1, self.width)}

    @property
    def outputs(self) -> dict[str, Stream]:
        return {f"out_{copy}": Stream(1, self.width) for copy in range(self.copies)}

    @property
    def vectors(self) -> dict[str, tuple[str, ...]]:
        return {"out": tuple(self.outputs)}

    def reference(self, words: Words, memories: Mapping[str, Memory]) -> dict[str, Ints]:
        return dict.fromkeys(self.outputs, words["in"])

    @classmethod
    def random(cls, rng: np.random.Generator) -> Self:
        return cls(width=int(rng.integers(1, 41)), copies=int(rng.integers(1, 6)))

    def stimulus(self, rng: np.random.Generator, words: int) -> dict[str, Ints]:
        return {"in": random_words(rng, words, self.inputs["in"])}

    @classmethod
    def typical(cls, rng: np.random.Generator) -> Self:
        return cls(width=int(rng.choice([8, 16, 32, 64])), copies=int(rng.integers(2, 9)))


@dataclass(frozen=True, kw_only=True)
class StreamJoin(costs.StreamJoin, Module):
    """Words of several streams side by side."""

    @property
    def inputs(self) -> dict[str, Stream]:
        return {f"in_{copy}": Stream(1, self.width) for copy in range(self.copies)}

    @property
    def outputs(self) -> dict[str, Stream]:
        return {"out": Stream(self.copies, self.width)}

    @property
    def vectors(self) -> dict[str, tuple[str, ...]]:
        return {"in": tuple(self.inputs)}

    def reference(self, words: Words, memories: Mapping[str, Memory]) -> dict[str, Ints]:
        return {"out": np.concatenate([words[name] for name in self.inputs], 1)}

    @classmethod
    def random(cls, rng: np.random.Generator) -> Self:
        return cls(width=int(rng.integers(1, 41)), copies=int(rng.integers(1, 6)))

    def stimulus(self, rng: np.random.Generator, words: int) -> dict[str, Ints]:
        return {name: random_words(rng, words, stream) for name, stream in self.inputs.items()}

    @classmethod
    def typical(cls, rng: np.random.Generator) -> Self:
        return cls(width=int(rng.choice([8, 16, 32, 64])), copies=int(rng.integers(2, 17)))


@dataclass(frozen=True, kw_only=True)
class Reorder(costs.Reorder, Module):
    """The values of a frame in another order, which is in a memory."""

    @property
    def inputs(self) -> dict[str, Stream]:
        return {"in": Stream(self.in_values, self.bits)}

    @property
    def outputs(self) -> dict[str, Stream]:
        return {"out": Stream(self.out_values, self.bits)}

    def entries(self, places: Ints) -> Memory:
        """The memory of the order: (out_words × out_values) places in the frame as it is read."""
        word, value = np.divmod(places.reshape(self.out_words, self.out_values), self.in_values)
        bits = address_bits(self.in_words)
        stream = Stream(self.out_values, bits + address_bits(self.in_values))
        return Memory(stream, 1, word + (value << bits))

    def reference(self, words: Words, memories: Mapping[str, Memory]) -> dict[str, Ints]:
        rows, bits = memories["order"].rows.reshape(-1), address_bits(self.in_words)
        places = (rows & (1 << bits) - 1) * self.in_values + (rows >> bits)
        frames = words["in"].reshape(-1, self.in_words * self.in_values)
        return {"out": frames[:, places].reshape(-1, self.out_values)}

    def busy(self, words: Words, memories: Mapping[str, Memory]) -> int:
        return len(words["in"]) // self.in_words * max(self.in_words, self.out_words)

    @property
    def latency(self) -> int:
        """A frame is there before it is written, and the last one is written after that."""
        return min(self.in_words, self.out_words) + 1

    @classmethod
    def random(cls, rng: np.random.Generator) -> Self:
        return cls(
            bits=int(rng.integers(1, 11)), in_words=int(rng.integers(1, 9)), in_values=int(rng.integers(1, 6)),
            out_words=int(rng.integers(1, 9)), out_values=int(rng.integers(1, 6)),
        )  # fmt: skip

    def stimulus(self, rng: np.random.Generator, words: int) -> dict[str, Ints]:
        frames = max(2, -(-words // self.in_words))
        return {"in": random_words(rng, frames * self.in_words, self.inputs["in"])}

    def memories(self, rng: np.random.Generator) -> dict[str, Memory]:
        places = rng.integers(0, self.in_words * self.in_values, (self.out_words, self.out_values))
        return {"order": self.entries(places)}

    @classmethod
    def typical(cls, rng: np.random.Generator) -> Self:
        values, words = int(rng.choice([1, 1, 2, 3, 4])), int(rng.integers(2, 65))
        return cls(bits=8, in_words=words, in_values=values, out_words=words, out_values=values)


@dataclass(frozen=True, kw_only=True)
class WidthConverter(costs.WidthConverter, Module):
    """Words of `in_values` values to words of `out_values`, in frames of `total` values filled up with zeros."""

    @property
    def inputs(self) -> dict[str, Stream]:
        return {"in": Stream(self.in_values, self.bits)}

    @property
    def outputs(self) -> dict[str, Stream]:
        return {"out": Stream(self.out_values, self.bits)}

    def _frames(self, words: Words) -> int:
        return len(words["in"]) // -(-self.total // self.in_values)

    def reference(self, words: Words, memories: Mapping[str, Memory]) -> dict[str, Ints]:
        frames = words["in"].reshape(self._frames(words), -1)[:, : self.total]
        padded = np.pad(frames, ((0, 0), (0, -self.total % self.out_values)))
        return {"out": padded.reshape(-1, self.out_values)}

    def busy(self, words: Words, memories: Mapping[str, Memory]) -> int:
        return self._frames(words) * repacking_cycles(self.total, self.in_values, self.out_values)

    @classmethod
    def random(cls, rng: np.random.Generator) -> Self:
        return cls(
            bits=int(rng.integers(1, 11)), in_values=int(rng.integers(1, 9)), out_values=int(rng.integers(1, 9)),
            total=int(rng.integers(1, 50)),
        )  # fmt: skip

    def stimulus(self, rng: np.random.Generator, words: int) -> dict[str, Ints]:
        read = -(-self.total // self.in_values)
        values = random_words(rng, -(-words // read) * read, self.inputs["in"]).reshape(-1, read * self.in_values)
        values[:, self.total :] = 0
        return {"in": values.reshape(-1, self.in_values)}

    @classmethod
    def typical(cls, rng: np.random.Generator) -> Self:
        small, ratio = int(rng.choice([1, 2, 3, 4])), int(rng.choice([2, 3, 4, 6, 8]))
        wide = small * ratio if rng.integers(4) else int(rng.integers(small + 1, 9))
        ends = (small, wide) if rng.integers(2) else (wide, small)
        return cls(bits=8, in_values=ends[0], out_values=ends[1], total=8 * int(rng.integers(2, 65)))


@dataclass(frozen=True, kw_only=True)
class Concatenate(costs.Concatenate, Module):
    """Two maps joined along channels: of a pixel `depth_a` words of one, then `depth_b` of the other."""

    @property
    def inputs(self) -> dict[str, Stream]:
        return {"a": Stream(1, self.width), "b": Stream(1, self.width)}

    @property
    def outputs(self) -> dict[str, Stream]:
        return {"out": Stream(1, self.width)}

    def reference(self, words: Words, memories: Mapping[str, Memory]) -> dict[str, Ints]:
        a, b = words["a"].reshape(-1, self.depth_a), words["b"].reshape(-1, self.depth_b)
        return {"out": np.concatenate([a, b], 1).reshape(-1, 1)}

    def busy(self, words: Words, memories: Mapping[str, Memory]) -> int:
        return concatenation_cycles(len(words["a"]) // self.depth_a, self.depth_a, self.depth_b)

    @classmethod
    def random(cls, rng: np.random.Generator) -> Self:
        depths = rng.integers(1, 2 ** rng.integers(1, 6, 2))
        return cls(width=int(rng.integers(1, 41)), depth_a=int(depths[0]), depth_b=int(depths[1]))

    def stimulus(self, rng: np.random.Generator, words: int) -> dict[str, Ints]:
        pixels = -(-words // min(self.depth_a, self.depth_b))
        return {
            "a": random_words(rng, pixels * self.depth_a, self.inputs["a"]),
            "b": random_words(rng, pixels * self.depth_b, self.inputs["b"]),
        }

    @classmethod
    def typical(cls, rng: np.random.Generator) -> Self:
        return cls(
            width=int(rng.choice([8, 16, 32, 64])), depth_a=int(rng.integers(1, 257)), depth_b=int(rng.integers(1, 257))
        )
