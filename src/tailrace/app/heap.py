"""Let the C library give large blocks back to the system as soon as they are freed.

glibc keeps freed blocks of the size that was last freed for later ones, up to 32 MiB; between
small allocations that live on, they leave holes, and anonymous memory grows with every large body.
"""

from __future__ import annotations

import ctypes

# Blocks from this size on come from the system and go back to it: the bodies that are not decoded
# on the loop. Smaller ones are reused, which is faster.
LARGE_BLOCK_BYTES = 1_048_576

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


def give_large_blocks_back() -> bool:
    """Set it for this process; return False where the C library has no such setting."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    settings = (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD)
    return all(mallopt(name, LARGE_BLOCK_BYTES) == 1 for name in settings)
