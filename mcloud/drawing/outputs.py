"""A view of the outputs of a site."""

from collections.abc import Mapping

from rich.table import Table


def table(site: str, outputs: Mapping[str, str]) -> Table:
    """Draw the outputs of one site, one in a row."""
    drawn = Table(title=site, title_justify="left", show_header=False, box=None)
    for key, value in outputs.items():
        drawn.add_row(key, value)
    return drawn
