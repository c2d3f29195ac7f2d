"""The compiled inner loop of the simulator: it finds when every step of every stage happens, to the cycle.

A pipeline of stages and FIFOs is a Kahn process network: what a stage does next never depends on time, so the time of
each step is the maximum of a few earlier times plus its own duration. Stages are visited in turn, and each goes on as
far as the times it depends on are known. Cycles in which nothing happens are never looked at, and the result does not
depend on the order of the visits. If a round of visits moves nothing while steps are left, the pipeline is deadlocked.

For each image a stage reads `READS` steps, computes `GROUPS`·`BLOCKS`·`FILTERS` rounds and writes `WRITES` steps;
`stages.Stage` says what they are. Times are cycles since the start; a step that happens in cycle t has time t + 1.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numba.core import types
from numba.extending import intrinsic

from hass_train.runtime.compiled import compiled

# columns of the stage table
(
    READS, GROUPS, BLOCKS, FILTERS, DEPTH, WRITES, KEEP, BAND, REGISTERS, ENGINE, CYCLES, PACE,
    IN_FIRST, IN_LAST, OUT_FIRST, OUT_LAST,
    AT_READ, AT_BLOCK, AT_WRITE, AT_BASE, AT_OFFSET, AT_RELEASE, AT_WRITTEN, AT_DURATION,
    PER_IMAGE, PER_GROUP, PER_BLOCK, PER_PART,
    AT_ACTIVATION, ACTIVATIONS, AT_WEIGHT, AT_LOOKUP, WORDS, LANES, LANE_SIZE,
    ENGINE_COLUMNS, ENGINE_GROUPS, ENGINE_BUNDLES, ENGINE_FILTERS, SKEW, AT_ENGINE, AT_SKEW,
) = range(42)  # fmt: skip
STAGE_COLUMNS = 42
# columns of the edge table
PRODUCER, CONSUMER, AT_NEED, AT_USED, CAPACITY, MAP_WORDS = range(6)
EDGE_COLUMNS = 6
# kinds of compute engine
CONSTANT, LOCKSTEP, DECOUPLED, SOURCE = range(4)
# columns of the progress table
READ, ROUND, WRITTEN = range(3)
# columns of the account of a compute engine's cycles
BUSY, STARVED, BLOCKED, UNEVEN = range(4)


@intrinsic
def popcount(context, word):  # type: ignore[no-untyped-def]
    """Count the set bits of a 64-bit word in one instruction."""

    def generate(_, builder, __, values):  # type: ignore[no-untyped-def]
        return builder.ctpop(values[0])

    return types.uint64(types.uint64), generate


@njit(inline="always")  # a call would take ten times as long as the counting
def nonzero_pairs(activations, first, weights, other, words):  # type: ignore[no-untyped-def]
    """Count the pairs of two packed windows of which neither is zero.

    Args:
        activations, first: words of all windows, and where the one window begins.
        weights, other: words of all kernels, and where the one kernel begins.
        words: words of a window.
    """
    pairs = np.int64(0)
    for word in range(words):
        pairs += np.int64(popcount(activations[first + word] & weights[other + word]))  # type: ignore[call-arg]
    return pairs


@njit(inline="always")
def fullest_lane(activations, first, weights, other, words, lanes, size):  # type: ignore[no-untyped-def]
    """Count the pairs of two packed windows of which neither is zero, in the lane that has most of them.

    Args:
        activations, first, weights, other, words: as in `nonzero_pairs`.
        lanes: lanes in a word; 1 = a lane takes one word or more.
        size: positions of a lane where a word holds several; else words of a lane.
    """
    if lanes == 1 and size == words:  # a single lane, as `crossbar` engines have
        return nonzero_pairs(activations, first, weights, other, words)
    most = np.int64(0)
    if lanes > 1:
        width = np.uint64(size)
        lane = (np.uint64(1) << width) - np.uint64(1)
        for word in range(words):
            both = activations[first + word] & weights[other + word]
            for _ in range(lanes):
                most = max(most, np.int64(popcount(both & lane)))  # type: ignore[call-arg]
                both >>= width
        return most
    begin = 0
    while begin < words:  # a range with a step divides
        most = max(most, nonzero_pairs(activations, first + begin, weights, other + begin, size))
        begin += size
    return most


@compiled
def fullest_lanes(windows, words, lanes, size, most):  # type: ignore[no-untyped-def]
    """Count the non-zeros in the fullest lane of every window of one operand.

    Args:
        windows: words of all windows.
        words, lanes, size: as in `fullest_lane`.
        most: (windows,) the counts, filled in.
    """
    for window in range(len(most)):
        most[window] = fullest_lane(windows, window * words, windows, window * words, words, lanes, size)


@compiled
def lockstep_durations(stage, activations, weights, lookup, images, longest, total):  # type: ignore[no-untyped-def]
    """Work out the cycles of every round of a stage whose engines take pairs in lock-step.

    Args:
        stage: the stage's row of the stage table.
        activations, weights, lookup: flat arrays of `packing.Packed`.
        images: how many images.
        longest: (images, rounds) cycles of the slowest compute engine, filled in.
        total: (images, rounds) cycles of all compute engines together, filled in.
    """
    words, columns = stage[WORDS], stage[ENGINE_COLUMNS]
    bundles, filters = stage[ENGINE_GROUPS] * stage[ENGINE_BUNDLES], stage[ENGINE_FILTERS]
    lanes, size, at_lookup = stage[LANES], stage[LANE_SIZE], stage[AT_LOOKUP]
    for image in range(images):
        place = 0
        for group in range(stage[GROUPS]):
            for block in range(stage[BLOCKS]):
                seen = stage[AT_ACTIVATION] + image * stage[ACTIVATIONS]
                seen += (group * stage[BLOCKS] + block) * columns * bundles * words
                for part in range(stage[FILTERS]):
                    held = stage[AT_WEIGHT] + (block * stage[FILTERS] + part) * bundles * filters * words
                    most, sum_ = 0, 0
                    for column in range(columns):
                        for bundle in range(bundles):
                            window = seen + (column * bundles + bundle) * words
                            kernel = held + bundle * filters * words
                            if lanes == 1 and size == words:  # twice as fast as to ask for every filter
                                for one in range(filters):
                                    pairs = nonzero_pairs(activations, window, weights, kernel + one * words, words)
                                    cycles = lookup[at_lookup + pairs]
                                    sum_ += cycles
                                    most = max(most, cycles)
                                continue
                            for one in range(filters):
                                other = kernel + one * words
                                pairs = fullest_lane(activations, window, weights, other, words, lanes, size)
                                cycles = lookup[at_lookup + pairs]
                                sum_ += cycles
                                most = max(most, cycles)
                    longest[image, place] = most
                    total[image, place] = sum_
                    place += 1


@compiled
def play(  # type: ignore[no-untyped-def]
    images, real, stages, edges, outgoing, base, offset, release, written, need, used, duration, mean_duration,
    activations, weights, lookup, reads, blocks, emits, writes, engines, skewed, progress, account, ends,
):  # fmt: skip
    """Play `images` images through the pipeline.

    Args:
        images: how many images; `real` of them are given, and repeat.
        stages, edges, outgoing: the tables of stages and of FIFOs, and the FIFOs that leave each stage.
        base … lookup: the flat arrays that the tables point into.
        reads, blocks, emits, writes: times of all steps, filled in.
        engines, skewed: state of decoupled compute engines.
        progress: (stages, 3) steps done, filled in.
        account: (stages, 4) cycles in which compute engines were busy, starved, blocked or waiting for slower ones,
            after the first image; filled in.
        ends: (stages, images, 3) times of each image's first read, first write and last write, filled in.

    Returns:
        Whether all steps happened; if not, the pipeline is deadlocked.
    """
    # One function, long as it is: split into reading, computing and writing, the calls take five times as long.
    passed = np.zeros(len(edges), np.int64)  # reads of an edge's consumer that freed the room that was last needed
    clock = np.zeros(len(stages), np.int64)  # when each engine finished its last round
    step = np.zeros((len(stages), 4), np.int64)  # image, group, block, filters of the next round
    emitted = np.zeros(len(stages), np.int64)
    moving = True
    while moving:
        moving = False
        for v in range(len(stages)):
            stage = stages[v]
            moved = True
            while moved:
                moved = False
                # ---- read
                count = progress[v, READ]
                while count < images * stage[READS]:
                    image, n = count // stage[READS], count % stage[READS]
                    time = reads[stage[AT_READ] + count - 1] if count else 0
                    known = True
                    for e in range(stage[IN_FIRST], stage[IN_LAST]):
                        wanted = need[edges[e, AT_NEED] + n]
                        if wanted < 0:
                            continue
                        producer = edges[e, PRODUCER]
                        wanted += image * stages[producer, WRITES]
                        if wanted >= progress[producer, WRITTEN]:
                            known = False
                            break
                        time = max(time, writes[stages[producer, AT_WRITE] + wanted])
                    if not known:
                        break
                    over = count - stage[KEEP]  # the step whose place this one takes
                    if over >= 0:
                        last = release[stage[AT_RELEASE] + over % stage[READS]]
                        if last >= 0:
                            last += (over // stage[READS]) * stage[GROUPS] * stage[BLOCKS]
                            done = (step[v, 0] * stage[GROUPS] + step[v, 1]) * stage[BLOCKS] + step[v, 2]
                            if last >= done:
                                break
                            time = max(time, blocks[stage[AT_BLOCK] + last])
                    reads[stage[AT_READ] + count] = time + 1
                    if n == 0:
                        ends[v, image, 0] = time
                    count += 1
                    moved = True
                progress[v, READ] = count
                # ---- compute
                while step[v, 0] < images:
                    image, group, block, part = step[v, 0], step[v, 1], step[v, 2], step[v, 3]
                    ready = 0
                    if stage[READS]:
                        wanted = image * stage[READS] + base[stage[AT_BASE] + group] + offset[stage[AT_OFFSET] + block]
                        if wanted >= progress[v, READ]:
                            break
                        ready = reads[stage[AT_READ] + wanted]
                    room = 0
                    emits_now = block % stage[DEPTH] == stage[DEPTH] - 1
                    if emits_now and emitted[v] >= stage[REGISTERS]:
                        wanted = emitted[v] - stage[REGISTERS]
                        if wanted >= progress[v, WRITTEN]:
                            break
                        room = writes[stage[AT_WRITE] + wanted]
                    known_at = stage[AT_DURATION] + (image % real) * stage[PER_IMAGE] + group * stage[PER_GROUP]
                    known_at += block * stage[PER_BLOCK] + part * stage[PER_PART]
                    before, count_it = clock[v], image > 0
                    handed = 0
                    if stage[ENGINE] == DECOUPLED:
                        size = stage[SKEW] + 1
                        rounds = progress[v, ROUND]
                        gate = skewed[stage[AT_SKEW] + rounds % size] if rounds >= size else 0
                        handed = max(ready, gate)
                        start = max(handed, room)
                        words, bundles = stage[WORDS], stage[ENGINE_GROUPS] * stage[ENGINE_BUNDLES]
                        seen = stage[AT_ACTIVATION] + (image % real) * stage[ACTIVATIONS]
                        seen += (group * stage[BLOCKS] + block) * stage[ENGINE_COLUMNS] * bundles * words
                        held = stage[AT_WEIGHT]
                        held += (block * stage[FILTERS] + part) * bundles * stage[ENGINE_FILTERS] * words
                        finish, engine = 0, stage[AT_ENGINE]
                        busy, starved, blocked, uneven = 0, 0, 0, 0
                        for column in range(stage[ENGINE_COLUMNS]):
                            for bundle in range(bundles):
                                window = seen + (column * bundles + bundle) * words
                                for one in range(stage[ENGINE_FILTERS]):
                                    if words:
                                        kernel = held + (bundle * stage[ENGINE_FILTERS] + one) * words
                                        pairs = fullest_lane(
                                            activations, window, weights, kernel, words, stage[LANES], stage[LANE_SIZE]
                                        )
                                        cycles = lookup[stage[AT_LOOKUP] + pairs]
                                    else:
                                        cycles = np.int64(duration[known_at + engine - stage[AT_ENGINE]])
                                    free = engines[engine]
                                    at = max(free, start)
                                    gap = at - free
                                    if gap:
                                        if at == ready:
                                            starved += gap
                                        elif at == room:
                                            blocked += gap
                                        else:
                                            uneven += gap
                                    busy += cycles
                                    engines[engine] = at + cycles
                                    finish = max(finish, at + cycles)
                                    engine += 1
                        if rounds:
                            finish = max(finish, skewed[stage[AT_SKEW] + (rounds - 1) % size])
                        skewed[stage[AT_SKEW] + rounds % size] = finish
                        if count_it:
                            side_by_side = engine - stage[AT_ENGINE]
                            account[v, BUSY] += busy / side_by_side
                            account[v, STARVED] += starved / side_by_side
                            account[v, BLOCKED] += blocked / side_by_side
                            account[v, UNEVEN] += uneven / side_by_side
                    else:
                        start = max(before, max(ready, room))
                        cycles = stage[CYCLES]
                        even = float(cycles)
                        if stage[ENGINE] == LOCKSTEP:
                            cycles = duration[known_at]
                            even = mean_duration[known_at]
                        elif stage[ENGINE] == SOURCE:
                            # spread over the time that the off-chip bus takes for an image
                            start = max(start, image * stage[PACE] + (group * stage[PACE]) // stage[GROUPS])
                        finish = start + cycles
                        handed = finish
                        if count_it:
                            account[v, BUSY] += even
                            account[v, UNEVEN] += cycles - even
                            if room > ready:
                                account[v, BLOCKED] += start - before
                            else:
                                account[v, STARVED] += start - before
                    clock[v] = max(finish, before)
                    if emits_now:
                        emits[stage[AT_WRITE] + emitted[v]] = finish
                        emitted[v] += 1
                    if part == stage[FILTERS] - 1:
                        blocks[stage[AT_BLOCK] + (image * stage[GROUPS] + group) * stage[BLOCKS] + block] = handed
                    progress[v, ROUND] += 1
                    part += 1
                    if part == stage[FILTERS]:
                        part = 0
                        block += 1
                        if block == stage[BLOCKS]:
                            block = 0
                            group += 1
                            if group == stage[GROUPS]:
                                group = 0
                                image += 1
                    step[v, 0], step[v, 1], step[v, 2], step[v, 3] = image, group, block, part
                    moved = True
                # ---- write
                count = progress[v, WRITTEN]
                while count < images * stage[WRITES]:
                    image, k = count // stage[WRITES], count % stage[WRITES]
                    wanted = count
                    if stage[BAND] > 1:
                        wanted = image * stage[WRITES] + min((k // stage[BAND] + 1) * stage[BAND], stage[WRITES]) - 1
                    if wanted >= emitted[v]:
                        break
                    time = emits[stage[AT_WRITE] + wanted]
                    if count:
                        time = max(time, writes[stage[AT_WRITE] + count - 1])
                    known = True
                    for place in range(stage[OUT_FIRST], stage[OUT_LAST]):
                        e = outgoing[place]
                        consumer = edges[e, CONSUMER]
                        per_image, at_used = stages[consumer, READS], edges[e, AT_USED]
                        free = image * edges[e, MAP_WORDS] + written[stage[AT_WRITTEN] + k] - edges[e, CAPACITY]
                        if free <= 0:
                            continue
                        q = passed[e]
                        while True:
                            gone = 0
                            if q:
                                gone = ((q - 1) // per_image) * edges[e, MAP_WORDS]
                                gone += used[at_used + (q - 1) % per_image]
                            if gone >= free or q >= progress[consumer, READ]:
                                break
                            q += 1
                        passed[e] = q
                        if gone < free:
                            known = False
                            break
                        time = max(time, reads[stages[consumer, AT_READ] + q - 1])
                    if not known:
                        break
                    writes[stage[AT_WRITE] + count] = time + 1
                    if k == 0:
                        ends[v, image, 1] = time
                    if k == stage[WRITES] - 1:
                        ends[v, image, 2] = time + 1
                    count += 1
                    moved = True
                progress[v, WRITTEN] = count
                if moved:
                    moving = True
    return np.all(progress[:, WRITTEN] >= images * stages[:, WRITES])


@compiled
def peak(filled, amounts, per_fill, freed, returns, per_free, whole):  # type: ignore[no-untyped-def]
    """Find the most that a FIFO ever held.

    Args:
        filled: times at which something entered.
        amounts, per_fill: what has entered after each entering step of an image, and the number of these steps.
        freed, returns, per_free: the same for what left.
        whole: what enters with a whole image.
    """
    most, q, gone = 0, 0, 0
    for k in range(len(filled)):
        while q < len(freed) and freed[q] <= filled[k] - 1:
            gone = (q // per_free) * whole + returns[q % per_free]
            q += 1
        most = max(most, (k // per_fill) * whole + amounts[k % per_fill] - gone)
    return most
