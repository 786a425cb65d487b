"""Checks of this machine: tools, disk, embedded clouds, producers, and access to the exchange."""

import os
import platform
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mcloud import processes
from mcloud.clouds.access import FAULT, OK, WARNING, AccessFinding
from mcloud.config import LOCAL, Config
from mcloud.doctor.check import DoctorCheck, Look, from_error, take
from mcloud.errors import McloudError
from mcloud.producer.reported_state import ProducerState
from mcloud.runs import Running

if TYPE_CHECKING:
    from mcloud.feed.binance.endpoints import Endpoints

DEADLINE = 20.0  # seconds
EXCHANGE_TIMEOUT = 8.0  # seconds

# A spool takes up to 1 GiB by default. Below the lower limit, not even logs have room.
ROOM_WARNING, ROOM_FAULT = 2 * 2**30, 64 * 2**20  # bytes
SILENCE = 30.0  # seconds; a producer writes its state every second


def look_at(config: Config, producers: Sequence[Running[ProducerState]]) -> list[DoctorCheck]:
    """Return every check that is not about a site."""
    needs_clouds = config.profile != LOCAL
    looks: dict[str, Look] = {
        "python": lambda: AccessFinding(OK, f"{platform.python_version()} at {sys.executable}"),
        "terraform": partial(_unless, needs_clouds, partial(_terraform, config)),
        "terraform's shell": partial(_unless, needs_clouds, _shell),
        "state folder": partial(_state_folder, config.state),
        "exchange": partial(_unless, needs_clouds, partial(_exchange, config)),
        "trade stream": partial(_unless, needs_clouds, partial(_stream, config)),
    }
    if needs_clouds:
        tools = [tool for tool in ("aws", "gcloud") if shutil.which(tool)]
        looks |= {f"{tool} CLI": partial(_tool, tool) for tool in tools}
    else:
        looks["embedded clouds"] = partial(_embedded, config)
    for each in producers:
        folder = config.state / "producers" / each.name
        looks[f"producer {each.name}"] = partial(_producer, folder, each)
    return take("", looks, DEADLINE)


def _unless(needed: bool, look: Look) -> AccessFinding:
    """Turn a fault into a warning if the profile ``local`` works without it: that profile can
    deploy, replay and simulate without other tools and without the exchange.
    """
    try:
        finding = look()
    except McloudError as error:
        finding = from_error(error)
    if needed or finding.state != FAULT:
        return finding
    return replace(finding, state=WARNING, text=f"{finding.text} (not needed by profile {LOCAL!r})")


def _terraform(config: Config) -> AccessFinding:
    from mcloud.infra import terraform

    binary = terraform.find_binary(config.terraform)
    terraform.check_version(binary, *(site.backend for site in config.sites.values()))
    product, numbers = terraform.version(binary)
    mirror = config.terraform.plugin_dir
    if mirror and not Path(mirror).is_dir():
        return AccessFinding(
            FAULT,
            f"there is no folder {mirror} of providers",
            "correct TF_PLUGIN_DIR, or `plugin_dir` in [terraform] of mcloud.toml",
        )
    return AccessFinding(OK, f"{product} {'.'.join(map(str, numbers))} at {binary}")


def _shell() -> AccessFinding:
    """Report how mcloud treats the Terraform variables of the shell, without their values."""
    from mcloud.infra.environment import DROPPED, PASSED, REFUSED, RULES, SET, found

    variables = list(found(os.environ))
    told = (REFUSED, DROPPED)
    if not variables:
        rules = [
            f"{', '.join(each.pattern for each in RULES if each.treatment is treatment)}"
            f" would be {treatment.value}"
            for treatment in told
        ]
        return AccessFinding(OK, f"no variable of Terraform is set; {'; '.join(rules)}")
    parts = [
        f"{name} is {rule.treatment.value}: {rule.why}"
        for treatment in told
        for name, rule in variables
        if rule.treatment is treatment
    ]
    for treatment in (SET, PASSED):
        names = [name for name, rule in variables if rule.treatment is treatment]
        if names:
            parts.append(f"{treatment.value}: {', '.join(names)}")
    text = "; ".join(parts)
    unwanted = [name for name, rule in variables if rule.treatment in told]
    if not unwanted:
        return AccessFinding(OK, text)
    is_refused = any(rule.treatment is REFUSED for _, rule in variables)
    return AccessFinding(
        FAULT if is_refused else WARNING, text, f"run `unset {' '.join(unwanted)}`"
    )


def _tool(name: str) -> AccessFinding:
    code, printed = processes.ask((name, "--version"), DEADLINE)
    said = printed.strip().partition("\n")[0]
    if code:
        return AccessFinding(
            WARNING, f"does not run: {said}", f"install {name} again; mcloud does not need it"
        )
    return AccessFinding(OK, said.partition(" Python")[0])


