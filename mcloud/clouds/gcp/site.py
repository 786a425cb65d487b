from functools import cached_property
from pathlib import Path
from typing import Any

from mcloud.clouds.gcp import client
from mcloud.clouds.gcp.alert_policies import metric_conditions
from mcloud.clouds.gcp.archive import GcsArchive
from mcloud.clouds.gcp.candles import FirestoreCandles
from mcloud.clouds.gcp.control import FirestoreControl
from mcloud.clouds.gcp.database import has_free_tier
from mcloud.clouds.gcp.logs import CloudLogging, FileLogs
from mcloud.clouds.gcp.metrics import CloudMonitoring
from mcloud.clouds.gcp.probe import GcpProbe
from mcloud.clouds.gcp.queue import PubSubQueue
from mcloud.clouds.gcp.ramp import WriteRamp
from mcloud.clouds.gcp.usage import MonitoringUsage
from mcloud.clouds.ports import Archive
from mcloud.clouds.resources import Cloud, GcpResources
from mcloud.clouds.staged import EMBEDDED_DELAY, UNCHANGED, StagedArchive


class GcpSite:
    """Implementation of ``ports.Site`` for Google Cloud."""

    cloud: Cloud = "gcp"

    def __init__(self, name: str, resources: GcpResources) -> None:
        self.name = name
        self.resources = resources

    def __reduce__(self) -> tuple[Any, ...]:
        # A site that is sent to another process is opened again there.
        return type(self), (self.name, self.resources)

    @cached_property
    def queue(self) -> PubSubQueue:
        publisher = client.make_publisher(self.resources.pubsub_endpoint)
        return PubSubQueue(publisher, self._subscriber, self.metrics, self.resources)

    @cached_property
    def candles(self) -> FirestoreCandles:
        to = self.resources
        if to.firestore_endpoint:
            return FirestoreCandles(self._firestore, to.candles_collection)
        return FirestoreCandles(self._firestore, to.candles_collection, WriteRamp().wait)

    @cached_property
    def archive(self) -> Archive:
        storage, to = self._storage, self.resources
        archive = GcsArchive(storage, to.raw_bucket)
        if not to.staging_bucket:
            return archive
        staging = GcsArchive(storage, to.staging_bucket)
        if to.storage_endpoint:
            return StagedArchive(archive, staging, delay=EMBEDDED_DELAY)
        return StagedArchive(archive, staging, unchanged=UNCHANGED)

    @cached_property
    def control(self) -> FirestoreControl:
        return FirestoreControl(self._firestore, self.resources.control_collection)

    @cached_property
    def metrics(self) -> CloudMonitoring:
        return CloudMonitoring(
            client.make_metrics(self.resources.monitoring_endpoint), self.resources
        )

    @cached_property
    def logs(self) -> CloudLogging | FileLogs:
        to = self.resources
        if to.function_log:
            return FileLogs(Path(to.function_log))
        return CloudLogging(client.make_session(), to.project, to.function)

    @cached_property
    def usage(self) -> MonitoringUsage:
        client_ = client.make_metrics(self.resources.monitoring_endpoint)
        to = self.resources
        if to.monitoring_endpoint:
            return MonitoringUsage(client_, to)
        stack = to.function.removesuffix("-processor")
        return MonitoringUsage(
            client_,
            to,
            lambda: has_free_tier(client.make_session(), to.project, to.database),
            lambda: metric_conditions(client.make_session(), to.project, stack),
        )

    @cached_property
    def probe(self) -> GcpProbe:
        return GcpProbe(self._subscriber, self._firestore, self._storage, self.resources)

    @cached_property
    def _subscriber(self) -> Any:
        return client.make_subscriber(self.resources.pubsub_endpoint)

    @cached_property
    def _firestore(self) -> Any:
        to = self.resources
        return client.make_firestore(to.project, to.database, to.firestore_endpoint)

    @cached_property
    def _storage(self) -> Any:
        return client.make_storage(self.resources.project, self.resources.storage_endpoint)
