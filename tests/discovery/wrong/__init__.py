"""Requests that Google refuses although they fit the discovery documents, each with its source."""

from dataclasses import replace

from . import firestore, functions, iam, monitoring, others, pubsub, scheduler, storage
from .firestore import database
from .iam import account
from .pubsub import subscription, topic
from .rule import Described, Wrong, ask
from .storage import bucket

__all__ = ["WORLD", "WRONG", "Described", "Wrong"]

WORLD = (
    topic("trades"),
    topic("dead"),
    account("processor"),
    bucket("mcloud-raw"),
    replace(ask("POST storage/upload/storage/v1/b/mcloud-raw/o?name=functions.zip"), media=b"zip"),
    database("mcloud"),
    subscription("processor"),
)
"""Requests that create what the others refer to."""

WRONG = [
    *pubsub.WRONG,
    *iam.WRONG,
    *firestore.WRONG,
    *storage.WRONG,
    *functions.WRONG,
    *scheduler.WRONG,
    *monitoring.WRONG,
    *others.WRONG,
]
