"""The text that ``--help`` prints: options in groups, and examples at the end.

Each option belongs to the group that its ``rich_help_panel`` names. Typer draws these groups only
with rich, and loading rich takes a third of a second, so the text is made here, without it. The
examples are the last section of a docstring, one command a line, after the line ``Examples:``.
"""

from inspect import cleandoc
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

COMMON = "Common options"
WIDEST = 28  # columns of a name; the text of a longer name starts on the next line
_EXAMPLES = "\n\nExamples:\n"


class _Help:
    """Methods of click that write the parts of the help."""

    def format_help_text(self: Any, ctx: Any, formatter: Any) -> None:
        text, _, _ = cleandoc(self.help or "").partition(_EXAMPLES)
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(text)

    def format_options(self: Any, ctx: Any, formatter: Any) -> None:
        groups: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        common = []
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            title = getattr(parameter, "rich_help_panel", None)
            if record is None:
                continue
            if parameter.param_type_name == "argument":
                # The type is omitted, because the text explains the argument.
                groups["Arguments"].append((parameter.name, record[1]))
            elif title == COMMON or parameter.name == "help":
                common.append(record)
            else:
                groups.setdefault(title or "Options", []).append(record)
        _write({**groups, COMMON: common}, formatter)
        self.format_commands(ctx, formatter)

    def format_commands(self: Any, ctx: Any, formatter: Any) -> None:
        """Write nothing, because a command has no commands."""

    def format_epilog(self: Any, ctx: Any, formatter: Any) -> None:
        if examples := examples_of(self.help):
            with formatter.section("Examples"):
                for line in examples:
                    formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


class HelpCommand(_Help, TyperCommand):
    """A command whose help has groups of options, and examples."""


class HelpGroup(_Help, TyperGroup):
    """A group of commands whose help has groups as well."""

    def section(self, name: str) -> str:
        """Return the title under which a command is listed."""
        return "Commands"

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        width = formatter.width - 6 - max(map(len, self.commands))
        sections: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            row = (name, self.commands[name].get_short_help_str(width))
            sections.setdefault(self.section(name), []).append(row)
        _write(sections, formatter)


def _write(sections: dict[str, list[tuple[str, str]]], formatter: Any) -> None:
    """Write sections whose second columns are aligned."""
    names = [len(name) for rows in sections.values() for name, _ in rows]
    width = max((each for each in names if each <= WIDEST), default=0)
    for title, rows in sections.items():
        if rows:
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), text) for name, text in rows], WIDEST)


def group(app: typer.Typer, name: str, text: str) -> typer.Typer:
    """Add a group of commands and return it."""
    made = typer.Typer(cls=HelpGroup, help=text, no_args_is_help=True, rich_markup_mode=None)
    app.add_typer(made, name=name)
    return made


def examples_of(help_: str | None) -> list[str]:
    """Return the lines of the examples in the help of a command."""
    _, _, examples = cleandoc(help_ or "").partition(_EXAMPLES)
    return [line.strip() for line in examples.splitlines()]
