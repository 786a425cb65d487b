"""Commands that need an extra of the package."""

from importlib.util import find_spec

from mcloud.errors import UsageError

BULK = ("numpy", "pyarrow")


def require_bulk() -> None:
    """Raise UsageError if the extra ``bulk`` is not installed."""
    if not all(map(find_spec, BULK)):
        raise UsageError(
            "this command needs more packages", remedy="run `pip install 'mcloud[bulk]'`"
        )
