"""The search engine that learns thresholds by gradient descent in the search epochs."""

from __future__ import annotations

from hass_train.search.engine import Choice, SearchEngine
from hass_train.search.subject import Subject


class Learned(SearchEngine):
    """Thresholds are learned during the search epochs, and at the end scaled so that the goal is just met.

    If the search had to slow down in order to keep the accuracy, the goal may still be far, and scaling thresholds up
    to it would destroy the network. Then the engine settles on a lower throughput.
    """

    name = "learned"
    trains = True

    def epochs(self, planned: int) -> int:
        """See `SearchEngine`."""
        return planned

    def choose(self, subject: Subject) -> Choice:
        """See `SearchEngine`."""
        return Choice(settled_rate=subject.survive())
