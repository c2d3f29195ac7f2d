"""Compiled inner loops of the knapsack: walks over weights, repairs, branch and bound.

In all functions `resources` is (rows, k), `first` and `end` (operations,) bound the rows of each operation, `budget` is
(k,), and `scale` (k,) are the factors from spending to shares of the budget.
"""

from __future__ import annotations

import numpy as np

from hass_train.runtime.compiled import compiled

IMPOSSIBLE, OPEN, FITS = range(3)
"""What a walk, or branch and bound, found out."""
_CUTS = 16  # most cutting planes of a node


@compiled
def repair(resources, first, end, budget, scale, chosen):  # type: ignore[no-untyped-def]
    """Swap single designs, always the swap that lowers the summed overdraft most, until the selection fits.

    Args:
        resources, first, end, budget, scale: the knapsack.
        chosen: (operations,) rows, repaired in place.

    Returns:
        Whether it fits.
    """
    operations, k = len(chosen), len(budget)
    spent = np.zeros(k)
    for operation in range(operations):
        spent += resources[chosen[operation]]
    beside = np.empty(k)
    for _ in range(operations + 1):
        over = 0.0
        for column in range(k):
            over += max(spent[column] * scale[column] - 1.0, 0.0)
        fits = True
        for column in range(k):
            fits &= spent[column] <= budget[column]
        if fits:
            return True
        best, swapped, swap = over, -1, -1
        for operation in range(operations):
            for column in range(k):
                beside[column] = spent[column] - resources[chosen[operation], column]
            for row in range(first[operation], end[operation]):
                overdraft = 0.0
                for column in range(k):
                    overdraft += max((beside[column] + resources[row, column]) * scale[column] - 1.0, 0.0)
                    if overdraft >= best:
                        break
                if overdraft < best:
                    best, swapped, swap = overdraft, operation, row
        if swapped < 0:
            return False
        spent += resources[swap] - resources[chosen[swapped]]
        chosen[swapped] = swap
    return False


@compiled
def _cheapest(resources, first, end, priced, chosen, spent):  # type: ignore[no-untyped-def]
    """Choose each operation's cheapest row, into `chosen`, what all spend, into `spent`, and return what they cost."""
    bound = 0.0
    spent[:] = 0.0
    for operation in range(len(first)):
        least, at = np.inf, -1
        for row in range(first[operation], end[operation]):
            cost = 0.0
            for column in range(len(priced)):
                cost += resources[row, column] * priced[column]
            if cost < least:
                least, at = cost, row
        bound += least
        chosen[operation] = at
        spent += resources[at]
    return bound


@compiled
def walk(resources, first, end, budget, scale, weights, steps, every):  # type: ignore[no-untyped-def]
    """Look for a selection that fits, or weights that prove that there is none.

    The weights of resources that the cheapest selection overspends grow, and the others fall.

    Args:
        resources, first, end, budget, scale: the knapsack.
        weights: (k,) shares of the budget to begin with.
        steps: most weights to look at.
        every: steps between repairs.

    Returns:
        What was found, the (operations,) rows of a selection, the best bound, and its (k,) weights.
    """
    operations, k = len(first), len(budget)
    chosen, spent = np.empty(operations, np.int64), np.empty(k)
    best_bound, best_weights = -1.0, weights.copy()
    for step in range(steps):
        bound = _cheapest(resources, first, end, weights * scale, chosen, spent)
        if bound > best_bound:
            best_bound, best_weights = bound, weights.copy()
        if bound > 1.0 + 1e-9:
            return IMPOSSIBLE, chosen, bound, weights
        fits = True
        for column in range(k):
            fits &= spent[column] <= budget[column]
        if fits or (step % every == every - 1 and repair(resources, first, end, budget, scale, chosen)):
            return FITS, chosen, best_bound, best_weights
        pace = 2.0 / (1.0 + step) ** 0.6
        weights = weights.copy()
        for column in range(k):
            excess = min(max(spent[column] * scale[column] - 1.0, -2.0), 2.0)
            weights[column] *= np.exp(excess * pace)
        weights = np.maximum(weights / weights.sum(), 1e-6)
        weights /= weights.sum()
    return OPEN, chosen, best_bound, best_weights


