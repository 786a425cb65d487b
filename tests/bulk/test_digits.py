"""A text with anything unusual is left to the general parser."""

import pytest

from mcloud.bulk.digits import usual_rows

ROW = b"3735683259,61837.63000000,0.00299000,184.89000000,1723161255342,True,True\n"


def test_usual_rows() -> None:
    other = b"7,5.1,1234567890.12345678,0.5,1723161255342123,false,x\n"
    rows = usual_rows(ROW + other + ROW, 7, 4)
    assert rows is not None
    assert rows.ids.tolist() == [3735683259, 7, 3735683259]
    assert rows.price.tolist() == [6183763000000, 510000000, 6183763000000]
    assert rows.quantity.tolist() == [299000, 123456789012345678, 299000]
    assert rows.times.tolist() == [1723161255342, 1723161255342123, 1723161255342]
    assert rows.makers.tolist() == [True, False, True]


def test_the_last_line_feed_may_be_missing() -> None:
    whole, cut = usual_rows(ROW * 2, 7, 4), usual_rows((ROW * 2)[:-1], 7, 4)
    assert whole is not None
    assert cut is not None
    assert all((one == other).all() for one, other in zip(whole, cut, strict=True))


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"3735683259", b""),
        (b"3735683259", b"-3735683259"),
        (b"3735683259", b"12345678901234567"),
        (b"3735683259", b"37356832.9"),
        (b"3735683259", b"373568325/"),
        (b"3735683259", b"373568325:"),
        (b"3735683259", b"\xb735683259"),
        (b"61837.63000000", b".63000000"),
        (b"61837.63000000", b"61837."),
        (b"61837.63000000", b"."),
        (b"61837.63000000", b"61837"),
        (b"61837.63000000", b"61837.63.00000"),
        (b"61837.63000000", b"61837.630000001"),
        (b"61837.63000000", b"12345678901.6"),
        (b"61837.63000000", b"6E4.0"),
        (b"61837.63000000", b"6.1E4"),
        (b"0.00299000,", b"0.00299000"),
        (b"0.00299000,", b"0.00299000,,"),
        (b"0.00299000,184.89", b"000299000,184.8.9"),
        (b"0.00299000,", b"0.00299000\n"),
        (b"1723161255342", b" 1723161255342"),
        (b"1723161255342", b"1723161255342 "),
        (b"1723161255342", b""),
        (b"True,True", b"TRUE,True"),
        (b"True,True", b"Trues,True"),
        (b"True,True", b"Tru,True"),
        (b"True,True", b",True"),
        (b"True,True", b"Falsee,True"),
        (b"True,True", b"True"),
        (b"True,True", b"True,True\r"),
        (b"True,True", b"True,True\0"),
        (b"True,True", b"True,True\n"),
        (b"True,True", b"True,Tr.ue"),
    ],
)
def test_unusual_rows(old: bytes, new: bytes, at: int) -> None:
    rows = [ROW] * 3
    rows[at] = ROW.replace(old, new)
    assert rows[at] != ROW
    assert usual_rows(b"".join(rows), 7, 4) is None


def test_rows_of_another_file() -> None:
    assert usual_rows(b"", 7, 4) is None
    assert usual_rows(b"\n", 7, 4) is None
    assert usual_rows(ROW, 6, 4) is None
    assert usual_rows(ROW, 8, 5) is None
    assert usual_rows(ROW[5:] * 7, 6, 4) is None
