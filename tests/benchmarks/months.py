"""Made CSV files of a busy symbol, in the form of Binance's spot trades."""

import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

FIRST_ID, START = 3735683259, 1722470400000  # 2024-08-01
MONTH = 31 * 24 * 3_600_000  # ms
_PART = 500_000  # trades that are made at once


def parts(trades: int, span: int = MONTH, seed: int = 1) -> Iterator[bytes]:
    """Yield the text of a file in parts: a random walk of prices, ``trades`` within ``span`` ms."""
    random = np.random.default_rng(seed)
    price = 6_183_763  # in hundredths
    for first in range(0, trades, _PART):
        count = min(_PART, trades - first)
        number = np.arange(first, first + count)
        prices = price + np.cumsum(random.integers(-3, 4, count))
        price = int(prices[-1])
        lots = random.geometric(0.001, count) * random.choice([1, 10, 100, 1000], count)
        yield _text(
            [
                pa.array(number + FIRST_ID).cast(pa.string()),
                _decimal(prices, 2),
                _decimal(lots, 5),
                _decimal(prices * lots, 7),
                pa.array(START + number * span // trades).cast(pa.string()),
                pc.if_else(pa.array(random.random(count) < 0.5), "True", "False"),
                "True\n",
            ]
        )


def write(path: Path, trades: int, span: int = MONTH) -> Path:
    """Write a file; it is compressed if its name ends with .gz."""
    packer = zlib.compressobj(1, wbits=31) if path.suffix == ".gz" else None
    with path.open("wb") as file:
        for text in parts(trades, span):
            file.write(packer.compress(text) if packer else text)
        file.write(packer.flush() if packer else b"")
    return path


def _decimal(units: "np.ndarray[tuple[int], np.dtype[np.int64]]", places: int) -> pa.Array:
    """Return the texts of numbers with eight digits behind the point."""
    whole, rest = np.divmod(units, 10**places)
    digits = pc.ascii_rpad(pc.ascii_lpad(pa.array(rest).cast(pa.string()), places, "0"), 8, "0")
    return pc.binary_join_element_wise(pa.array(whole).cast(pa.string()), digits, ".")


def _text(columns: list[object]) -> bytes:
    lines = pc.binary_join_element_wise(*columns, ",")
    return b"".join(pa.chunked_array([lines]).combine_chunks().cast(pa.binary()).to_pylist())
