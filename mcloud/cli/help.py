"""The text that ``--help`` prints: options in groups, and examples at the end.

Each option belongs to the group that its ``rich_help_panel`` names. Typer draws these groups only
with rich, and loading rich takes a third of a second, so the text is made here, without it. The
examples are the last section of a docstring, one command a line, after the line ``Examples:``.
"""

import difflib
from inspect import cleandoc
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

Click = Any
"""An object of click, whose classes are in other modules from typer 0.29 on."""

COMMON = "Common options"
SPAN = 0.15  # of the similarity from 0 to 1, within which all similar commands are suggested
WIDEST = 28  # columns of a name; the text of a longer name starts on the next line
_EXAMPLES = "\n\nExamples:\n"
_RULES = {
    "int_": "a whole number",
    "float_": "a number",
    "greater_than_equal": "{ge:g} or more",
    "less_than_equal": "{le:g} or less",
}
"""Rules for the values of options, by the beginnings of the names that pydantic gives them."""


class _Help:
    """Methods of click that write the parts of the help."""

    def format_help_text(self: Click, ctx: Click, formatter: Click) -> None:
        text, _, _ = cleandoc(self.help or "").partition(_EXAMPLES)
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(text)

    def format_options(self: Click, ctx: Click, formatter: Click) -> None:
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
            elif parameter.name == "help" or (title == COMMON and not _is_global(ctx, parameter)):
                common.append(record)
            elif title == COMMON:
                continue
            else:
                groups.setdefault(title or "Options", []).append(record)
        _write({**groups, COMMON: common}, formatter)
        if ctx.parent:
            formatter.write_text("Every command also has -q, -v, --no-color and --profile.")
        self.format_commands(ctx, formatter)

    def format_commands(self: Click, ctx: Click, formatter: Click) -> None:
        """Write nothing, because a command has no commands."""

    def format_epilog(self: Click, ctx: Click, formatter: Click) -> None:
        if examples := examples_of(self.help):
            with formatter.section("Examples"):
                for line in examples:
                    formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


class HelpCommand(_Help, TyperCommand):
    """A command whose help has groups of options, and examples."""

    def parse_args(self, ctx: Click, args: list[str]) -> list[str]:
        try:
            parsed: list[str] = super().parse_args(ctx, args)
        except typer.BadParameter as error:
            error.message = _plain(error)
            raise
        return parsed


class HelpGroup(_Help, TyperGroup):
    """A group of commands whose help has groups as well."""

    def section(self, name: str) -> str:
        """Return the title under which a command is listed."""
        return "Commands"

    def similar(self, name: str) -> list[str]:
        """Return the commands that an unknown name may stand for."""
        close = difflib.get_close_matches(name, self.commands)
        scores = [difflib.SequenceMatcher(None, each, name).ratio() for each in close]
        # The best comes first. One that is much worse is another word.
        return [each for each, score in zip(close, scores, strict=True) if score > scores[0] - SPAN]

    def resolve_command(self, ctx: Click, args: list[str]) -> Click:
        if args[0] not in self.commands and not args[0].startswith("-"):
            similar = " or ".join(f"`{ctx.command_path} {each}`" for each in self.similar(args[0]))
            hint = f" Did you mean {similar}?" if similar else ""
            ctx.fail(f"No such command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Click, formatter: Click) -> None:
        width = formatter.width - 6 - max(map(len, self.commands))
        sections: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            row = (name, self.commands[name].get_short_help_str(width))
            sections.setdefault(self.section(name), []).append(row)
        _write(sections, formatter)


def _plain(error: typer.BadParameter) -> str:
    """Return the message of an invalid value in mcloud's words.

    The causes of typer's errors are errors of pydantic, whose messages are for programmers. Other
    messages are returned as they are.
    """
    details: Click = getattr(error.__cause__, "errors", list)()
    for kind, rule in _RULES.items():
        if details and details[0]["type"].startswith(kind):
            wanted = rule.format(**details[0].get("ctx", {}))
            return f"it must be {wanted}, not {str(details[0]['input'])!r:.100}"
    return error.message


def _write(sections: dict[str, list[tuple[str, str]]], formatter: Click) -> None:
    """Write sections whose second columns are aligned."""
    names = [len(name) for rows in sections.values() for name, _ in rows]
    width = max((each for each in names if each <= WIDEST), default=0)
    for title, rows in sections.items():
        if rows:
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), text) for name, text in rows], WIDEST)


def inner_commands(root: Click, name: str) -> list[str]:
    """Return the commands of that name in the groups of a root, each after its group."""
    return [
        f"{group} {name}"
        for group, each in root.commands.items()
        if name in getattr(each, "commands", {})
    ]


def _is_global(ctx: Click, parameter: Click) -> bool:
    """Return whether an option of a command is also one of `mcloud` itself."""
    root = ctx.find_root()
    return root is not ctx and parameter.name in {each.name for each in root.command.params}


def group(app: typer.Typer, name: str, text: str) -> typer.Typer:
    """Add a group of commands and return it."""
    made = typer.Typer(cls=HelpGroup, help=text, no_args_is_help=True, rich_markup_mode=None)
    app.add_typer(made, name=name)
    return made


def examples_of(help_: str | None) -> list[str]:
    """Return the lines of the examples in the help of a command."""
    _, _, examples = cleandoc(help_ or "").partition(_EXAMPLES)
    return [line.strip() for line in examples.splitlines()]
