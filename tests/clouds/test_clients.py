"""What our clients do otherwise than those that the SDKs make, for speed."""

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from botocore.utils import parse_timestamp
from hypothesis import given
from hypothesis import strategies as st

from mcloud.clouds.aws.client import make_client, moment
from mcloud.clouds.gcp.client import make_storage

MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))


@given(MOMENTS)
def test_a_time_is_read_as_botocore_reads_it(at: datetime) -> None:
    whole = at.replace(microsecond=0)
    for text in (
        f"{at:%Y-%m-%dT%H:%M:%S.%f}Z",
        f"{whole:%Y-%m-%dT%H:%M:%S}Z",
        format_datetime(whole, usegmt=True),
        str(int(whole.timestamp())),
    ):
        assert moment(text) == parse_timestamp(text)
    assert moment(at.timestamp()) == parse_timestamp(at.timestamp())


@pytest.mark.parametrize("text", ["20240808T235400Z", "2024-08-08T23:54:00+02:00", "8 Aug 2024"])
def test_any_other_way_is_left_to_botocore(text: str) -> None:
    assert moment(text) == parse_timestamp(text)


@pytest.mark.parametrize("text", ["soonZ", "never GMT", ""])
def test_what_is_no_time_is_refused_as_by_botocore(text: str) -> None:
    with pytest.raises(ValueError, match="Invalid timestamp"):
        moment(text)


def test_times_in_answers_are_read_by_it() -> None:
    client = make_client("s3", "eu-west-1", "http://127.0.0.1:1")
    parser = client._endpoint._response_parser_factory.create_parser("rest-xml")
    assert parser._timestamp_parser is moment


def test_proxies_of_cloud_storage_are_those_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:3128")
    session = make_storage("project", "http://storage.test:80")._http
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    request = session.merge_environment_settings("http://storage.test:80/b", {}, None, None, None)
    assert request["proxies"]["http"] == "http://127.0.0.1:3128"
    monkeypatch.setenv("no_proxy", "storage.test")
    assert not make_storage("project", "http://storage.test:80")._http.proxies.get("http")
