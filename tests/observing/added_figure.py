"""A program that adds a figure to the declared ones, and prints all that mcloud makes of it."""

import json
from dataclasses import replace

from mcloud.clouds import figures

figures.FIGURES = (
    *figures.FIGURES,
    figures.MeasuredFigure(
        "cold_starts", "function", "calls", "Calls that started an instance.", is_fault=True
    ),
    figures.MeasuredFigure("read_time", "store", "latency", "Time of a read."),
)

# Everything else is imported now, and derives its own from the figures that are declared by then.
from rich.console import Console  # noqa: E402

from mcloud.alerts import units  # noqa: E402
from mcloud.clouds.ports import Figure  # noqa: E402
from mcloud.documents import encode  # noqa: E402
from mcloud.drawing.monitor import MonitorView, screen  # noqa: E402
from mcloud.drawing.status import everything  # noqa: E402
from mcloud.observing.alert_figures import alert_figures  # noqa: E402
from mcloud.observing.document import document  # noqa: E402
from mcloud.observing.exposition import exposition  # noqa: E402
from mcloud.observing.snapshot import collect  # noqa: E402

from .sites import AT, FIGURES, FakeSite  # noqa: E402

PATHS = ("sites.aws.function.cold_starts", "sites.aws.store.read_time_s")


def main() -> None:
    new = {"cold_starts": Figure(3.0, AT), "read_time": Figure(0.25, AT)}
    seen = replace(FIGURES, measured={**FIGURES.measured, **new})
    snapshot = collect({"aws": FakeSite(figures=seen), "gcp": FakeSite("gcp")})  # type: ignore[dict-item]
    console = Console(width=150)
    with console.capture() as drawn:
        console.print(everything(snapshot))
    told = encode(document(snapshot))
    alerts = alert_figures(snapshot, {}, None, {})
    found = [each.figure for path in PATHS for each in alerts.find(path)]
    print(
        json.dumps(
            {
                "function": told["sites"]["aws"]["function"],
                "store": told["sites"]["aws"]["store"],
                "unknown": told["sites"]["gcp"]["function"]["unknown_why"],
                "exposition": exposition(snapshot).splitlines(),
                "status": drawn.get().splitlines(),
                "monitor": [line.plain for line in screen(snapshot, MonitorView(150, 60, 1.0))],
                "alerts": [(each.value, each.at) for each in found if each is not None],
                "said": [units.said(3, PATHS[0]), units.said(0.25, PATHS[1])],
            }
        )
    )


if __name__ == "__main__":
    main()
