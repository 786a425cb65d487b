"""Outputs of a site that another machine deployed, read from its remote state.

Terraform reads the state, so that every option of a backend works as in a deployment. It runs in a
folder that contains only the configuration of the backend. It therefore fetches no provider, and
needs only permission to read the state.
"""

import json
import os
import tempfile
from pathlib import Path
from threading import Event

from mcloud.clouds.resources import AwsResources, GcpResources
from mcloud.config import Config, SiteConfig
from mcloud.errors import McloudError
from mcloud.files import make_private
from mcloud.infra.state_errors import BACKEND
from mcloud.infra.terraform import Terraform, check_version, find_binary
from mcloud.infra.workspace import backend_of
from mcloud.outputs import RemoteOutputs


def fetch(config: Config, site: SiteConfig) -> RemoteOutputs | None:
    """Read the outputs of a site from its remote state, and keep a copy on this machine.

    Return None if the state does not exist or holds no resources.

    Raises:
        McloudError: the state cannot be read.
    """
    backend = backend_of(config.profile, site)
    binary = find_binary(config.terraform)
    check_version(binary, site.backend)
    make_private(config.state)
    with tempfile.TemporaryDirectory(prefix="state-", dir=config.state) as name:
        folder = Path(name)
        (folder / BACKEND).write_text(json.dumps(backend))
        terraform = Terraform(folder, binary, environment=dict(os.environ), stop=Event())
        try:
            _connect(terraform, folder)
            state = terraform.pull()
        except McloudError as error:
            raise McloudError(
                f"the state of {site.name} in {place_of(config, site)} cannot be read:"
                f" {error.message}",
                remedy=error.remedy,
            ) from error
    if state is None or not state.addresses:
        return None
    kind = AwsResources if site.cloud == "aws" else GcpResources
    values = kind.from_outputs(dict(state.outputs)).to_outputs()
    return config.outputs.write_remote(site.name, values, place_of(config, site))


def _connect(terraform: Terraform, folder: Path) -> None:
    """Connect the folder to the backend, without the providers of the resources in the state.

    ``terraform init`` would fetch them after it has connected, so it gets an empty folder as its
    mirror and fails there. Reading the state needs no providers.
    """
    (folder / "none").mkdir()
    try:
        terraform.init(str(folder / "none"))
    except McloudError:
        if not (folder / ".terraform" / "terraform.tfstate").exists():
            raise


def place_of(config: Config, site: SiteConfig) -> str:
    """Return the URL of a site's remote state."""
    ((kind, options),) = backend_of(config.profile, site)["terraform"]["backend"].items()
    if kind == "s3":
        return f"s3://{options['bucket']}/{options['key']}"
    return f"gs://{options['bucket']}/{options['prefix']}/default.tfstate"
