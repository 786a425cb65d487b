"""Stand-in."""

import json
from decimal import Decimal
from pathlib import Path


def read(home: Path) -> dict[str, dict[str, Decimal]]:
    try:
        values = json.loads((home / "meters.json").read_text(), parse_float=str)
    except FileNotFoundError:
        return {}
    return {
        site: {meter: Decimal(units) for meter, units in each.items()}
        for site, each in values.items()
    }
