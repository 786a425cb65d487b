"""What each site costs, for the dashboard: one look at the meters serves all sites."""

import threading
from collections.abc import Callable, Mapping

from mcloud.clouds.ports import Site
from mcloud.config import Config
from mcloud.cost.current import current
from mcloud.dashboard.snapshot import CostFigure
from mcloud.errors import McloudError


def site_costs(config: Config, sites: Mapping[str, Site]) -> Callable[[str], CostFigure]:
    """A function of a site's name.

    It raises McloudError where the cost is not known, or ``[cost]`` is wrong.
    """
    one = threading.Lock()

    def cost(name: str) -> CostFigure:
        # Whoever waits for the other finds what that one has kept.
        with one:
            figure = current(config, sites)
        if name not in figure.by_site:
            raise McloudError(figure.source)
        return CostFigure(
            figure.by_site[name],
            figure.per_hour_by_site.get(name),
            figure.as_of,
            figure.source,
        )

    return cost
