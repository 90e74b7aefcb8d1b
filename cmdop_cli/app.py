"""The command line as Typer sees it: one group class and one command class that carry the global options (D-19).

The commands themselves stand in ``catalog.py`` and are imported when one runs. Only Typer's public names are used;
its parser is private and never imported.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from cmdop_cli import command_pages, complaints, help_pages
from cmdop_cli.catalog import CATALOG, PROGRAM, ROOT, Foreign, Noun, Row, load
from cmdop_cli.context import Call, Ctx
from cmdop_cli.declare import declared
from cmdop_cli.failures import usage
from cmdop_cli.options import GLOBAL_OPTIONS, GlobalOption


def _parameters() -> list[Any]:
    """Return the global options as parameters; they are collected, never passed to a command's function."""
    made = [_parameter(option) for option in GLOBAL_OPTIONS]
    return [*made, _switch("help", ("--help", "-h"), _show_help, is_eager=True)]


def _parameter(option: GlobalOption) -> TyperOption:
    def collect(context: Any, _: Any, value: Any) -> None:
        if context.resilient_parsing:
            return
        for each in value if isinstance(value, tuple | list) else [value]:
            if each is not None and each is not False:
                context.obj.given.add(option, option.value if option.metavar is None else each)

    if option.name == "version":
        return _switch(option.name, option.spellings, _show_version, is_eager=True)
    if option.metavar is None:
        return _switch(option.name, option.spellings, collect)
    return TyperOption(
        param_decls=[f"global_{option.name}", *option.spellings],
        type=str,
        multiple=True,
        metavar=option.metavar,
        help=option.help,
        expose_value=False,
        callback=collect,
        hidden=True,
    )


def _switch(
    name: str, spellings: Sequence[str], callback: Callable[..., Any], *, is_eager: bool = False, text: str = ""
) -> TyperOption:
    return TyperOption(
        param_decls=[f"global_{name}", *spellings],
        is_flag=True,
        default=False,
        help=text,
        expose_value=False,
        callback=callback,
        is_eager=is_eager,
        hidden=not text,
    )


def _show_help(context: Any, _: Any, value: Any) -> None:
    if value and not context.resilient_parsing:
        context.obj.print_help(context.command.get_help(context))
        raise typer.Exit(0)


def _show_version(context: Any, _: Any, value: Any) -> None:
    if value and not context.resilient_parsing:
        context.obj.print_version()
        raise typer.Exit(0)


def _plan(context: Any, _: Any, value: Any) -> None:
    if value and not context.resilient_parsing:
        context.obj.is_dry_run = True


