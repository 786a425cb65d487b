"""The command line on machines with other settings than ours."""

import errno
import json
import os
import re
from dataclasses import asdict, fields
from pathlib import Path

import pytest

from mcloud.clouds.resources import AwsResources
from mcloud.outputs import Outputs
from mcloud.sites.resources import FRESH

from .conftest import Terminal


def test_characters_outside_the_encoding_cause_no_error(mcloud: Terminal) -> None:
    logs = mcloud.folder / "state" / "local" / "logs"
    logs.mkdir(parents=True)
    for name in ("aws", "gcp"):
        (logs / f"{name}.log").write_text("→ 1\n", encoding="utf-8")
    done = mcloud.run("local", "logs", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["?? aws", "? 1", "?? gcp", "? 1"]


def test_deprecation_warnings_are_not_shown(mcloud: Terminal) -> None:
    (mcloud.folder / "sitecustomize.py").write_text(
        "import sys, mcloud.cli\n"
        "class Warns:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'mcloud.cli.app':\n"
        "            import warnings; warnings.warn('old', DeprecationWarning)\n"
        "sys.meta_path.insert(0, Warns())\n"
    )
    paths = f"{mcloud.folder}:{mcloud.environment['PYTHONPATH']}"
    done = mcloud.run("--version", PYTHONPATH=paths, PYTHONWARNINGS="error")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", ["status", "candles", "verify", "produce --source simulate"])
def test_no_library_prints_warnings_in_2028(mcloud_up: Terminal, command: str) -> None:
    """In 2028, Google's libraries no longer support today's Python versions."""
    (mcloud_up.folder / "sitecustomize.py").write_text(
        "import datetime\n"
        "class Date(datetime.date):\n"
        "    @classmethod\n"
        "    def today(cls): return cls(2028, 12, 1)\n"
        "datetime.date = Date\n"
    )
    more = ("--count", "1") if command.startswith("produce") else ()
    paths = f"{mcloud_up.folder}:{mcloud_up.environment['PYTHONPATH']}"
    done = mcloud_up.run(*command.split(), *more, "--quiet", PYTHONPATH=paths)
    assert "Warning" not in done.stderr
    assert "Python" not in done.stderr
    assert len(done.stderr.splitlines()) <= 1


def test_logs_and_warnings_of_libraries_are_not_shown(mcloud: Terminal) -> None:
    (mcloud.folder / "sitecustomize.py").write_text(
        "import sys, mcloud.cli\n"
        "class Speaks:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'mcloud.config':\n"
        "            import logging, warnings\n"
        "            warnings.simplefilter('always')\n"
        "            warnings.warn('end of support')\n"
        "            logging.getLogger('library').warning('connection pool is full')\n"
        "sys.meta_path.insert(0, Speaks())\n"
    )
    paths = f"{mcloud.folder}:{mcloud.environment['PYTHONPATH']}"
    done = mcloud.run("config", "show", PYTHONPATH=paths)
    assert (done.returncode, done.stderr) == (0, "")


def test_old_outputs_are_used_with_a_warning_if_the_state_cannot_be_read(mcloud: Terminal) -> None:
    (mcloud.folder / "mcloud.toml").write_text(
        '[profiles.prod.sites.aws]\ncloud = "aws"\n'
        '[profiles.prod.sites.aws.backend]\ntype = "s3"\nbucket = "states"\n'
    )
    values = {field.name: f"its {field.name}" for field in fields(AwsResources)}
    outputs = Outputs(mcloud.folder / "state" / "outputs" / "prod")
    place = "s3://states/mcloud/prod/mcloud/aws.tfstate"

    def warnings_after(seconds: float, *arguments: str) -> list[str]:
        made = outputs.write_remote("aws", values, place)
        copy = outputs.folder / "aws.remote.json"
        copy.write_text(json.dumps({**asdict(made), "at": made.at - seconds}))
        done = mcloud.run(*arguments, "-o", "json", "--profile", "prod", MCLOUD_TERRAFORM="missing")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == {"aws": values}
        return [line for line in done.stderr.splitlines() if line.startswith("warning: ")]

    assert warnings_after(FRESH - 60, "outputs") == []
    assert warnings_after(2 * FRESH, "outputs", "--quiet") == [
        "warning: aws: uses the outputs read 2 h 00 min ago:"
        " the Terraform binary 'missing' does not exist"
    ]


@pytest.mark.parametrize(
    "arguments", [("local", "up"), ("produce", "--detach"), ("guard", "run", "--detach")]
)
def test_a_folder_that_cannot_be_written_is_reported(
    mcloud: Terminal, arguments: tuple[str, ...]
) -> None:
    (mcloud.folder / "state").write_text("a file where the folder would be")
    done = mcloud.run(*arguments)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {mcloud.folder}/state")
    assert "fault in mcloud" not in line


@pytest.mark.parametrize("stream", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_command_runs_with_closed_streams(mcloud: Terminal, stream: str) -> None:
    mcloud.program = ["sh", "-c", f'exec "$@" {stream}', "sh", *mcloud.program]
    assert mcloud.run("ps").returncode == 0
    assert mcloud.run("no-such-command").returncode == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("arguments", ["--version", "ps --help", "ps -o json"])
def test_output_to_a_full_disk_fails_with_one_line(mcloud: Terminal, arguments: str) -> None:
    mcloud.program = ["sh", "-c", 'exec "$@" >/dev/full', "sh", *mcloud.program]
    done = mcloud.run(*arguments.split())
    assert done.returncode == 1
    assert re.fullmatch("error: .*No space left on device.*\n", done.stderr)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_messages_to_a_full_disk_do_not_fail_a_command(mcloud: Terminal) -> None:
    mcloud.program = ["sh", "-c", 'exec "$@" 2>/dev/full', "sh", *mcloud.program]
    assert mcloud.run("stop").returncode == 0
    assert mcloud.run("local", "down").returncode == 0


COMMANDS = (
    *("ps", "config show", "init --yes", "local up", "produce --source simulate", "doctor"),
    *("guard run --detach", "plan"),
)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_working_folder_that_was_deleted_is_reported(mcloud: Terminal, command: str) -> None:
    gone = mcloud.folder / "gone"
    gone.mkdir()
    mcloud.folder = gone
    mcloud.program = ["sh", "-c", 'rmdir "$PWD"; exec "$@"', "sh", *mcloud.program]
    done = mcloud.run(*command.split())
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: the working folder cannot be found: No such file or directory; "
        "it may have been deleted; change to another folder with `cd`\n"
    )


LOCKING = (
    *("ps", "stop", "local up", "local down", "plan aws --profile prod", "guard run"),
    *("produce --source simulate", "replicate --once", "alerts watch"),
)


@pytest.mark.parametrize(
    ("command", "number"),
    [
        *((command, errno.ENOLCK) for command in LOCKING),
        *(("ps", each) for each in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EIO)),
    ],
)
def test_a_file_system_without_locks_is_reported(
    mcloud: Terminal, command: str, number: int
) -> None:
    """An example is NFS without its lock service."""
    for kind in ("producers", "replicators", "guards", "alerts"):
        (mcloud.folder / "state" / kind / "default").mkdir(parents=True)
        (mcloud.folder / "state" / kind / "default" / "lock").touch()
    (mcloud.folder / "state" / "local").mkdir()
    (mcloud.folder / "state" / "local" / "lock").touch()
    (mcloud.folder / "mcloud.toml").write_text('[profiles.prod.sites.aws]\ncloud = "aws"\n')
    (mcloud.folder / "sitecustomize.py").write_text(
        "import fcntl\n"
        "def refuse(*_):\n"
        f"    raise OSError({number}, {os.strerror(number)!r})\n"
        "fcntl.flock = refuse\n"
    )
    paths = f"{mcloud.folder}:{mcloud.environment['PYTHONPATH']}"
    done = mcloud.run(*command.split(), PYTHONPATH=paths)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(
        rf"error: (aws: )?the file system cannot lock {mcloud.folder}/state/\S+lock: "
        rf"{os.strerror(number)}; keep .mcloud on a local disk: MCLOUD_STATE moves it",
        done.stderr.splitlines()[-1],
    )
    assert "fault in mcloud" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("strict", ["", "utf-8:strict"])
def test_a_folder_name_that_is_not_utf_8_can_be_used(mcloud: Terminal, strict: str) -> None:
    folder = os.fsencode(mcloud.folder) + b"/caf\xe9"
    os.mkdir(folder)
    mcloud.folder = Path(os.fsdecode(folder))
    mcloud.environment.pop("MCLOUD_STATE")
    for command in ("init --yes --sites aws --aws-region us-east-1", "config show", "ps"):
        done = mcloud.run(*command.split(), PYTHONIOENCODING=strict)
        assert done.returncode == 0, done.stderr
        assert "error" not in done.stderr
    (mcloud.folder / "mcloud.toml").write_text("wrong = 1")
    done = mcloud.run("config", "show", PYTHONIOENCODING=strict)
    assert done.returncode == 2
    assert re.fullmatch(r"error: .*/caf.*/mcloud.toml:1: unknown key .*\n", done.stderr)
