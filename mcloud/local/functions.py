"""Google's functions-framework with all functions of a source in one process.

The framework serves one function per process, and each further process would need another 80 MB.
This module is started as a file, ``python functions.py --source MAIN --host HOST --port PORT``, so
that it imports only the mcloud in the bundle beside MAIN.
"""

import argparse
import io
import sys
from datetime import UTC, datetime
from pathlib import Path

import functions_framework
from functions_framework._http import create_server
from gunicorn.config import KNOWN_SETTINGS
from werkzeug.middleware.dispatcher import DispatcherMiddleware

PROCESSOR = "process"
SCHEDULED = ("anomaly", "compact")
"""Functions that a schedule calls, each under a path of its name."""


class Stamped(io.TextIOWrapper):
    """Standard output on which each JSON object gets the time at which it is written, as Cloud
    Logging gives it to a line.
    """

    def write(self, text: str) -> int:
        if text.startswith('{"'):
            text = f'{{"time": "{datetime.now(UTC).isoformat()}", {text[1:]}'
        return super().write(text)


def main() -> None:
    sys.stdout = Stamped(sys.stdout.buffer, encoding="utf-8", errors="replace")
    parser = argparse.ArgumentParser()
    for option in ("--source", "--host"):
        parser.add_argument(option, required=True)
    parser.add_argument("--port", type=int, required=True)
    given = parser.parse_args()
    sys.path.insert(0, str(Path(given.source).parent))
    scheduled = {
        f"/{name}": functions_framework.create_app(name, given.source, "http").wsgi_app
        for name in SCHEDULED
    }
    app = functions_framework.create_app(PROCESSOR, given.source, "cloudevent")
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, scheduled)
    # The control socket would be in the user's home folder, shared by all embedded clouds. Versions
    # before 25.1 have none.
    known = {setting.name for setting in KNOWN_SETTINGS}
    options = {name: True for name in ("control_socket_disable",) if name in known}
    create_server(app, False, **options).run(given.host, given.port)


if __name__ == "__main__":
    main()
