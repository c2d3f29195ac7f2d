"""How a feature map lies in a stream: which channel and pixel every value of every word is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.arithmetic import ceil_div
from hass_train.precision.formats import Format
from hass_train.rtl.streams import Ints, Stream

NOTHING = -1
"""The channel of a place that holds none; its values mean nothing."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A map in a stream: pixel by pixel, row by row; of each pixel its places, some in a word.

    Args:
        height, width: of the map, in pixels.
        places: the channel at every place of a pixel, in the order in which they come.
        streams: places in a word.
        pixels: pixels of a row in a word; more than one only with all places. Rows begin a word.
        format: of the values.
    """

    height: int
    width: int
    places: tuple[int, ...]
    streams: int
    pixels: int
    format: Format

    @property
    def depth(self) -> int:
        """Words of a pixel, or of some side by side."""
        return int(ceil_div(len(self.places), self.streams))

    @property
    def across(self) -> int:
        """Groups of pixels in a row."""
        return int(ceil_div(self.width, self.pixels))

    @property
    def words(self) -> int:
        """Words of an image."""
        return self.height * self.across * self.depth

    @property
    def stream(self) -> Stream:
        """The stream."""
        return Stream(self.pixels * self.streams, self.format.bits)

    @property
    def channels(self) -> int:
        """Channels of the map."""
        return len(self.real)

    @property
    def real(self) -> tuple[int, ...]:
        """The channels in the order in which they come."""
        return tuple(channel for channel in self.places if channel != NOTHING)

    def _indices(self) -> tuple[Ints, Ints]:
        """(words, values) of an image: the channel, and the pixel, of every value; −1 where it means nothing."""
        places = np.array([*self.places, *[NOTHING] * (-len(self.places) % self.streams)]).reshape(self.depth, -1)
        column = np.arange(self.across * self.pixels).reshape(self.across, self.pixels)
        shape = (self.height, self.across, self.depth, self.pixels, self.streams)
        channel = np.broadcast_to(places[None, None, :, None, :], shape)
        row = np.arange(self.height)[:, None, None, None, None]
        pixel = np.broadcast_to(row * self.width + column[None, :, None, :, None], shape)
        known = (channel != NOTHING) & (column < self.width)[None, :, None, :, None]
        flat = (self.words, self.pixels * self.streams)
        return np.where(known, channel, -1).reshape(flat), np.where(known, pixel, -1).reshape(flat)

    def words_of(self, values: Ints) -> Ints:
        """The (n × words, values) integers that carry maps (n, channels, height, width); 0 where they mean nothing."""
        channel, pixel = self._indices()
        flat = np.pad(values.reshape(len(values), values.shape[1], -1), ((0, 0), (0, 0), (0, 1)))
        found = np.where(channel >= 0, flat[:, np.maximum(channel, 0), pixel], 0)
        return np.asarray(found.reshape(-1, self.pixels * self.streams), np.int64)

    def known(self) -> NDArray[np.bool_]:
        """(words, values) which values of an image mean something."""
        return self._indices()[0] >= 0
