"""What cannot be built is refused by name."""

from __future__ import annotations

from hass_train.runtime.errors import UserError


def refused(name: str, what: str, instead: str = "search again with hw.buildable=true") -> UserError:
    """The error that names an operation, what of it cannot be built, and what would work."""
    return UserError(f"{name} cannot be built: {what}; {instead}")
