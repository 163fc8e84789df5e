"""The commands by topic, their modules, and the words that people type for them."""

import importlib
from typing import Final

import click

from hivectl.arguments.hints import hint

TOPICS: Final[dict[str, dict[str, str]]] = {
    "Agents": {
        "overview": "status",
        "agent_list": "list",
        "top": "top",
        "agents": "spawn start stop kill restart destroy",
        "containers": "rebuild update update-all pause resume limits tombstones purge cancel-job",
        "logs": "logs",
        "login": "login",
    },
    "Inside a container": {
        "inside": "shell exec copy-to copy-from",
        "forward": "forward",
    },
    "Turns": {
        "watch": "watch",
        "chat": "chat",
        "turns": "turns",
        "export": "export-turn",
        "steering": "cancel compact new-session model effort lift-limits",
        "holds": "hold unhold holds",
    },
    "Costs and budgets": {"turns": "cost", "budgets": "budget usage"},
    "Messages": {
        "messages": "send unsend inbox purge-inbox",
        "threads": "threads",
        "history": "history search",
        "dead_letters": "dead-letters requeue drop",
    },
    "Questions and reminders": {
        "questions": "questions answer ask cancel-question",
        "reminders": "remind",
    },
    "Approvals and deployments": {
        "approvals": "pending approve deny withdraw diff",
        "deployments": "request-spawn apply revert deploy-log",
        "configurations": "cat edit",
        "egress": "egress allow-egress deny-egress",
    },
    "Projects": {
        "project": "project",
        "changes": "changes review comment request-changes fetch",
    },
    "The hive": {
        "credentials": "credentials",
        "dashboard": "login-link sessions",
        "assistant": "assistant",
        "doctor": "doctor",
        "maintenance": "backup restore vacuum",
        "import_nixos": "import-nixos",
        "completion": "completion",
        "help": "help",
    },
}
"""The names of the commands, by topic and module, in the order in which the help lists them."""

ALIASES: Final = {"ls": "list", "ps": "list"}
"""Other names of commands that only show something."""

_MEANT: Final = {
    "attach": "chat",
    "check": "doctor",
    "console": "shell",
    "cp": "copy-to",
    "create": "spawn",
    "delete": "destroy",
    "disable": "stop",
    "enable": "start",
    "info": "status",
    "inspect": "status",
    "journal": "logs",
    "log": "logs",
    "message": "send",
    "new": "spawn",
    "reload": "rebuild",
    "remove": "destroy",
    "requests": "pending",
    "rm": "destroy",
    "run": "spawn",
    "show": "status",
    "ssh": "shell",
    "tail": "watch",
    "tell": "send",
    "terminate": "kill",
    "version": "--version",
}
"""Words of other tools, with the command that does that here."""

_MODULES: Final = {
    name: module
    for modules in TOPICS.values()
    for module, names in modules.items()
    for name in names.split()
}


def names() -> list[str]:
    """Return the names of all commands, in the order of the help."""
    return list(_MODULES)


def find(name: str) -> click.Command | None:
    """Return the command with this name or alias; its module is imported only now."""
    name = ALIASES.get(name, name)
    if name not in _MODULES:
        return None
    module = importlib.import_module(f"hivectl.commands.{_MODULES[name]}")
    found: list[click.Command] = [c for c in module.COMMANDS if c.name == name]
    return found[0]


def sections() -> dict[str, list[click.Command]]:
    """Return all commands by topic."""
    return {
        topic: [one for n in " ".join(modules.values()).split() if (one := find(n))]
        for topic, modules in TOPICS.items()
    }


class Group(click.Group):
    """A group whose error about an unknown command names the command that was meant."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command among the arguments, or say which one was meant."""
        if self.get_command(ctx, args[0]) is None and not ctx.resilient_parsing:
            if args[0].startswith("-"):
                raise click.NoSuchOption(args[0], ctx=ctx)
            meant = f" Did you mean {_MEANT[args[0]]}?" if args[0] in _MEANT else ""
            named = meant or hint(args[0], self.list_commands(ctx))
            raise click.UsageError(f"There is no command {args[0]!r}.{named}", ctx)
        return super().resolve_command(ctx, args)


class Main(Group):
    """hivectl itself: the help lists the commands by topic, and each is imported when it runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return names()

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command; its module is imported now."""
        return find(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands by topic."""
        columns = max(map(len, names()))
        for title, commands in sections().items():
            with formatter.section(title):
                formatter.write_dl(
                    [(f"{c.name:<{columns}}", c.get_short_help_str(limit=60)) for c in commands]
                )
