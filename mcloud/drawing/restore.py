"""Sentences about a restoration: its estimate and its result."""

from mcloud.replication.restore import Restored
from mcloud.replication.restore_estimate import RestoreEstimate


def estimate_lines(estimate: RestoreEstimate, source: str, target: str) -> list[str]:
    """Return what the target lacks, and what the copy costs."""
    if estimate.is_empty:
        return [f"{target} already has everything that {source} has"]
    lines = [
        f"{target} has missing data in {len(estimate.hours):,} hours of"
        f" {len(estimate.symbols):,} symbols: {estimate.candles:,} candles,"
        f" {estimate.objects:,} raw objects ({estimate.bytes:,} bytes), {estimate.trades:,} trades"
    ]
    if estimate.damaged:
        lines.append(f"{estimate.damaged:,} of its raw objects are damaged, and will be rewritten")
    requests = ", ".join(
        f"{count:,} requests to {name}" for name, count in estimate.requests.items()
    )
    return [
        *lines,
        f"estimate: {requests}, ${estimate.usd:,.4f} at list price, before free tiers",
    ]


def result(done: Restored) -> str:
    """Return what was written."""
    sent = f", {done.messages:,} messages sent" if done.messages else ""
    written = f"{done.candles:,} candles and {done.objects:,} raw objects written"
    return f"{done.hours:,} hours done: {written}{sent}"


def warnings(done: Restored) -> list[str]:
    """Return what was not copied, and other problems."""
    lines = [*done.notes]
    lines += [f"not copied because it is damaged: {each}" for each in done.damaged]
    if done.left:
        lines.append(
            f"{done.left:,} hours still have missing data; `mcloud verify` shows it, unless it has"
            " only just arrived"
        )
    return lines
