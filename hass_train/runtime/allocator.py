"""Keeps freed memory within the process: every training step on a CPU allocates the same large blocks again."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # glibc, malloc.h


def keep_freed_memory() -> bool:
    """Let glibc's allocator keep the memory that torch frees.

    By default it returns every block of more than 32 MiB (less at first) to the kernel, which clears the pages again
    for the next step. Where page faults are slow, this is most of the time of a step (benchmarks/results/step.md). In
    exchange, resident memory stays at its peak.

    Returns:
        Whether the setting was changed; C libraries other than glibc do not have it.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    settings = {_MMAP_MAX: 0, _TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 64 * 2**20}
    return all(mallopt(ctypes.c_int(option), ctypes.c_int(value)) for option, value in settings.items())
