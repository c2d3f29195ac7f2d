"""Thresholds learned in the search epochs."""

from __future__ import annotations

from hass_train.search.engine import Choice, SearchEngine
from hass_train.search.subject import Subject


class Learned(SearchEngine):
    """Gradients move the thresholds during the search epochs; at the end they are scaled to meet the goal.

    Where accuracy held the search back the goal may still be far, and scaling thresholds to it would destroy the
    network; then it settles for less.
    """

    name = "learned"
    trains = True

    def epochs(self, planned: int) -> int:
        """See `SearchEngine`."""
        return planned

    def choose(self, subject: Subject) -> Choice:
        """See `SearchEngine`."""
        return Choice(settled_ips=subject.survive())
