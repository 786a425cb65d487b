"""The generated parts of the reference pages.

Commands come from the command line, settings from their types and from the variables of the
Terraform modules.
"""

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_type_hints

from mcloud.alerts import rules
from mcloud.cli.app import SECTIONS
from mcloud.cli.help import examples_of
from mcloud.clouds.resources import AwsResources, GcpResources
from mcloud.config.model import ExchangeConfig, LocalPorts, TerraformConfig
from mcloud.config.produce import ProduceSettings
from mcloud.cost.settings import CostSettings
from mcloud.failover.settings import GuardSettings
from mcloud.market.anomaly import Thresholds
from mcloud.notify import channels
from mcloud.observing.queries import MonitorSettings
from mcloud.producer.message_log import TraceSettings

from .command_line import ROOT as MCLOUD
from .command_line import SHARED, leaves
from .pages import ROOT

TABLES: dict[str, type] = {
    "[local]": LocalPorts,
    "[exchange]": ExchangeConfig,
    "[terraform]": TerraformConfig,
    "[produce]": ProduceSettings,
    "[monitor]": MonitorSettings,
    "[guard]": GuardSettings,
    "[alerts]": rules.AlertSettings,
    "[alerts.RULE]": rules.RuleTable,
    "[channels.NAME] with type = webhook": channels.Webhook,
    "[channels.NAME] with type = pagerduty": channels.PagerDuty,
    "[channels.NAME] with type = sns or pubsub": channels.CloudTopic,
    "[cost]": CostSettings,
    "[trace]": TraceSettings,
    "[anomalies]": Thresholds,
}
SITES: dict[str, type] = {"aws": AwsResources, "gcp": GcpResources}
_WORDS = {"str": "text", "int": "whole number", "float": "number", "bool": "true or false"}


def commands() -> str:
    """Return all commands: a table of contents, then a section for each, ordered as in the help."""
    sections = {
        title: [pair for name in names for pair in leaves(f"mcloud {name}", MCLOUD.commands[name])]
        for title, names in SECTIONS.items()
    }
    lines = ["| command | purpose |", "|---|---|"]
    for found in sections.values():
        for path, command in found:
            anchor = path.replace(" ", "-")
            lines.append(f"| [`{path}`](#{anchor}) | {_cell(first_line(command))} |")
    for title, found in sections.items():
        lines += ["", f"## {title}"]
        for path, command in found:
            lines += ["", *_command(path, command)]
    return "\n".join(lines) + "\n"


def _command(path: str, command: Any) -> Iterator[str]:
    context = command.make_context(path, [], resilient_parsing=True)
    text, _, _ = inspect.cleandoc(command.help).partition("\n\nExamples:\n")
    yield f"### {path}"
    yield ""
    yield text
    yield ""
    yield "```text"
    yield f"{path} {' '.join(command.collect_usage_pieces(context))}"
    yield "```"
    # in the order of the help, see ``mcloud.cli.help``
    groups: dict[str, list[tuple[str, str]]] = {"Argument": [], "Option": []}
    for each in command.params:
        record = each.get_help_record(context)
        if each.name in SHARED or record is None:
            continue
        is_argument = each.param_type_name == "argument"
        title = "Argument" if is_argument else each.rich_help_panel or "Option"
        groups.setdefault(title, []).append((each.name if is_argument else record[0], record[1]))
    for title, rows in groups.items():
        if not rows:
            continue
        yield ""
        yield f"| {title} | |"
        yield "|---|---|"
        for name, description in rows:
            yield f"| `{_cell(name)}` | {_cell(description)} |"
    (output,) = (each for each in command.params if each.name == "output")
    yield ""
    yield _cell(output.help).replace("Output format:", "Output formats (`-o`):")
    if examples := examples_of(command.help):
        yield ""
        yield "```bash"
        yield from examples
        yield "```"


def first_line(command: Any) -> str:
    return str(command.help).strip().splitlines()[0]


