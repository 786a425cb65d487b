"""Completion of values in a shell: sites, symbols, processes, rules and so on.

A shell starts mcloud at each press of the Tab key, so this module imports only the standard
library and reads at most ``mcloud.toml`` and the folder of the state. Names of commands and options
are left to typer. Tests compare the tables here with the commands.
"""

import json
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

LOCAL = "local"
SITES = ("aws", "gcp")
"""Sites of the profile ``local``."""
RUN_FOLDERS = ("producers", "replicators", "guards", "alerts")
MOST = 500
"""Number of symbols that a shell lists. More would not be read."""

_PLAIN = re.compile(r"[\w.:=,@/+-]+")
"""Values that no shell interprets. The zsh script of typer evaluates the answer, which may have
names from an ``mcloud.toml`` that somebody else wrote."""

SERVICES = ("queue", "function", "candles", "archive")
INTERVALS = ("1m", "5m", "15m", "1h", "1d")
RULES = (
    *("service-down", "dead-letters", "message-age", "function-errors", "function-throttles"),
    *("replication-lag", "raw-lag", "holes", "unfilled-holes", "stalled-streams"),
    *("spool-waiting", "spool-full", "left-behind", "disk-full", "guard-lost", "guard-paused"),
    *("damaged-documents", "silence", "budget", "budget-forecast", "anomalies"),
)
SCENARIOS = (
    *("cloud-outage", "region-outage", *(f"service-outage:{service}" for service in SERVICES)),
    *("slow", "throttle", "flap"),
)
FORMATS: Mapping[str, tuple[str, ...]] = {
    "": ("text", "json"),
    "metrics": ("text",),
    "monitor": ("text", "json", "jsonl"),
    "drill": ("text", "json", "md", "html"),
    "verify": ("text", "json", "html"),
    "cost report": ("text", "json", "csv", "md", "html"),
    "candles": ("text", "json", "csv", "html"),
    **dict.fromkeys(("anomalies", "anomalies scan"), ("text", "json", "csv")),
}
"""Values of ``-o`` by command; the first is that of all others."""

GROUPS = ("alerts", "anomalies", "config", "cost", "dlq", "documents", "guard", "local")
"""Commands with commands of their own."""

_SITE_OPTIONS = ("--site", "--from", "--to", "--forget")
OPTIONS: Mapping[str, str] = {
    **dict.fromkeys(_SITE_OPTIONS, "sites"),
    "--sites": "clouds",
    **dict.fromkeys(("--symbol", "--symbols"), "symbols"),
    **dict.fromkeys(("-o", "--output"), "formats"),
    "--profile": "profiles",
    "--interval": "intervals",
    "--scenario": "scenarios",
    "--service": "services",
    "--how": "hows",
    "--mode": "modes",
    "--exchange": "exchanges",
    "--market": "markets",
    "--source": "sources",
    "--by": "groupings",
    "--what": "data",
    "--force": "checks",
    "--name": "names",
}
"""Kinds of values of options, by the name of the option."""
OTHERWISE: Mapping[tuple[str, str], str] = {
    ("alerts silence", "--from"): "",
    ("init", "--name"): "",
}
"""Options of a command with other values than those of the same name elsewhere."""

ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(
        (
            *("doctor", "plan", "deploy", "destroy", "outputs", "permissions", "status", "monitor"),
            *("metrics", "verify", "compact", "restore", "failover"),
            *("dlq list", "dlq show", "dlq redrive", "dlq drop"),
        ),
        ("sites",),
    ),
    **dict.fromkeys(("lock", "local outage"), ("clouds",)),
    **dict.fromkeys(("candles", "anomalies scan", "resolve"), ("symbols",)),
    **dict.fromkeys(("ps", "stop"), ("runs",)),
    "logs": ("logs",),
    "alerts silence": ("targets", "parts"),
}
"""Kinds of values of the arguments of a command."""

FLAGS = frozenset(
    {
        "--all",
        "--chart",
        "--check",
        "--compare",
        "--deep",
        "--delete-backups",
        "--detach",
        "--detailed-exitcode",
        "--details",
        "--dry-run",
        "--fill",
        "--follow",
        "--force",
        "--help",
        "--history",
        "--install-completion",
        "--keep",
        "--live",
        "--loop",
        "--no-billed",
        "--no-chart",
        "--no-color",
        "--no-free-tier",
        "--now",
        "--once",
        "--quiet",
        "--repair",
        "--serve",
        "--show-completion",
        "--tls",
        "--upgrade",
        "--verbose",
        "--version",
        "--wait",
        "--wait-for-client",
        "--yes",
        "-f",
        "-h",
        "-q",
        "-v",
        "-y",
    }
)
"""Options without a value. The value of another option is no argument of the command."""
AMBIGUOUS: Mapping[tuple[str, str], bool] = {
    ("local outage", "--end"): True,
    ("failover", "--force"): False,
    ("resolve", "--keep"): False,
    ("stop", "--wait"): False,
}
"""Whether an option of a command is a flag, where other commands have the same name otherwise."""