def _state_folder(state: Path) -> AccessFinding:
    there = next(each for each in (state, *state.parents) if each.exists())
    try:
        if there != state:
            writable = there.is_dir() and os.access(there, os.W_OK | os.X_OK)
        else:
            with tempfile.TemporaryFile(dir=state) as file:
                file.write(b"mcloud")
                file.flush()
            writable = True
    except OSError:
        writable = False
    free = shutil.disk_usage(there).free
    room = f"{free / 2**30:.1f} GiB free"
    if free < ROOM_FAULT:
        return AccessFinding(FAULT, f"{room} for {state}", "free some space on its disk")
    if not writable:
        return AccessFinding(
            FAULT,
            f"{there} cannot be written to",
            f"run `chmod u+rwx {shlex.quote(str(there))}`, or set MCLOUD_STATE",
        )
    if free < ROOM_WARNING:
        return AccessFinding(WARNING, f"{room} for {state}: spools may fill it", "free some space")
    if there == state and state.stat().st_mode & 0o077:
        return AccessFinding(
            WARNING, f"other users can read {state}", f"run `chmod 700 {shlex.quote(str(state))}`"
        )
    return AccessFinding(OK, f"{state}, {room}")


def _embedded(config: Config) -> AccessFinding:
    from mcloud.local import children
    from mcloud.local.state import Home

    home = Home(config.local)
    if not home.is_up():
        children.check_installed()
    state = home.require_ready()
    silent = [name for name, each in state.services.items() if not children.answers(each.address)]
    if silent:
        return AccessFinding(
            FAULT, f"no answer from {', '.join(silent)}", f"see `mcloud local logs {silent[0]}`"
        )
    if state.lost:
        return AccessFinding(
            WARNING,
            f"up; {', '.join(state.lost)} died and restarted without data",
            "run `mcloud local reset` to start empty",
        )
    return AccessFinding(OK, "up")


def _exchange(config: Config) -> AccessFinding:
    from mcloud import http

    where = _endpoints(config)
    url = where.rest_url
    try:
        answer = http.ask("GET", f"{url}{where.api}/ping", http.EXCHANGE)
    except http.NoAnswer as error:
        return _away(url, error.reason)
    if answer.status != 200 or answer.cut:
        return _away(url, answer.cut or f"HTTP {answer.status}")
    return AccessFinding(OK, f"{where.name} at {url}", seconds=answer.seconds)


def _stream(config: Config) -> AccessFinding:
    from websockets.exceptions import InvalidHandshake, InvalidProxy
    from websockets.sync.client import connect

    from mcloud.feed.binance.connection import LARGEST, QUIET

    # Connect as the producer does: TCP, TLS and the handshake, through the same proxy if there is
    # one.
    url = _endpoints(config).ws_url
    begun = time.monotonic()
    try:
        with connect(
            f"{url}/stream?streams=btcusdt@trade",
            open_timeout=EXCHANGE_TIMEOUT,
            close_timeout=0.1,
            max_size=LARGEST,
            logger=QUIET,
        ):
            seconds = time.monotonic() - begun
    except (OSError, ImportError, ValueError, InvalidHandshake, InvalidProxy) as error:
        return _away(url, str(error))
    return AccessFinding(OK, url, seconds=seconds)


def _endpoints(config: Config) -> "Endpoints":
    from mcloud.feed.binance.endpoints import DEFAULT, endpoints

    given = config.exchange
    return endpoints(
        given.name or DEFAULT,
        ws_url=given.ws_url,
        rest_url=given.rest_url,
    )


def _away(url: str, why: str) -> AccessFinding:
    return AccessFinding(
        FAULT,
        f"{url}: {why}",
        'check the network and any proxy, or try [exchange] name = "binance-data" in mcloud.toml',
    )


def _producer(folder: Path, producer: Running[ProducerState]) -> AccessFinding:
    name, runs, state = producer.name, producer.runs, producer.state
    if producer.damaged:
        return AccessFinding(FAULT, producer.damaged)
    if state is None:
        return AccessFinding(OK, "starting" if runs else "never ran")
    silent = abs(time.time() - state.at)  # from the future: before the clock was set back
    if runs and silent > SILENCE:
        return AccessFinding(
            FAULT,
            f"it is running (pid {state.pid}) but has reported nothing for {silent:.0f} s",
            f"see `mcloud logs {name}`; `mcloud stop {name} --now` stops it, and its spool stays",
        )
    waiting = {n: each.waiting_trades for n, each in state.sites.items()}
    owed = ", ".join(f"{count:,} trades wait for {n}" for n, count in waiting.items() if count)
    if runs and state.spool_full:
        return AccessFinding(
            FAULT,
            f"its spool is full, so it has stopped reading; {owed}",
            "fix that site; the spool then drains, and missed trades are fetched",
        )
    refused = [f"{n}: {each.error}" for n, each in state.sites.items() if each.refused]
    if runs and (refused or state.problem):
        return AccessFinding(
            FAULT, "; ".join([*refused, state.problem]), f"see `mcloud logs {name}`"
        )
    aside = sorted(path.name for path in folder.glob("*.corrupt-*") if path.name[-1].isdecimal())
    if aside:
        return AccessFinding(
            WARNING,
            f"a damaged spool was set aside: {', '.join(aside)}",
            f"remove it from {folder} once `mcloud ps` shows no holes",
        )
    if owed and not runs:
        from mcloud.producer.source import resume_command

        return AccessFinding(WARNING, f"ended; {owed}", f"run `{resume_command(name, state)}`")
    return AccessFinding(OK, owed or "its spool is empty")
