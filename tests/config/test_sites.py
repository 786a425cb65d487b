"""Settings of a site's stack: its name, the variables of the module, and the state."""

import re
from pathlib import Path

import pytest

from mcloud import config

from .test_config import SITE, load, wrong

ROOT = Path(__file__).resolve().parents[2]
HERE = "profiles.prod.sites.aws"


def sites(folder: Path, text: str) -> dict[str, config.SiteConfig]:
    return load(folder, text, "prod").sites


def test_all_settings_of_a_stack(tmp_path: Path) -> None:
    text = f"""{SITE}name = "desk-7"
region = "eu-west-1"

[{HERE}.variables]
alert_email = "desk@example.com"
monthly_budget = 99.5
deletion_protection = false
function_timeout = 30
trusted_principals = ["arn:aws:iam::123456789012:root"]
tags = {{ team = "desk" }}

[{HERE}.backend]
type = "s3"
bucket = "states"
encrypt = true
"""
    assert sites(tmp_path, text) == {
        "aws": config.SiteConfig(
            name="aws",
            cloud="aws",
            settings={"region": "eu-west-1"},
            stack="desk-7",
            variables={
                "alert_email": "desk@example.com",
                "monthly_budget": 99.5,
                "deletion_protection": False,
                "function_timeout": 30,
                "trusted_principals": ["arn:aws:iam::123456789012:root"],
                "tags": {"team": "desk"},
            },
            backend={"type": "s3", "bucket": "states", "encrypt": True},
        )
    }


@pytest.mark.parametrize(
    ("site", "cloud", "stack"),
    [
        ("aws", "aws", "mcloud"),
        ("gcp", "gcp", "mcloud"),
        ("gcp", "aws", "mcloud-gcp"),
        ("aws-west", "aws", "mcloud-aws-west"),
        ("a2345678901", "aws", "mcloud-a2345678901"),
    ],
)
def test_a_stack_gets_its_name_from_its_site(
    tmp_path: Path, site: str, cloud: str, stack: str
) -> None:
    text = f'[profiles.prod.sites.{site}]\ncloud = "{cloud}"\n'
    assert sites(tmp_path, text)[site].stack == stack


@pytest.mark.parametrize("site", ["a23456789012", "aws_west", "West", "west-"])
def test_a_site_whose_name_makes_no_stack_name_needs_one(tmp_path: Path, site: str) -> None:
    text = f'[profiles.prod.sites.{site}]\ncloud = "aws"\n'
    said = wrong(tmp_path, text)
    assert said.startswith(f"1: a stack cannot be called 'mcloud-{site}': give a name of 4 to 18")
    assert said.endswith(f'such as name = "mcloud-2" in [profiles.prod.sites.{site}]')
    assert sites(tmp_path, text + 'name = "mcloud-2"\n')[site].stack == "mcloud-2"


@pytest.mark.parametrize("name", ["abc", "a234567890123456789", "Abcd", "1abc", "abc-", "a_bc"])
def test_a_name_that_the_modules_refuse_is_refused_here(tmp_path: Path, name: str) -> None:
    said = wrong(tmp_path, f'{SITE}name = "{name}"\n')
    assert said.startswith(f"3: a stack cannot be called {name!r}")


def test_a_project_of_a_domain_is_refused(tmp_path: Path) -> None:
    """Bucket names contain the id of the project, and no bucket may have a colon in its name."""
    text = '[profiles.prod.sites.gcp]\ncloud = "gcp"\nproject = "example.com:desk"\n'
    assert wrong(tmp_path, text) == (
        "3: the project 'example.com:desk' belongs to a domain, and no bucket can have its id in"
        " the name: use a project without a domain"
    )


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_two_stacks_of_one_cloud_do_not_share_a_name(tmp_path: Path, cloud: str) -> None:
    text = "".join(
        f'[profiles.prod.sites.{site}]\ncloud = "{cloud}"\nname = "mcloud-x"\n' for site in "ab"
    )
    assert wrong(tmp_path, text) == (
        "6: the sites 'a' and 'b' have the same stack name, 'mcloud-x'; "
        "use another name for one of them"
    )


