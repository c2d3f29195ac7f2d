"""Keeps freed memory within the process: a training step on a CPU asks for the same large blocks again and again."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # glibc, malloc.h


def keep_freed_memory() -> bool:
    """Let glibc's allocator keep what torch frees.

    By default it hands every block of more than 32 MiB (less at first) back to the kernel, which clears its pages anew
    for the next step; where page faults are dear this is most of a step's time (benchmarks/results/step.md). The price
    is a resident memory that stays at its peak.

    Returns:
        Whether it was done; other C libraries have no such switch.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    settings = {_MMAP_MAX: 0, _TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 64 * 2**20}
    return all(mallopt(ctypes.c_int(option), ctypes.c_int(value)) for option, value in settings.items())
