"""The target of a silence, parsed from what the user typed."""

from collections.abc import Mapping

from mcloud.alerts.rules import Rules
from mcloud.clouds.ports import Site
from mcloud.config import did_you_mean
from mcloud.deadline import gather
from mcloud.documents import sound
from mcloud.errors import UsageError
from mcloud.market.trade import capitals
from mcloud.notify.silences import PATIENCE, RULE, SITE, SYMBOL, Silenced


def target_of(
    target: str, of: str | None, rules: Rules, sites: Mapping[str, Site]
) -> tuple[Silenced, str]:
    """Return the kind of a target (rule, site or symbol), and its name.

    Args:
        of: the site, symbol, producer or guard that a rule is silenced for; None for all.

    Raises:
        UsageError: no rule, site or symbol has that name; the message makes suggestions.
    """
    known = {rule.name: rule for rule in rules.rules}
    if target in known:
        if of is not None and "*" not in known[target].figure:
            raise UsageError(f"the rule {target} has a single figure; omit {of!r}")
        return RULE, target
    if of is not None and (target in sites or target.isupper()):
        raise UsageError(f"{of!r} can only follow the name of a rule, and {target!r} is not a rule")
    if target in sites:
        return SITE, target
    answers = gather({name: site.control.heartbeats for name, site in sites.items()}, PATIENCE)
    beats = [each for each in answers.values() if not isinstance(each, Exception)]
    symbols = {beat.symbol for each in beats for beat in sound(each)}
    if (symbol := capitals(target)) in symbols:
        return SYMBOL, symbol
    hint = did_you_mean(target, [*known, *sites, *symbols])
    raise UsageError(
        f"unknown rule, site or symbol {target!r}{hint or '; see `mcloud alerts list`'}"
    )
