"""The ``mcloud.toml`` that ``mcloud init`` writes."""

import json
import re
from dataclasses import dataclass

from mcloud.clouds.resources import Cloud
from mcloud.config import LOCAL, REGIONS
from mcloud.config.schema import STACK
from mcloud.config.settings import NAME
from mcloud.errors import UsageError

PATTERNS = {
    "profile": (NAME, "letters, digits, - and _"),
    "aws_region": (re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]"), "a region such as us-east-1"),
    "gcp_region": (re.compile(r"[a-z]+-[a-z]+[0-9]+"), "a region such as us-central1"),
    "gcp_project": (
        re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]"),
        "a project's id, without a domain: 6 to 30 lower-case letters, digits and hyphens",
    ),
    "name": (STACK, "4 to 18 lower-case letters, digits and hyphens, a letter first"),
    "alert_email": (re.compile(r"[^@\s]+@[^@\s]+"), "an address such as desk@example.com"),
    "budget": (re.compile(r"[1-9][0-9]*"), "whole US dollars per month, such as 100"),
}
"""Pattern of each answer, as in the variables of the modules, with a description for messages."""


@dataclass(frozen=True)
class Answers:
    """Answers that match their patterns. An empty one is unknown."""

    profile: str = "prod"
    sites: tuple[Cloud, ...] = ("aws",)
    """The site ``gcp`` needs a project."""
    aws_region: str = REGIONS["aws"]
    gcp_region: str = REGIONS["gcp"]
    gcp_project: str = ""
    name: str = ""
    alert_email: str = ""
    budget: str = ""


def check(answer: str, value: str) -> str:
    """Return the value if it matches the pattern of the answer. Raise UsageError if it does not."""
    pattern, form = PATTERNS[answer]
    if not (pattern.fullmatch(value) and value.isprintable()):
        raise UsageError(f"invalid {answer.replace('_', ' ')} {value!r}; use {form}")
    if answer == "profile" and value == LOCAL:
        raise UsageError(f"the profile {LOCAL!r} is built in; use another name")
    return value


def render(answers: Answers) -> str:
    """Return the content of the file. Missing settings are included as comments."""
    said = answers
    blocks = {"aws": _aws(said), "gcp": _gcp(said)}
    return _head(said) + "".join(
        block if site in said.sites else _left_out(site, block) for site, block in blocks.items()
    )


def _head(said: Answers) -> str:
    return f"""\
# Settings of mcloud. Environment variables and .env override this file:
# `mcloud config show` shows each effective value and its source.

# Default profile. "local" is built in: both clouds on this machine.
profile = "{said.profile}"
"""


def _aws(said: Answers) -> str:
    site = f"profiles.{said.profile}.sites.aws"
    return f"""
[{site}]
cloud = "aws"
region = "{said.aws_region}"
# Prefix of all resource names. A second stack in the same account needs another prefix.
{_line("name", said.name, "mcloud")}

# Variables of the Terraform module terraform/aws. Every variable can be set here.
[{site}.variables]
# Address for alerts. AWS sends nothing before you have confirmed it by e-mail.
{_line("alert_email", said.alert_email, "desk@example.com")}
# Monthly budget of the whole account, in USD.
{_number("monthly_budget", said.budget)}
# Reserve a part of the account's concurrency for mcloud's functions. AWS refuses this in a new
# account, whose limit is 10 concurrent executions.
# reserve_concurrency = false
# Protect the data stores from deletion. `mcloud destroy` switches it off after a confirmation.
# deletion_protection = true

# By default, Terraform's state is in .mcloud/ on this machine. Teams should use a bucket:
# [{site}.backend]
# type = "s3"
# bucket = "my-terraform-state"
# region = "{said.aws_region}"
"""


def _gcp(said: Answers) -> str:
    site = f"profiles.{said.profile}.sites.gcp"
    return f"""
[{site}]
cloud = "gcp"
project = "{said.gcp_project or "my-project"}"
region = "{said.gcp_region}"
# Prefix of all resource names. A second stack in the same project needs another prefix.
{_line("name", said.name, "mcloud")}

# Variables of the Terraform module terraform/gcp. Every variable can be set here.
[{site}.variables]
# Address for alerts.
{_line("alert_email", said.alert_email, "desk@example.com")}
# Monthly budget of the whole project, in the currency of the billing account (required for it).
{_number("monthly_budget", said.budget)}
# billing_account = "012345-6789AB-CDEF01"
# Protect the data stores from deletion. `mcloud destroy` switches it off after a confirmation.
# deletion_protection = true

# By default, Terraform's state is in .mcloud/ on this machine. Teams should use a bucket:
# [{site}.backend]
# type = "gcs"
# bucket = "my-terraform-state"
"""


def _line(key: str, value: str, example: str) -> str:
    text = f"{key} = {json.dumps(value or example, ensure_ascii=False)}"
    return text if value else f"# {text}"


def _number(key: str, value: str) -> str:
    return f"{key} = {value}" if value else f"# {key} = 100"


def _left_out(site: str, block: str) -> str:
    lines = [
        line if not line or line.startswith("#") else f"# {line}" for line in block.splitlines()
    ]
    return "\n".join(
        ["", f"# The site {site} is disabled; uncomment these lines to enable it.", *lines[1:], ""]
    )
