"""The reason why a metrics service that answered has no value of a figure."""

_SERVICES = {"aws": "CloudWatch", "gcp": "Cloud Monitoring"}
_NEVER = {
    ("gcp", "throttles"): "Cloud Run reports none",
    ("gcp", "write_throttles"): "Firestore reports none",
    ("gcp", "in_flight"): "Pub/Sub reports none",
}


def absent(cloud: str, figure: str) -> str:
    """Return the reason. ``figure`` is its name in the document of ``mcloud status -o json``."""
    return _NEVER.get((cloud, figure)) or f"{_SERVICES.get(cloud, cloud)} has no value yet"