def settings() -> str:
    """Return all tables of ``mcloud.toml``, then the variables of both Terraform modules."""
    lines: list[str] = []
    for name, kind in TABLES.items():
        lines += [
            f"## {name}",
            "",
            "| setting | type | default | description |",
            "|---|---|---|---|",
        ]
        lines += [_setting(each, kind) for each in fields(kind)]
        lines.append("")
    for cloud, kind in SITES.items():
        lines += [
            f"## [profiles.PROFILE.sites.SITE] with cloud = {cloud}",
            "",
            "`cloud` and, for Google Cloud, `project` are needed. `name` is the prefix of every"
            " name in the stack. The others come from the deployment; set them for a site that"
            " mcloud did not deploy.",
            "",
            "| setting | description |",
            "|---|---|",
        ]
        notes = documents(kind)
        lines += [f"| `{each.name}` | {_cell(notes[each.name])} |" for each in fields(kind)]
        lines.append("")
    for cloud in SITES:
        lines += [
            f"## [profiles.PROFILE.sites.SITE.variables] with cloud = {cloud}",
            "",
            "| variable | default | description |",
            "|---|---|---|",
        ]
        lines += [
            f"| `{name}` | {default} | {_cell(text)} |"
            for name, default, text in variables(ROOT / "terraform" / cloud / "variables.tf")
            if name not in ("name", "region", "project", "bundle")
        ]
        lines.append("")
    return "\n".join(lines).rstrip("\n") + "\n"


def _setting(each: "Field[Any]", kind: type) -> str:
    hint = get_type_hints(kind)[each.name]
    bounds = each.metadata
    words = _type(hint)
    if bounds.get("one_of"):
        words = ", ".join(f"`{one}`" for one in bounds["one_of"])
    limits = [
        f"{word} {bounds[key]:,g}"
        for word, key in (("at least", "least"), ("at most", "most"))
        if bounds.get(key) is not None and bounds[key] != rules.FAR
    ]
    default = "" if each.default in (None, MISSING, "") else f"`{_toml(each.default)}`"
    name = bounds.get("key") or each.name
    text = _cell(documents(kind)[each.name])
    return f"| `{name}` | {'; '.join([words, *limits])} | {default} | {text} |"


def _type(hint: Any) -> str:
    if isinstance(hint, UnionType):
        hint = next(each for each in get_args(hint) if each is not type(None))
    return _WORDS.get(getattr(hint, "__name__", ""), "list of texts")


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def documents(kind: type) -> dict[str, str]:
    """Return the docstring below each field of a dataclass, by name."""
    (tree,) = ast.parse(inspect.cleandoc("\n" + inspect.getsource(kind))).body
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for each, after in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(each, ast.AnnAssign) and isinstance(after, ast.Expr):
            assert isinstance(each.target, ast.Name)
            assert isinstance(after.value, ast.Constant)
            found[each.target.id] = inspect.cleandoc(str(after.value.value))
    return found


def variables(path: Path) -> Iterator[tuple[str, str, str]]:
    """Yield the name, default and description of each variable of a Terraform module."""
    text = path.read_text()
    for found in re.finditer(r'^variable "(\w+)" \{\n(.*?)^\}', text, re.MULTILINE | re.DOTALL):
        body = found[2]
        description = re.search(r'^  description = "(.*)"$', body, re.MULTILINE)
        default = re.search(r"^  default     = (.*)$", body, re.MULTILINE)
        shown = "needed" if default is None else f"`{default[1]}`" if default[1] != "null" else ""
        yield found[1], shown, description[1].replace('\\"', '"') if description else ""


def _cell(text: str) -> str:
    joined = " ".join(text.split()).replace("|", "\\|")
    # Two backticks, as in docstrings, are one in Markdown; <str> is no HTML.
    return re.sub(r"``([^`]+)``", r"`\1`", joined)