def test_stacks_in_two_projects_may_have_the_same_name(tmp_path: Path) -> None:
    text = "".join(
        f'[profiles.prod.sites.{site}]\ncloud = "gcp"\nproject = "{site}"\nname = "mcloud-x"\n'
        for site in "ab"
    )
    assert {site.stack for site in sites(tmp_path, text).values()} == {"mcloud-x"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("variables = 1\n", f"3: {HERE}.variables must be a table, not 1"),
        ("variables.name = 'x'\n", f"3: name belongs to the site: move it up into [{HERE}]"),
        ("variables.region = 'x'\n", f"3: region belongs to the site: move it up into [{HERE}]"),
        ("variables.bundle = 'x'\n", "3: mcloud builds the bundle and names it itself"),
        (
            "variables.since = 2024-08-08\n",
            f"3: {HERE}.variables.since is not a text, number, boolean, list or table",
        ),
        (
            f"[{HERE}.variables]\na = 1\nb = [{{ c = nan }}]\n",
            f"5: {HERE}.variables.b is not a text, number, boolean, list or table",
        ),
        ("backend = 's3'\n", f"3: {HERE}.backend must be a table, not 's3'"),
        ("backend.bucket = 'x'\n", f'3: [{HERE}.backend] needs type = "s3" or "gcs"'),
        (
            f"[{HERE}.backend]\nbucket = 'x'\ntype = 'azurerm'\n",
            f'5: [{HERE}.backend] needs type = "s3" or "gcs"',
        ),
        ("backend.type = 'gcs'\n", f"3: [{HERE}.backend] needs the bucket of the state"),
        (
            f"[{HERE}.backend]\ntype = 's3'\nbucket = 'x'\nmax_retries = 1.5\n",
            f"6: {HERE}.backend.max_retries must be a text, a number, a boolean or a list of texts,"
            " not 1.5",
        ),
        (
            f"[{HERE}.backend]\ntype = 's3'\nbucket = 'x'\nassume_role = 'arn'\n",
            f"6: {HERE}.backend.assume_role must be a table, not 'arn'",
        ),
        (
            f"[{HERE}.backend]\ntype = 's3'\nbucket = 'x'\n"
            f"[{HERE}.backend.assume_role]\nrole = 'arn'\n",
            f"7: unknown key 'role' in [{HERE}.backend.assume_role]; did you mean 'role_arn'?",
        ),
        (
            f"[{HERE}.backend]\ntype = 's3'\nbucket = 'x'\n"
            f"[{HERE}.backend.assume_role]\nrole_arn = 'terraform-state'\n",
            f"7: [{HERE}.backend.assume_role] needs role_arn, such as"
            ' "arn:aws:iam::123456789012:role/terraform-state"',
        ),
        (
            f"[{HERE}.backend]\ntype = 's3'\nbucket = 'x'\n[{HERE}.backend.assume_role]\n"
            "role_arn = 'arn:aws:iam::123456789012:role/x'\nduration = 60\n",
            f"8: {HERE}.backend.assume_role.duration must be a text, not 60",
        ),
        (
            f"[{HERE}.backend]\ntype = 'gcs'\nbucket = 'x'\nassume_role = {{ a = 'b' }}\n",
            f"6: {HERE}.backend.assume_role must be a text, a number, a boolean or a list of"
            " texts, not {'a': 'b'}",
        ),
    ],
)
def test_an_invalid_setting_is_reported_with_its_line(
    tmp_path: Path, text: str, message: str
) -> None:
    assert wrong(tmp_path, SITE + text) == message


@pytest.mark.parametrize("name", ["a/b", "..", "a b", "", "a.b", "-a"])
def test_a_name_that_is_no_folder_is_refused(tmp_path: Path, name: str) -> None:
    message = f"1: invalid name {name!r}; use letters, digits, - and _"
    assert wrong(tmp_path, f'[profiles.prod.sites."{name}"]\ncloud = "aws"\n') == message
    assert wrong(tmp_path, f'[profiles."{name}".sites.aws]\ncloud = "aws"\n') == message


@pytest.mark.parametrize(
    ("text", "environment", "expected"),
    [
        ("", {}, (None, None)),
        ('binary = "tofu"\nplugin_dir = "/p"\n', {}, ("tofu", "/p")),
        ('binary = "bin/tofu"\nplugin_dir = "p"\n', {}, ("FOLDER/bin/tofu", "FOLDER/p")),
        (
            'binary = "tofu"\nplugin_dir = "/p"\n',
            {"MCLOUD_TERRAFORM": "/usr/local/bin/terraform", "TF_PLUGIN_DIR": "q"},
            ("/usr/local/bin/terraform", "FOLDER/q"),
        ),
        ('binary = "tofu"\n', {"MCLOUD_TERRAFORM": ""}, ("tofu", None)),
        ('binary = "~/tofu"\n', {"TF_PLUGIN_DIR": "~/p"}, ("HOME/tofu", "HOME/p")),
    ],
)
def test_terraform_is_found_from_wherever_it_runs(
    tmp_path: Path, text: str, environment: dict[str, str], expected: tuple[str | None, ...]
) -> None:
    found = load(tmp_path, f"[terraform]\n{text}", **environment).terraform
    places = {"FOLDER": str(tmp_path), "HOME": str(Path.home())}
    assert (found.binary, found.plugin_dir) == tuple(
        each and re.sub("^(FOLDER|HOME)", lambda match: places[match[0]], each) for each in expected
    )


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_the_default_region_is_that_of_the_module(cloud: str) -> None:
    module = (ROOT / "terraform" / cloud / "variables.tf").read_text()
    found = re.search(r'variable "region" \{.*?default\s*=\s*"(.*?)"', module, re.DOTALL)
    assert found is not None
    assert config.REGIONS[cloud] == found[1]
