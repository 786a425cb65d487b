"""Other spellings of commands and options, which work and are not in the help.

They are words that people type because other tools have them, and names of earlier releases. They
are replaced before the command line is parsed, so that no command knows them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

_VALUED = "--profile"
"""Option before a command whose value is the next word."""


@dataclass(frozen=True)
class Alias:
    typed: str
    """Words of a command, an option, or both. An option alone stands for that of any command."""
    meant: str
    """The words that replace them. An option without a replacement leaves its value, which becomes
    an argument."""

    @property
    def command(self) -> list[str]:
        return [word for word in self.typed.split() if not word.startswith("-")]

    @property
    def option(self) -> str:
        return next((word for word in self.typed.split() if word.startswith("-")), "")

    def respell(self, words: list[str]) -> list[str]:
        """Return the words of a command and its arguments without this alias."""
        if words[: len(self.command)] != self.command:
            return words
        head, rest = words[: len(self.command)], words[len(self.command) :]
        end = rest.index("--") if "--" in rest else len(rest)
        names = [word.partition("=")[0] for word in rest[:end]]
        if self.option and self.option not in names:
            return words
        name, options = self._meant()
        if not self.option:
            return [*name, *rest, *options]
        index = names.index(self.option)
        _, is_joined, value = rest[index].partition("=")
        if is_joined:
            options = [f"{options[0]}={value}"] if options else [value]
        return [*(name or head), *rest[:index], *options, *rest[index + 1 :]]

    def _meant(self) -> tuple[list[str], list[str]]:
        words = self.meant.split()
        count = sum(not word.startswith("-") for word in words) if self.command else 0
        return words[:count], words[count:]


SITE_IS_AN_ARGUMENT = (
    *("doctor", "plan", "deploy", "destroy", "outputs", "permissions", "verify", "compact"),
    *("restore", "failover", "status", "monitor", "metrics", "local outage"),
    *("dlq list", "dlq redrive", "dlq drop"),
)
"""Commands whose object is a site. All others have ``--site``; those that copy from one site to
another have ``--from`` and ``--to``."""

ALIASES = (
    Alias("help", "--help"),
    Alias("local start", "local up"),
    Alias("local stop", "local down"),
    Alias("config list", "config show"),
    Alias("status --watch", "monitor"),
    Alias("--json", "-o json"),
    Alias("logs --tail", "logs --lines"),
    Alias("local logs --tail", "local logs --lines"),
    *(Alias(f"{name} --site", name) for name in SITE_IS_AN_ARGUMENT),
    # Names of earlier releases.
    Alias("candles --from", "candles --site"),
    Alias("anomalies --from", "anomalies --site"),
    Alias("produce --to", "produce --site"),
    Alias("drill --on", "drill --site"),
    Alias("cost estimate --sites", "cost estimate --site"),
)


def respelled(words: Sequence[str]) -> list[str]:
    """Return a command line, without the name of the program, in the spellings of the help."""
    before = _options_before(words)
    found = list(words[before:])
    for alias in ALIASES:
        found = alias.respell(found) if found else found
    return [*words[:before], *found]


def _options_before(words: Sequence[str]) -> int:
    """Return the number of words before the command."""
    index = 0
    while index < len(words) and words[index].startswith("-"):
        index += 2 if words[index] == _VALUED else 1
    return min(index, len(words))
