"""How much memory there is, asked before a large piece of work begins.

A process that takes more than there is ends without a word: the system kills it.

References:
    Linux, proc(5): MemAvailable. Linux, Control Group v2: memory.max, memory.current.
"""

from __future__ import annotations

from pathlib import Path

from frazil.errors import OptionError

_GROUP = Path("/sys/fs/cgroup")
_MEMINFO = Path("/proc/meminfo")


def available_bytes() -> int | None:
    """Memory that this process could still take: of the machine and of its control group; None where nobody tells."""
    found = []
    try:
        words = dict(line.split(":", 1) for line in _MEMINFO.read_text().splitlines() if ":" in line)
        found.append(int(words["MemAvailable"].split()[0]) * 1024)
    except (OSError, ValueError, KeyError, IndexError):
        pass
    try:
        most, now = ((_GROUP / name).read_text().strip() for name in ("memory.max", "memory.current"))
        if most != "max":
            found.append(max(int(most) - int(now), 0))
    except (OSError, ValueError):
        pass
    return min(found) if found else None


def require_memory(needed: float, what: str, advice: str) -> None:
    """Raise if work needs more memory than there is.

    Args:
        needed: bytes.
        what: the work, for the message.
        advice: what to do instead.

    Raises:
        OptionError: saying both numbers.
    """
    available = available_bytes()
    if available is not None and needed > available:
        raise OptionError(
            f"{what} needs about {needed / 1e9:.1f} GB of memory, but {available / 1e9:.1f} GB are free. {advice}"
        )
