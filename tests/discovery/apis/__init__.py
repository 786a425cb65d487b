"""Rules that the discovery documents do not contain, one module for each API.

Importing this package registers the hooks of all modules.
"""

from . import (  # noqa: F401
    artifact_registry,
    bigquery,
    budgets,
    firestore,
    functions,
    iam,
    logs,
    monitoring,
    projects,
    pubsub,
    scheduler,
    storage,
    traces,
    transfer,
)