@compiled
def dearest(cuts):  # type: ignore[no-untyped-def]
    """Find the weights under which the cheapest of some selections costs most, by the simplex method.

    It is a matrix game, and the tableau that of the player who mixes selections; the weights are its dual.

    Args:
        cuts: (selections, k) what each spends, shares of the budget, ≥ 0.

    Returns:
        A cost that no weights exceed, the (k,) weights, and the (selections,) mixture that proves it.
    """
    count, k = cuts.shape
    table = np.zeros((k + 1, count + k + 1))
    for column in range(k):
        for cut in range(count):
            table[column, cut] = cuts[cut, column] + 1.0  # a positive game has a positive value
        table[column, count + column] = 1.0
        table[column, count + k] = 1.0
    table[k, :count] = -1.0
    basis = np.arange(count, count + k)
    for turn in range(400):
        entering, least = -1, -1e-11
        for column in range(count + k):
            if table[k, column] < least:
                entering = column
                if turn > 100:
                    break  # Bland's rule, which cannot cycle
                least = table[k, column]
        if entering < 0:
            break
        leaving, ratio = -1, np.inf
        for row in range(k):
            if table[row, entering] > 1e-11:
                own = table[row, count + k] / table[row, entering]
                if own < ratio - 1e-14 or (own <= ratio and leaving >= 0 and basis[row] < basis[leaving]):
                    leaving, ratio = row, own
        if leaving < 0:
            break
        table[leaving] /= table[leaving, entering]
        for row in range(k + 1):
            if row != leaving and table[row, entering] != 0.0:
                table[row] -= table[leaving] * table[row, entering]
        basis[leaving] = entering
    mixture, weights = np.zeros(count), np.maximum(table[k, count : count + k], 0.0)
    for row in range(k):
        if basis[row] < count:
            mixture[basis[row]] = max(table[row, count + k], 0.0)
    mixture /= mixture.sum()
    roof = 0.0
    for column in range(k):  # under any weights the cheapest costs no more than this mixture's largest share
        share = 0.0
        for cut in range(count):
            share += mixture[cut] * cuts[cut, column]
        roof = max(roof, share)
    weights = np.maximum(weights / weights.sum(), 1e-7)
    return roof, weights / weights.sum(), mixture


@compiled
def _swap(resources, names, one, other):  # type: ignore[no-untyped-def]
    """Swap two rows."""
    for column in range(resources.shape[1]):
        kept = resources[one, column]
        resources[one, column] = resources[other, column]
        resources[other, column] = kept
    names[one], names[other] = names[other], names[one]


@compiled
def _drop(resources, names, first, end, priced, gap):  # type: ignore[no-untyped-def]
    """Shorten each operation's rows to those that are dearer than its cheapest by no more than the gap."""
    for operation in range(len(first)):
        least = np.inf
        for row in range(first[operation], end[operation]):
            least = min(least, (resources[row] * priced).sum())
        kept = first[operation]
        for row in range(first[operation], end[operation]):
            if (resources[row] * priced).sum() <= least + gap:
                _swap(resources, names, kept, row)
                kept += 1
        end[operation] = kept


@compiled
def _split(resources, scale, first, end, selections, mixture):  # type: ignore[no-untyped-def]
    """Choose the operation, the column and the value at which to branch.

    It is where the designs of the mixed selections differ most; without any difference, the widest choice.

    Returns:
        The operation, −1 if none has a choice left, the column, and the value up to which rows go to the one side.
    """
    k = len(scale)
    best, where, at, value = 1e-12, -1, 0, 0.0
    for operation in range(len(first)):
        for column in range(k):
            mean, spread = 0.0, 0.0
            for cut in range(len(mixture)):
                mean += mixture[cut] * resources[selections[cut, operation], column]
            for cut in range(len(mixture)):
                spread += mixture[cut] * abs(resources[selections[cut, operation], column] - mean) * scale[column]
            if spread > best:
                best, where, at, value = spread, operation, column, mean
    if where >= 0:
        return where, at, value
    for operation in range(len(first)):
        for column in range(k):
            low, high = np.inf, -np.inf
            for row in range(first[operation], end[operation]):
                low, high = min(low, resources[row, column]), max(high, resources[row, column])
            if (high - low) * scale[column] > best:
                best, where, at, value = (high - low) * scale[column], operation, column, (low + high) / 2
    return where, at, value


