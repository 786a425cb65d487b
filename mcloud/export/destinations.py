"""The places that files are written to: a folder, or a bucket of either cloud."""

import os
from pathlib import Path
from typing import Literal, get_args

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from pyarrow.fs import FileSystem, LocalFileSystem

from mcloud import files
from mcloud.errors import McloudError, Unavailable, UsageError
from mcloud.export.partitions import Partition
from mcloud.export.tables import with_texts

FileFormat = Literal["parquet", "csv"]
FORMATS: tuple[FileFormat, ...] = get_args(FileFormat)


class Destination:
    """Writes one file for each partition, and replaces one that exists.

    Args:
        where: a folder, or an ``s3://`` or ``gs://`` URL. A URL may have the parameters of
            ``pyarrow.fs.FileSystem.from_uri``, such as ``region``.

    Raises:
        UsageError: the URL cannot be opened, or ``where`` is empty.
    """

    def __init__(self, where: str, format_: FileFormat) -> None:
        if not where:
            raise UsageError("--out is empty", remedy="use a folder, s3 or gs")
        self._format = format_
        scheme, separator, _ = where.partition("://")
        self.name = where.partition("?")[0].rstrip("/")
        if not separator:
            self._files: FileSystem = LocalFileSystem()
            self._root = str(Path(where).expanduser().absolute())
        elif scheme in ("s3", "gs"):
            try:
                self._files, self._root = FileSystem.from_uri(where)
            except (ValueError, OSError) as error:
                raise UsageError(f"--out: {self.name} cannot be opened: {error}") from None
        else:
            raise UsageError(f"--out cannot write {scheme}://", remedy="use a folder, s3 or gs")

    def write(self, partition: Partition) -> str:
        """Write a partition, and return the path of its file.

        Raises:
            McloudError: the file cannot be written.
        """
        folder = f"{self._root}/{partition.folder}"
        path = f"{folder}/data.{self._format}"
        # A reader never sees a part of a file: an upload shows its object at its end.
        fresh = f"{folder}/.data.{os.getpid()}" if self._is_local else path
        try:
            if self._is_local:
                self._files.create_dir(folder)
            with self._files.open_output_stream(fresh) as file:
                self._put(partition.table, file)
            if self._is_local:
                os.replace(fresh, path)
        except OSError as error:
            if self._is_local:
                Path(fresh).unlink(missing_ok=True)
                raise files.refusal(error) or McloudError(
                    f"{path} cannot be written: {error.strerror or error}", remedy="check --out"
                ) from None
            raise Unavailable(
                f"{self.name} cannot be written: {error}", remedy="check its credentials and region"
            ) from None
        return path

    @property
    def _is_local(self) -> bool:
        return isinstance(self._files, LocalFileSystem)

    def _put(self, table: pa.Table, file: pa.NativeFile) -> None:
        if self._format == "parquet":
            pyarrow.parquet.write_table(table, file, compression="zstd")
        else:
            options = pyarrow.csv.WriteOptions(quoting_style="none")
            pyarrow.csv.write_csv(with_texts(table), file, options)
