# SPDX-License-Identifier: Apache-2.0
"""`fairlead`: one command, verbs loaded when they are called.

`fairlead plan` must start fast and offline, so nothing here imports the Kubernetes client or
netlink; each verb names the module that brings it.
"""

from collections.abc import Mapping
from importlib import import_module

import click

from fairlead import __version__
from fairlead.model.errors import FairleadError

VERBS: Mapping[str, tuple[str, str]] = {
    "agent": (
        "fairlead.agent.command:agent_command",
        "Keep this edge true to the cluster (a service).",
    ),
    "plan": ("fairlead.cli.plan:plan", "Show what a cluster becomes, why, and what a change does."),
    "status": ("fairlead.cli.status:status_command", "Show what this edge carries now."),
    "version": ("fairlead.cli.main:version", "Print the version."),
}
"""Verb -> (module:attribute, short help)."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """Names of all verbs."""
        return sorted(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # click's signature
        """Import one verb."""
        if cmd_name not in VERBS:
            return None
        module, _, attribute = VERBS[cmd_name][0].partition(":")
        command = getattr(import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{VERBS[cmd_name][0]} is not a command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  # click's signature
        """List the verbs without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, VERBS[name][1]) for name in sorted(VERBS)])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(version)s")
def cli() -> None:
    """Load balancer for bare-metal Kubernetes on dedicated edge machines."""


@click.command()
def version() -> None:
    """Print the version."""
    click.echo(__version__)


def main() -> None:
    """Entry point: errors that an operator can act on end as one sentence and exit status 1."""
    try:
        cli(prog_name="fairlead")
    except FairleadError as error:
        click.echo(f"fairlead: {error}", err=True)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