@compiled
def _bounded(resources, first, end, budget, scale, weights, cuts, selections, chosen):  # type: ignore[no-untyped-def]
    """Bound a node of branch and bound by cutting planes.

    Args:
        resources, first, end, budget, scale: the knapsack.
        weights: (k,) shares of the budget to begin with.
        cuts, selections: (most, k) and (most, operations) become what the cheapest selections spend, and their rows.
        chosen: (operations,) becomes the last of them.

    Returns:
        What was found, the best bound, its (k,) weights, and the mixture of selections that bounds it from above.
    """
    spent = np.empty(len(budget))
    best, best_weights, mixture = -1.0, weights, np.zeros(0)
    for cut in range(len(cuts)):
        bound = _cheapest(resources, first, end, weights * scale, chosen, spent)
        if bound > 1.0 + 1e-9:
            return IMPOSSIBLE, bound, weights, mixture
        if bound > best:
            best, best_weights = bound, weights
        fits = True
        for column in range(len(budget)):
            fits &= spent[column] <= budget[column]
        if fits:
            return FITS, best, best_weights, mixture
        cuts[cut], selections[cut] = spent * scale, chosen
        roof, weights, mixture = dearest(cuts[: cut + 1])
        if roof <= 1.0 or roof <= best + 1e-5:
            break
        weights = 0.8 * weights + 0.2 * best_weights
        weights /= weights.sum()
    return OPEN, best, best_weights, mixture


@compiled
def branch(resources, first, end, budget, scale, weights, nodes):  # type: ignore[no-untyped-def]
    """Decide by branch and bound whether any selection fits.

    Every node is bounded by cutting planes that start from its parent's weights. Where a bound leaves it open, the rows
    of one operation are split by what they take of one resource. Rows stay within their node's bounds when they are
    reordered, so that nodes that wait still have theirs.

    Args:
        resources, first, end, budget, scale: the knapsack.
        weights: (k,) shares of the budget to begin with.
        nodes: most nodes to look at.

    Returns:
        What was found, and the (operations,) rows of a selection.
    """
    operations, k = len(first), len(budget)
    resources, names = resources.copy(), np.arange(len(resources))
    chosen = np.empty(operations, np.int64)
    waiting_first, waiting_end = [first.copy()], [end.copy()]
    waiting_weights = [weights.copy()]
    cuts, selections = np.empty((_CUTS, k)), np.empty((_CUTS, operations), np.int64)
    visited = 0
    while len(waiting_first):
        if visited == nodes:
            return OPEN, chosen
        visited += 1
        first, end, weights = waiting_first.pop(), waiting_end.pop(), waiting_weights.pop()
        state, best, weights, mixture = _bounded(
            resources, first, end, budget, scale, weights, cuts, selections, chosen
        )
        if state == FITS:
            return FITS, names[chosen]
        if state == IMPOSSIBLE:
            continue
        likely = selections[np.argmax(mixture)].copy()
        if (visited < 16 or visited % 8 == 0) and repair(resources, first, end, budget, scale, likely):
            return FITS, names[likely]
        at, column, value = _split(resources, scale, first, end, selections, mixture)
        if at < 0:
            continue  # one row for each operation, or rows that are alike: the cheapest selection is the only one
        below, middle = 0.0, first[at]
        for cut in range(len(mixture)):
            below += mixture[cut] * (resources[selections[cut, at], column] <= value)
        for row in range(first[at], end[at]):
            if resources[row, column] <= value:
                _swap(resources, names, middle, row)
                middle += 1
        for high in (below >= 0.5, below < 0.5):  # the likelier side is looked at first, so it is put last
            own_first, own_end = first.copy(), end.copy()
            if high:
                own_first[at] = middle
            else:
                own_end[at] = middle
            _drop(resources, names, own_first, own_end, weights * scale, 1.0 - best + 1e-7)
            waiting_first.append(own_first)
            waiting_end.append(own_end)
            waiting_weights.append(weights)
    return IMPOSSIBLE, chosen