class Line(NamedTuple):
    """A command line, up to the word that is completed."""

    command: str
    """Words of the command, such as ``alerts silence``; empty before there is one."""
    position: int
    """Number of arguments of the command before the word."""
    option: str
    """Option whose value the word is, or an empty string."""
    profile: str | None


class Answer(NamedTuple):
    text: str
    code: int
    """Exit code, by which fish decides whether to list files."""


def answer(environment: Mapping[str, str], folder: Path) -> Answer | None:
    """Return the answer to the shell, or None if the word has no known kind of values.

    Args:
        environment: variables by which the completion of typer asks.
        folder: the working folder.
    """
    shell = environment.get("_MCLOUD_COMPLETE", "").removeprefix("complete_")
    asked = _asked(shell, environment)
    if asked is None:
        return None
    *before, word = asked.words
    found = values(before, word, environment, folder)
    if found is None:
        return None
    if environment.get("_TYPER_COMPLETE_FISH_ACTION") == "is-args":
        return Answer("", 0 if found else 1)
    if shell == "zsh":
        texts = " ".join('"' + each.replace(":", r"\\:") + '"' for each in found)
        return Answer(f"_arguments '*: :(({texts}))'" if found else "", 0)
    return Answer("\n".join(each.removeprefix(asked.shown) for each in found), 0)


def values(
    before: Sequence[str], word: str, environment: Mapping[str, str], folder: Path
) -> list[str] | None:
    """Return the values that a word may become, or None if it is no value of a known kind.

    Args:
        before: the words before it, without the name of the program.
    """
    line = read(before)
    start = ""
    if not line.option and word.startswith("--") and "=" in word:
        option, _, word = word.partition("=")
        line, start = line._replace(option=option), f"{option}="
    if line.option:
        kind = OTHERWISE.get((line.command, line.option), OPTIONS.get(line.option, ""))
    elif word.startswith("-"):
        return None
    else:
        kinds = ARGUMENTS.get(line.command, ())
        kind = kinds[line.position] if line.position < len(kinds) else ""
    if not kind:
        return None
    # Of a comma-separated list, the last value is completed.
    head, comma, last = word.rpartition(",")
    taken = head.split(",")
    known = _Values(line, environment, folder).of(kind)
    found = [
        each
        for each in known
        if each not in taken and each.lower().startswith(last.lower()) and _PLAIN.fullmatch(each)
    ]
    return [f"{start}{head}{comma}{each}" for each in found]


def read(words: Sequence[str]) -> Line:
    """Return what a command line says before the word that is completed."""
    command, position, option, profile = "", 0, "", None
    for word in words:
        if option:
            profile = word if option == "--profile" else profile
            option = ""
        elif word.startswith("-") and word != "-":
            name, joined, value = word.partition("=")
            profile = value if joined and name == "--profile" else profile
            if not joined and not AMBIGUOUS.get((command, name), name in FLAGS):
                option = name
        elif not command or (command in GROUPS and f"{command} {word}" in _INNER):
            command = f"{command} {word}".strip()
        else:
            position += 1
    return Line(command, position, option, profile)


_INNER = frozenset(
    (
        *(f"alerts {each}" for each in ("list", "watch", "silence", "silences", "unsilence")),
        *("alerts test", "anomalies scan", "config show"),
        *(f"cost {each}" for each in ("report", "forecast", "advise", "estimate")),
        *(f"dlq {each}" for each in ("list", "show", "redrive", "drop")),
        *("documents list", "documents repair"),
        *(f"guard {each}" for each in ("run", "pause", "resume", "explain", "status")),
        *(f"local {each}" for each in ("up", "down", "status", "env", "logs", "outage", "reset")),
        "local exchange",
    )
)


_FOLDERS = dict(zip(("produce", "replicate", "guard", "alerts"), RUN_FOLDERS, strict=True))
"""Folder of the processes of a command or a group of commands."""


