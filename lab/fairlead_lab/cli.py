# SPDX-License-Identifier: Apache-2.0
"""`lab/lab`: the verbs of the lab.

Each verb imports what it needs when it runs, so that a part that is broken or not installed does
not take the other verbs away.
"""

import os
import sys
from dataclasses import replace

import click

from fairlead_lab import netns
from fairlead_lab.config import ConfigError, LabConfig
from fairlead_lab.process import ProcessError

PARTS = ("network", "cluster", "edges")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--name", help="Name of the lab (FAIRLEAD_LAB; default fl).")
@click.option("--index", type=int, help="Number of the lab's LAN (FAIRLEAD_LAB_INDEX; default 0).")
@click.pass_context
def cli(context: click.Context, name: str | None, index: int | None) -> None:
    """A whole Fairlead installation on this machine: cluster, edges, router, clients."""
    try:
        cfg = LabConfig.from_env()
        cfg = replace(cfg, name=name or cfg.name, index=cfg.index if index is None else index)
    except ConfigError as error:
        raise click.UsageError(str(error)) from error
    context.obj = cfg


@cli.command()
@click.option("--only", type=click.Choice(PARTS), multiple=True, help="Just this part.")
@click.pass_obj
def up(cfg: LabConfig, only: tuple[str, ...]) -> None:
    """Bring the lab up; what stands already stays."""
    from fairlead_lab import lifecycle

    lifecycle.up(cfg, only or PARTS)


@cli.command()
@click.pass_obj
def down(cfg: LabConfig) -> None:
    """Take the lab down and remove all of it but the cache."""
    from fairlead_lab import lifecycle

    lifecycle.down(cfg)


@cli.command(context_settings={"ignore_unknown_options": True})
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def kubectl(cfg: LabConfig, args: tuple[str, ...]) -> None:
    """Kubectl as the cluster's administrator."""
    from fairlead_lab import kubebuild

    program = kubebuild.ensure(cfg).path("kubectl")
    os.execv(program, ["kubectl", f"--kubeconfig={cfg.admin_kubeconfig}", *args])


def main() -> None:
    """Run a verb; failures that the lab knows become one sentence."""
    try:
        cli(prog_name="lab")
    except (netns.NetnsError, ProcessError, ConfigError) as error:
        print(f"lab: {error}", file=sys.stderr)
        sys.exit(1)
