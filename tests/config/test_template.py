"""``mcloud init`` writes the given settings, and proposes only valid ones."""

import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcloud import config
from mcloud.config.template import PATTERNS, Answers, check, render
from mcloud.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]


def read(text: str) -> config.Config:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / config.FILE).write_text(text, encoding="utf-8")
        return config.load(None, Path(folder), {})


def texts(answer: str) -> st.SearchStrategy[str]:
    return st.from_regex(PATTERNS[answer][0], fullmatch=True).filter(str.isprintable)


SAID = {answer: texts(answer) for answer in PATTERNS}


@st.composite
def answers(draw: st.DrawFn) -> Answers:
    sites = draw(st.sampled_from([("aws",), ("gcp",), ("aws", "gcp")]))
    project = SAID["gcp_project"]
    return Answers(
        profile=draw(SAID["profile"].filter(lambda name: name != config.LOCAL)),
        sites=sites,
        aws_region=draw(SAID["aws_region"]),
        gcp_region=draw(SAID["gcp_region"]),
        gcp_project=draw(project if "gcp" in sites else project | st.just("")),
        name=draw(SAID["name"] | st.just("")),
        alert_email=draw(SAID["alert_email"] | st.just("")),
        budget=draw(SAID["budget"] | st.just("")),
    )


@settings(max_examples=60, deadline=None)
@given(answers())
def test_the_file_contains_the_answers(said: Answers) -> None:
    found = read(render(said))
    variables: dict[str, object] = {}
    if said.alert_email:
        variables["alert_email"] = said.alert_email
    if said.budget:
        variables["monthly_budget"] = int(said.budget)
    settings = {
        "aws": {"region": said.aws_region},
        "gcp": {"region": said.gcp_region, "project": said.gcp_project},
    }
    assert found.profile == said.profile
    assert found.sites == {
        site: config.SiteConfig(site, site, settings[site], said.name or "mcloud", variables, {})
        for site in said.sites
    }


@pytest.mark.parametrize("sites", [("aws",), ("gcp",), ("aws", "gcp")])
def test_the_proposed_lines_are_valid_when_uncommented(sites: tuple[str, ...]) -> None:
    text = render(Answers(sites=sites, gcp_project="my-project"))
    found = read(re.sub(r"(?m)^# (?=\[|[a-z_]+ = )", "", text))
    assert list(found.sites) == ["aws", "gcp"]
    for name, site in found.sites.items():
        module = (ROOT / "terraform" / name / "variables.tf").read_text()
        declared = set(re.findall(r'variable "(\w+)"', module))
        assert {"alert_email", "monthly_budget", "deletion_protection"} <= set(site.variables)
        assert set(site.variables) <= declared
        assert site.stack == "mcloud"
    assert found.sites["aws"].backend["type"] == "s3"
    assert found.sites["gcp"].backend["type"] == "gcs"


@pytest.mark.parametrize(
    ("answer", "modules"),
    [
        ("aws_region", ["aws"]),
        ("gcp_region", ["gcp"]),
        ("gcp_project", ["gcp"]),
        ("name", ["aws", "gcp"]),
        ("alert_email", ["aws", "gcp"]),
    ],
)
def test_answers_follow_the_patterns_of_the_modules(answer: str, modules: list[str]) -> None:
    pattern = PATTERNS[answer][0].pattern.replace("\\", "\\\\")
    for module in modules:
        variables = (ROOT / "terraform" / module / "variables.tf").read_text()
        assert f'regex("^{pattern}$"' in variables


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("profile", "a b"),
        ("profile", "local"),
        ("aws_region", "us-central1"),
        ("gcp_region", "us-east-1"),
        ("gcp_project", "My Project"),
        ("gcp_project", "123456789012"),
        ("name", "abc"),
        ("alert_email", "desk"),
        ("alert_email", "desk\x7f@example.com"),
        ("budget", "0"),
        ("budget", "1.5"),
        ("budget", ""),
    ],
)
def test_an_invalid_answer_is_refused(answer: str, value: str) -> None:
    with pytest.raises(UsageError):
        check(answer, value)