class Command(TyperCommand):
    """A verb: its own parameters and the global ones, and the guards that it declared."""

    context_class = Ctx

    def __init__(self, name: str | None, **settings: Any) -> None:
        self.declared = declared(settings.get("callback"))
        own = list(settings.pop("params", None) or [])
        if self.declared.mutates:
            own.append(_switch("dry_run", ["--dry-run"], _plan, text="show what would change; change nothing"))
        super().__init__(name, params=[*own, *_parameters()], **{**settings, "add_help_option": False})

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the line.

        A bare ``--workspace`` is noted first where the command gives it a meaning (D-19), and so are the words after
        ``--`` where they are somebody else's.
        """
        if self.declared.rest is not None and "--" in args:
            place = args.index("--")
            ctx.obj.rest = args[place + 1 :]
            args = args[:place]
        if self.declared.bare_workspace:
            args, is_bare = self._without_bare_workspace(args)
            if is_bare and not ctx.resilient_parsing:
                ctx.obj.bare_workspace = True
        ctx.allow_extra_args = True  # complained about here, in our words
        extra = super().parse_args(ctx, args)
        if extra and not ctx.resilient_parsing:
            raise complaints.too_many(ctx, extra)
        return extra

    def _without_bare_workspace(self, args: list[str]) -> tuple[list[str], bool]:
        takes_value = {
            spelling
            for parameter in self.params
            if isinstance(parameter, TyperOption) and not parameter.is_flag
            for spelling in parameter.opts
        }
        kept: list[str] = []
        is_bare = False
        words = iter(enumerate(args))
        for place, word in words:
            if word == "--":
                return [*kept, *args[place:]], is_bare
            following = args[place + 1] if place + 1 < len(args) else None
            if word == "--workspace" and (following is None or following.startswith("-")):
                is_bare = True
                continue
            kept.append(word)
            if word in takes_value and following is not None:
                kept.append(next(words)[1])
        return kept, is_bare

    def get_help(self, ctx: Any) -> str:
        """Return the help page."""
        return command_pages.command_page(self, ctx)

    def invoke(self, ctx: Any) -> Any:
        """Settle what the command declared, then run it."""
        call: Call = ctx.obj
        call.is_remote = self.declared.remote is not None and self.declared.remote(ctx.params)
        is_elsewhere = self.declared.elsewhere is not None and self.declared.elsewhere(ctx.params)
        call.begin(self.declared, path=tuple(ctx.command_path.split()[1:]), is_elsewhere=is_elsewhere)
        return super().invoke(ctx)


class ForeignCommand(TyperCommand):
    """A command whose arguments are not ours to read: the server's, a completion script's, an extension's."""

    context_class = Ctx

    def __init__(self, name: str, run: Callable[[Call, list[str]], Any], summary: str) -> None:
        super().__init__(name, help=summary, add_help_option=False)
        self.run = run

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Keep every word as it is."""
        ctx.args = args
        return args

    def invoke(self, ctx: Any) -> Any:
        """Hand the untouched arguments over."""
        return self.run(ctx.obj, list(ctx.args))


class Group(TyperGroup):
    """The program or a noun: hands out its rows, importing a command only to run it or to print its own help."""

    context_class = Ctx

    def __init__(self, name: str, noun: Noun) -> None:
        # Without a verb Typer would complain in its own words; ``invoke`` has ours.
        super().__init__(
            name=name, help=noun.summary, params=_parameters(), add_help_option=False, invoke_without_command=True
        )
        self.noun = noun
        self.rows = dict(noun.verbs)

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - Typer passes it
        """Return the names of the rows."""
        return list(self.rows)

    def get_command(self, ctx: Any, cmd_name: str) -> "TyperCommand | TyperGroup | None":  # noqa: ARG002 - the same
        """Return the command called ``cmd_name``, made on the spot, or ``None``."""
        found = self.rows.get(cmd_name)
        return None if found is None else made(cmd_name, found)

    def resolve_command(self, ctx: Any, args: list[str]) -> "tuple[str | None, Any, list[str]]":
        """Return the command that ``args`` begin with; unknown ones are an extension or a usage failure."""
        command = self.get_command(ctx, args[0])
        if command is None and not ctx.resilient_parsing:
            command = self._extension(ctx, args[0], args[1:])
        return args[0], command, args[1:]

    def invoke(self, ctx: Any) -> Any:
        """Run the verb that follows; without one, the program prints its help and a noun is a usage failure."""
        result = super().invoke(ctx)
        if ctx.invoked_subcommand is not None:
            return result
        call: Call = ctx.obj
        if ctx.parent is None and not call.given.has_any:
            call.print_help(self.get_help(ctx))
            return None
        verbs = ", ".join(name for name, entry in self.rows.items() if not entry.hidden)
        raise usage(f"{ctx.command_path} needs a command: {verbs}", hint=f"{ctx.command_path} --help")

    def get_help(self, ctx: Any) -> str:
        """Return the help page."""
        return help_pages.noun_page(self.noun, ctx.command_path)

    def _extension(self, ctx: Any, name: str, after: Sequence[str]) -> ForeignCommand:
        from cmdop_cli import extensions

        if ctx.parent is None:
            found = extensions.find(name)
            if found is not None:
                return ForeignCommand(name, lambda call, args: extensions.run(found, call, args), "")
        near = suggestion(name, [*self.rows, *(extensions.names() if ctx.parent is None else ())])
        raise complaints.unknown_command(ctx.command_path, name, near, after, runs=self._is_verb(near))

    def _is_verb(self, name: str) -> bool:
        entry = self.rows.get(name)
        return not isinstance(entry, Noun) or entry.alone is not None


class DefaultGroup(Group):
    """A noun that means something by itself, and with a word that is no verb: ``cmdop connect [MACHINE]`` (D-21)."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the verb in that was left out; verbs win over machine names."""
        if not {"--help", "-h", "--version"} & set(args[:1]):
            word = self._first_word(args)
            if word is None and self.noun.alone is not None:
                args = [self.noun.alone, *args]
            elif word is not None and word not in self.rows and self.noun.otherwise is not None:
                args = [self.noun.otherwise, *args]
        return super().parse_args(ctx, args)

    def _first_word(self, args: list[str]) -> str | None:
        with_value = self.noun.valued | {
            spelling for option in GLOBAL_OPTIONS if option.metavar is not None for spelling in option.spellings
        }
        words = iter(args)
        for word in words:
            if word == "--":
                return next(words, None)
            if word in with_value:
                next(words, None)
            elif not word.startswith("-"):
                return word
        return None


class HelpGroup(Group):
    """``cmdop help``: alone it is ``cmdop --help``, with a topic that topic, with a command's words its page."""

    def invoke(self, ctx: Any) -> Any:
        """Print what was asked for."""
        result = TyperGroup.invoke(self, ctx)
        if ctx.invoked_subcommand is None:
            ctx.obj.print_help(ctx.parent.command.get_help(ctx.parent))
        return result

    def _extension(self, ctx: Any, name: str, after: Sequence[str]) -> ForeignCommand:
        if name not in CATALOG:
            return super()._extension(ctx, name, after)

        def show(call: Call, rest: list[str]) -> Any:
            return run([name, *rest, "--help"], call)

        return ForeignCommand(name, show, "")


def suggestion(word: str, known: Sequence[str]) -> str:
    """Return the nearest of ``known``, or ``""``; it is shown, never run."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(word, known, n=1)), "")


def made(name: str, entry: Row) -> "Command | Group | ForeignCommand":
    """Return the command of one row of the catalog."""
    if isinstance(entry, Noun):
        kind = DefaultGroup if entry.alone or entry.otherwise else HelpGroup if name == "help" else Group
        return kind(name, entry)
    function = load(entry.target)
    if isinstance(entry, Foreign):
        return ForeignCommand(name, function, entry.summary)
    shell = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    shell.command(name, cls=Command, help=inspect.getdoc(function))(function)
    command = typer.main.get_command(shell)
    if not isinstance(command, Command):
        raise TypeError(f"{entry.target} did not become a command")
    return command


def root() -> Group:
    """Return the whole program."""
    return Group(PROGRAM, ROOT)


def run(arguments: list[str], call: Call) -> Any:
    """Run one line and return the command's result; failures of the parser become usage failures (exit 2)."""
    try:
        with root().make_context(PROGRAM, list(arguments), obj=call) as context:
            return context.command.invoke(context)
    except typer.Exit as ended:
        return ended.exit_code
    except typer.TyperException as wrong:
        raise complaints.usage_failure(wrong, call) from None
