"""Errors of the real AWS provider and Terraform. Nothing leaves this machine."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cli.conftest import Terminal

from mcloud.infra.state_errors import AGAIN

from .module import provider_mirror, terraform

NOWHERE = "http://127.0.0.1:9"  # the discard port, on which nothing listens


@pytest.fixture
def site(tmp_path: Path) -> Terminal:
    terraform()
    terminal = Terminal(tmp_path, tmp_path / "state")
    (tmp_path / "mcloud.toml").write_text('[profiles.prod.sites.aws]\ncloud = "aws"\n')
    (tmp_path / "empty.tfrc").touch()
    terminal.environment |= {
        "MCLOUD_PROFILE": "prod",
        "HOME": str(tmp_path),
        "TF_CLI_CONFIG_FILE": str(tmp_path / "empty.tfrc"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "HTTPS_PROXY": NOWHERE,
        "NO_PROXY": "127.0.0.1",
    }
    terminal.environment.pop("TF_PLUGIN_DIR", None)
    return terminal


class Sts(BaseHTTPRequestHandler):
    """Refuses all requests with the code of its server."""

    def do_POST(self) -> None:
        code = self.server.code  # type: ignore[attr-defined]
        body = (
            '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error>'
            f"<Type>Sender</Type><Code>{code}</Code><Message>as it is</Message>"
            "</Error><RequestId>1</RequestId></ErrorResponse>"
        ).encode()
        self.send_response(403)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def sts() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Sts)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_missing_credentials_are_explained(site: Terminal) -> None:
    site.environment["TF_PLUGIN_DIR"] = provider_mirror()
    failed = site.run("plan")
    assert failed.returncode == 1
    assert failed.stderr == (
        "error: aws: there are no AWS credentials; run `aws configure sso`, or set AWS_PROFILE,"
        f" then {AGAIN}\n"
    )


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "ExpiredToken",
            "the AWS credentials have expired; sign in again, for example with `aws sso login`,"
            " then run the same command again",
        ),
        (
            "InvalidClientTokenId",
            "AWS does not recognise these credentials;"
            " check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
        ),
    ],
)
def test_refused_credentials_are_explained(
    site: Terminal, sts: ThreadingHTTPServer, code: str, message: str
) -> None:
    sts.code = code  # type: ignore[attr-defined]
    site.environment |= {
        "TF_PLUGIN_DIR": provider_mirror(),
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{sts.server_port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_SESSION_TOKEN": "old",
    }
    failed = site.run("plan")
    assert failed.returncode == 1
    assert failed.stderr.startswith(f"error: aws: {message}")
    assert failed.stderr.endswith(f"{AGAIN}\n")
    assert len(failed.stderr.splitlines()) == 1


def test_a_provider_that_cannot_be_fetched(site: Terminal) -> None:
    failed = site.run("plan")
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: aws: a provider cannot be fetched: ")
    assert failed.stderr.endswith(
        "; connect to the registry, or name a local mirror:"
        " `plugin_dir` in [terraform] of mcloud.toml, or TF_PLUGIN_DIR\n"
    )
    (site.folder / "mirror").mkdir()
    site.environment["TF_PLUGIN_DIR"] = str(site.folder / "mirror")
    empty = site.run("plan")
    assert "a provider cannot be fetched: " in empty.stderr


def test_a_missing_terraform_binary_is_reported(site: Terminal) -> None:
    failed = site.run("deploy", "--yes", MCLOUD_TERRAFORM="no-such-terraform")
    assert failed.returncode == 1
    assert failed.stderr == (
        "error: aws: the Terraform binary 'no-such-terraform' does not exist; correct"
        " MCLOUD_TERRAFORM, or `binary` in [terraform] of mcloud.toml\n"
    )
    assert failed.stdout == "aws: failed, with nothing changed\n"
