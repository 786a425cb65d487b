"""The alert policies of a stack on Google Cloud."""

import pytest

from mcloud.clouds.gcp.alert_policies import metric_conditions
from mcloud.errors import Refused

from .web import Answer, anonymous, google_error, serve


def test_conditions_on_metrics_are_counted_on_all_pages() -> None:
    asked = []

    def answer(method: str, path: str) -> Answer:
        asked.append(path)
        if "pageToken" in path:
            return 200, {
                "alertPolicies": [{"conditions": [{"conditionPrometheusQueryLanguage": {}}]}]
            }
        policies = [
            {"conditions": [{"conditionThreshold": {}}, {"conditionThreshold": {}}]},
            {"conditions": [{"conditionMatchedLog": {}}]},
        ]
        return 200, {"alertPolicies": policies, "nextPageToken": "more"}

    with serve(answer) as url:
        assert metric_conditions(anonymous(), "desk", "mcloud", url) == 3
    assert len(asked) == 2
    assert all('user_labels.stack="mcloud"' in path.replace("+", " ") for path in asked)


def test_a_refusal_names_cloud_monitoring() -> None:
    with (
        serve(lambda method, path: google_error(403, "no")) as url,
        pytest.raises(Refused, match="Cloud Monitoring: no"),
    ):
        metric_conditions(anonymous(), "desk", "mcloud", url)
