"""What `make torture` prints at its end."""

from __future__ import annotations

from collections import Counter, defaultdict

from torture.run import Result
from torture.service import ROLES

_ROLES = (*ROLES, "command")


def table(result: Result) -> str:
    """Return a run as text for a terminal."""
    sums = result.sums
    lines = [
        "",
        f"seed {result.seed}: {result.kills} kills in {result.hours:.1f} hours of the service's "
        f"time, {result.seconds:.0f} s of the machine's; {result.restarts} restarts in order",
        "",
        *_kills(result),
        "",
        f"requests   {sums.attempts} sent to three projects by several clients at once:",
        f"           {sums.acknowledged} acknowledged, {sums.refused} refused, "
        f"{sums.unanswered} unanswered, of which {sums.unanswered_stored} were stored",
        f"events     {sums.accepted} accepted = {sums.exported} exported + {sums.duplicates} "
        f"duplicates + {sums.identifies} identifies",
        f"           {sums.merges} merged IDs",
        f"buckets    {result.sealed_hours} complete hours in {result.objects} objects; "
        f"{result.unfinished_uploads} uploads in parts left unfinished",
        "owners     " + ", ".join(f"{n} {what}" for what, n in sorted(result.changes.items())),
        "",
    ]
    if result.never_reached:
        lines.append("points never reached: " + ", ".join(result.never_reached))
    if result.never_killed:
        lines.append("points without a kill: " + ", ".join(result.never_killed))
    if result.faults:
        lines += [f"{len(result.faults)} FAULTS", *(f"- {fault}" for fault in result.faults)]
    else:
        lines.append(
            "Nothing acknowledged is missing, nothing is doubled, no marker came early, nothing "
            "was changed, every sum is right, every chain is whole."
        )
    return "\n".join(lines)


def _kills(result: Result) -> list[str]:
    points: dict[str, Counter[str]] = defaultdict(Counter)
    for (role, point), count in result.at_points.items():
        points[point][role] += count
    points["(at random)"].update(result.at_random)
    width = max(map(len, points))
    rows = ["  ".join(["killed at".ljust(width), *(role.rjust(11) for role in _ROLES)])]
    for point, counts in sorted(points.items()):
        cells = [str(counts[role] or "-").rjust(11) for role in _ROLES]
        rows.append("  ".join([point.ljust(width), *cells]))
    return rows
