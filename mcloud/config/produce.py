"""The table ``[produce]`` of mcloud.toml, which producers and deployments follow."""

from dataclasses import dataclass

from mcloud.config.settings import setting


@dataclass(frozen=True)
class ProduceSettings:
    """The table ``[produce]`` of mcloud.toml."""

    freshness: float = setting(5.0, least=0, most=600)
    """Maximum age of a candle at the sites, in seconds. Messages are combined for that long, so a
    larger value costs less. 0 sends each message immediately.
    """