class _Values:
    """Values of each kind; see ``OPTIONS`` and ``ARGUMENTS``."""

    def __init__(self, line: Line, environment: Mapping[str, str], folder: Path) -> None:
        self._line = line
        self._environment = environment
        self._document = _toml(folder / "mcloud.toml")
        given = environment.get("MCLOUD_PROFILE") or self._document.get("profile")
        self._profile = line.profile or str(given or LOCAL)
        state = environment.get("MCLOUD_STATE") or self._document.get("state") or ".mcloud"
        self._state = folder / Path(str(state)).expanduser()

    def of(self, kind: str) -> Sequence[str]:
        fixed: Mapping[str, Sequence[str]] = {
            "clouds": SITES,
            "intervals": INTERVALS,
            "scenarios": SCENARIOS,
            "services": SERVICES,
            "formats": FORMATS.get(self._line.command, FORMATS[""]),
            "hows": ("refuse", "hang", "slow", "throttle"),
            "modes": ("both", "primary", "cheapest", "nearest"),
            "exchanges": _EXCHANGES,
            "markets": ("spot", "um", "cm"),
            "sources": (*_EXCHANGES, "simulate", "spool", "replay:"),
            "groupings": ("service", "site", "symbol"),
            "data": ("candles", "raw"),
            "checks": ("health", "canary", "lag", "backlog", "quotas", "debt"),
        }
        found: Mapping[str, Callable[[], Sequence[str]]] = {
            "sites": self._sites,
            "profiles": self._profiles,
            "symbols": self._symbols,
            "runs": self._runs,
            "names": self._names,
            "logs": lambda: [*self._sites(), *self._runs()],
            "targets": lambda: [*self._rules(), *self._sites(), *self._symbols()],
            "parts": lambda: [*self._sites(), *self._symbols(), *self._runs()],
        }
        return fixed[kind] if kind in fixed else found[kind]()

    def _profiles(self) -> list[str]:
        return list(dict.fromkeys((LOCAL, *_table(self._document, "profiles"))))

    def _sites(self) -> list[str]:
        sites = _table(_table(_table(self._document, "profiles"), self._profile), "sites")
        return list(sites) or list(SITES)

    def _rules(self) -> list[str]:
        own = _table(self._document, "alerts")
        return list(dict.fromkeys((*RULES, *(name for name in own if _table(own, name)))))

    def _runs(self) -> list[str]:
        folders = (self._state / kind for kind in RUN_FOLDERS)
        return sorted({run.name for folder in folders for run in _entries(folder) if run.is_dir()})

    def _names(self) -> list[str]:
        """Return the names of the processes that the command has started here."""
        folder = _FOLDERS.get(self._line.command.split(" ")[0], "")
        return sorted(run.name for run in _entries(self._state / folder) if run.is_dir())

    def _symbols(self) -> list[str]:
        """Return the symbols of the producers that have run here."""
        paths = [run / "state.json" for run in _entries(self._state / "producers")]
        states = (_json(path) for path in paths)
        found = {
            symbol
            for state in states
            for symbol in (*state.get("symbols", ()), *state.get("replayed", ()))
        }
        return sorted(found)[:MOST] or ["BTCUSDT", "ETHUSDT"]


_SEPARATORS = (":", "=")
"""Characters at which bash splits words; see its variable COMP_WORDBREAKS."""
_EXCHANGES = (
    *("binance", "binance-us", "binance-data", "binance-futures"),
    "binance-coin-futures",
)


class _Asked(NamedTuple):
    words: list[str]
    """Words of the command line without the program. The last one is completed."""
    shown: str = ""
    """Start of the last word that the shell does not replace."""


def _asked(shell: str, environment: Mapping[str, str]) -> _Asked | None:
    """Return the question of a shell. None if another shell asks, or something else."""
    if shell == "bash":
        words = _split(environment.get("COMP_WORDS", ""))
        count = environment.get("COMP_CWORD", "")
        return _joined(words[1 : int(count) + 1], int(count)) if count.isdigit() else None
    if shell in ("zsh", "fish"):
        line = environment.get("_TYPER_COMPLETE_ARGS", "")
        return _Asked([*_split(line)[1:], *([""] if line.endswith(" ") or not line else [])])
    return None


def _joined(words: Sequence[str], count: int) -> _Asked:
    """Join the words that bash has split at colons and equal signs. It replaces only the last of
    the parts.
    """
    found: list[str] = []
    is_open = False
    shown = ""
    for word in [*words, *[""] * (count - len(words))]:
        is_separator = word in _SEPARATORS
        if found and (is_separator or is_open):
            shown = found[-1] + word if is_separator else found[-1]
            found[-1] += word
        else:
            found.append(word)
            shown = ""
        is_open = is_separator
    return _Asked(found or [""], shown)


def _split(line: str) -> list[str]:
    """Return the words of a line, even if a quotation is not closed yet."""
    try:
        return shlex.split(line)
    except ValueError:
        return line.split()


def _toml(path: Path) -> Mapping[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return {}


def _table(document: Mapping[str, object], name: str) -> Mapping[str, object]:
    found = document.get(name)
    return found if isinstance(found, dict) else {}


def _json(path: Path) -> Mapping[str, Sequence[str]]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _entries(folder: Path) -> Iterator[Path]:
    try:
        yield from folder.iterdir()
    except OSError:
        return
