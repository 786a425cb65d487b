"""Load files with Spark: each file is a task, which runs the code of ``one_file`` on an executor.

The executors need mcloud with its extra ``bulk``, a way to the files and to the sites, and their
own credentials for the sites. A task that is lost with its executor runs again on another one: what
it had written is merged, so nothing is written twice.
"""

import os
import pickle
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from mcloud.backfill.libraries import FoundDump, open_library
from mcloud.backfill.one_file import FileLoader, LoadedFile
from mcloud.clouds.factory import open_site
from mcloud.clouds.resources import Resources
from mcloud.errors import McloudError, Unavailable, UsageError
from mcloud.workers import Workers

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

WRITES = 16  # requests of a task to the sites at the same time
WAVE = 64
"""Files that are loaded before their outcomes are noted, so that little is repeated after a crash
of this process."""
SCHEMA = "content binary"


def open_spark(master: str) -> "SparkSession":
    """Connect to a Spark cluster, such as ``local[*]`` or ``spark://HOST:7077``.

    Raises:
        UsageError: PySpark is not installed.
        Unavailable: the cluster cannot be reached, or there is no Java.
    """
    if not find_spec("pyspark"):
        raise UsageError("Spark needs more packages", remedy="run `pip install 'mcloud[spark]'`")
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.appName("mcloud backfill").master(master)
    settings = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "ERROR",
        "spark.task.maxFailures": "8",
    }
    if master.startswith("local"):
        # Executors on this machine import the same mcloud.
        settings["spark.executorEnv.PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        settings["spark.driver.bindAddress"] = "127.0.0.1"
        settings["spark.driver.host"] = "127.0.0.1"
    for name, value in settings.items():
        builder = builder.config(name, value)
    try:
        return builder.getOrCreate()
    except (PySparkException, OSError) as error:
        raise _not_started(error) from None


class SparkEngine:
    """Loads files on the executors of a cluster; a ``run.Engine``.

    Args:
        master: cluster, such as ``local[*]`` or ``spark://HOST:7077``.
        library: the place of the files, as in ``open_library``.
        resources: resources of each site, by name.
    """

    def __init__(self, master: str, library: str, resources: Mapping[str, Resources]) -> None:
        self._master = master
        self._library = library
        self._resources = dict(resources)

    def __call__(self, found: Sequence[FoundDump]) -> Iterator[LoadedFile]:
        """Yield the outcome of each file.

        Raises:
            UsageError: PySpark is not installed, or the executors lack something.
            Unavailable: the cluster cannot be reached, or an executor could not load a file.
        """
        with open_spark(self._master) as session:
            for begin in range(0, len(found), WAVE):
                yield from self._load(session, found[begin : begin + WAVE])

    def _load(self, session: "SparkSession", found: Sequence[FoundDump]) -> Iterator[LoadedFile]:
        from pyspark.errors import PySparkException

        rows = [(pickle.dumps(each),) for each in found]
        files = session.createDataFrame(rows, SCHEMA).repartition(len(rows))
        library, resources = self._library, self._resources

        def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            return load_batches(batches, library, resources)

        try:
            outcomes = files.mapInArrow(work, SCHEMA).collect()
        except PySparkException as error:
            raise _explained(error) from None
        for row in outcomes:
            done = pickle.loads(row.content)
            if isinstance(done, McloudError):
                raise done
            yield done


def load_batches(
    batches: Iterator[pa.RecordBatch], library: str, resources: Mapping[str, Resources]
) -> Iterator[pa.RecordBatch]:
    """Load the files of a task. This runs on an executor."""
    outcome: LoadedFile | McloudError
    with tempfile.TemporaryDirectory() as folder, closing(Workers(WRITES)) as writers:
        for batch in batches:
            for packed in batch.column(0).to_pylist():
                try:
                    # A folder of the driver may be missing here.
                    place = open_library(library)
                    sites = {name: open_site(name, each) for name, each in resources.items()}
                    loader = FileLoader(place, sites, Path(folder), writers)
                    outcome = loader.load(pickle.loads(packed))
                except McloudError as error:
                    outcome = Unavailable(f"an executor: {error.message}", remedy=error.remedy)
                yield pa.RecordBatch.from_pydict({"content": [pickle.dumps(outcome)]})


def _not_started(error: Exception) -> McloudError:
    if "JAVA_GATEWAY_EXITED" in str(error):
        return Unavailable(
            "Spark does not start: Java does not run", remedy="install Java 17 or later"
        )
    first = str(error).strip().partition("\n")[0]
    return Unavailable(f"Spark does not start: {first:.300}", remedy="check --master")


def _explained(error: Exception) -> McloudError:
    """Return what an error of Spark means for its user."""
    said = str(error)
    if "PYTHON_VERSION_MISMATCH" in said:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        return UsageError(
            f"the executors have another Python than this machine, which has {version}",
            remedy="set PYSPARK_PYTHON on the executors to the same version",
        )
    if "ModuleNotFoundError" in said:
        return UsageError(
            "the executors do not have mcloud or its extra `bulk`",
            remedy="install mcloud[bulk] in their Python environment",
        )
    first = next((line for line in said.splitlines() if line.strip()), "no reason")
    return Unavailable(f"Spark could not load the files: {first.strip():.300}")
