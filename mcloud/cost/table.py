"""A report as CSV, with every meter, and as Markdown."""

import csv
from collections.abc import Sequence
from datetime import UTC, datetime
from io import StringIO

from mcloud.cost.report import Compared, CostReport, Group
from mcloud.cost.words import plain, usd

COLUMNS = (
    *("month", "site", "cloud", "service", "meter", "unit", "used", "free_tier_used"),
    *("gross_usd", "net_usd", "source", "as_of", "exact"),
)


def as_csv(report: CostReport) -> str:
    """Return a row for every meter. The cost of an unknown meter is empty."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for line in report.lines:
        known = line.used is not None
        writer.writerow(
            [
                *(report.month.name, line.site, line.cloud, line.service, line.meter, line.unit),
                *(plain(line.used, 6), plain(line.free, 6) if known else None),
                *(plain(line.gross) if known else None, plain(line.net) if known else None),
                *(line.source, _stamp(line.as_of), "yes" if line.exact else "no"),
            ]
        )
    return text.getvalue()


def as_markdown(report: CostReport) -> str:
    """Return the groups, the comparison of the clouds, and the notes."""
    groups = [(group.site, *group_cells(group)) for group in report.groups]
    compared = [compared_cells(row, report) for row in report.comparison]
    net = "unknown" if report.is_unknown else usd(report.net)
    parts = [
        f"## Cost of {report.month.name}: {net} (estimate, {_stamp(report.at)})",
        _table(
            ("Site", report.by.capitalize(), "List", "Net", "Share", "Per million trades"), groups
        ),
        "### By cloud",
        _table(("Service", "AWS list", "AWS net", "GCP list", "GCP net", "GCP saves"), compared),
        "\n".join(f"- {note}" for note in report.notes),
    ]
    return "\n\n".join(parts) + "\n"


def group_cells(group: Group) -> tuple[str, str, str, str, str]:
    """Return name, list price, net price, share, and dollars per million trades."""
    if group.is_unknown:
        return group.name, "unknown", "unknown", "", "unknown"
    return (
        group.name,
        usd(group.gross),
        usd(group.net),
        "" if group.share is None else f"{100 * group.share:.0f}%",
        "unknown" if group.per_million is None else usd(group.per_million),
    )


def compared_cells(row: Compared, report: CostReport) -> tuple[str, ...]:
    """Return the service, list and net price on both clouds, and the saving."""
    clouds = {usage.cloud for usage in report.usages}
    sums = (
        *((row.aws_gross, {"aws"}), (row.aws_net, {"aws"}), (row.gcp_gross, {"gcp"})),
        *((row.gcp_net, {"gcp"}), (row.saving, {"aws", "gcp"})),
    )
    missing = [(each, "unknown" if of <= clouds else "no site") for each, of in sums]
    return (row.service, *(why if each is None else usd(each) for each, why in missing))


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
