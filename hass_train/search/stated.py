"""The goal that a configuration states."""

from __future__ import annotations

from hass_train.config.checks import is_given, made
from hass_train.config.schema import SearchConfig
from hass_train.runtime.errors import UserError
from hass_train.search.goal import Goal

_SHORT = (
    "penalty",
    "target_speedup",
    "target_throughput",
    "target_latency_ms",
    "max_energy_mj",
    "max_accuracy_drop",
    "sparsity",
)
"""Keys of `search` that are short for the arguments of goals of the same names."""


def stated(config: SearchConfig, recipe: bool, engine: str) -> Goal | None:
    """Return the goal of the configuration, the one of `search.goals` whose arguments are all given; None without one.

    Args:
        config: the section `search`.
        recipe: whether the search engine is a recipe.
        engine: the engine's name, for messages.

    Raises:
        UserError: there is more than one goal, the engine does not serve it, or its value is out of range.
    """
    for name in _SHORT:
        if getattr(config, name) is not None and not config.goals.get(name):
            raise UserError(
                f"search.{name} is given, but search.goals has no {name} any more; leave one of them as it is"
            )
    given = {name: section for name, section in config.goals.items() if is_given(section)}
    goals = [made(section, f"search.goals.{name}", Goal) for name, section in given.items()]  # type: ignore[type-abstract]
    for name, goal in zip(given, goals, strict=True):
        if goal.of_recipe != recipe:
            ways = "search=one_shot or search=incremental" if goal.of_recipe else "search=learned, or search.sparsity"
            key = name if name in _SHORT else f"goals.{name}"
            raise UserError(f"search.{key} is {goal.value:g}, a goal that {engine} does not serve; use {ways}")
    if len(goals) > 1:
        raise UserError(f"search has {len(given)} goals ({', '.join(given)}); give one of them")
    return goals[0] if goals else None
