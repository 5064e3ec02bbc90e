# SPDX-License-Identifier: Apache-2.0
"""`lab/lab`: the verbs of the lab. What each does lives in the module that it calls."""

import json
import os
import signal
import sys
from dataclasses import replace

import click

from fairlead_lab import (
    aptsources,
    cluster,
    edges,
    faults,
    image,
    kubebuild,
    lifecycle,
    netns,
    report,
    traffic,
    uml,
)
from fairlead_lab.config import ConfigError, LabConfig
from fairlead_lab.preflight import PreflightError
from fairlead_lab.process import ProcessError

KNOWN_ERRORS = (
    netns.NetnsError,
    ProcessError,
    ConfigError,
    PreflightError,
    image.ImageError,
    aptsources.SourcesError,
    uml.UmlError,
    kubebuild.BuildError,
)
RAW = {"ignore_unknown_options": True, "allow_interspersed_args": False}
WHOLE = {**RAW, "help_option_names": []}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--name", help="Name of the lab (FAIRLEAD_LAB; default fl).")
@click.option("--index", type=int, help="Number of the lab's LAN (FAIRLEAD_LAB_INDEX; default 0).")
@click.pass_context
def cli(context: click.Context, name: str | None, index: int | None) -> None:
    """A whole Fairlead installation on this machine: cluster, edges, router, clients."""
    cfg = LabConfig.from_env()
    cfg = replace(cfg, name=name or cfg.name)
    if index is not None:
        cfg = replace(cfg, index=index)
    elif "FAIRLEAD_LAB_INDEX" not in os.environ or context.invoked_subcommand != "up":
        cfg = lifecycle.saved(cfg)
    context.obj = cfg


@cli.command()
@click.option("--only", type=click.Choice(lifecycle.PARTS), multiple=True, help="Just this part.")
@click.pass_obj
def up(cfg: LabConfig, only: tuple[str, ...]) -> None:
    """Bring the lab up; what stands already stays."""
    lifecycle.up(cfg, only or lifecycle.PARTS)


@cli.command()
@click.pass_obj
def prepare(cfg: LabConfig) -> None:
    """Build what `up` needs into the cache (minutes when cold), and start nothing."""
    lifecycle.prepare(cfg)


@cli.command()
@click.pass_obj
def down(cfg: LabConfig) -> None:
    """Take the lab down and remove all of it but the cache."""
    lifecycle.down(cfg)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@click.pass_obj
def status(cfg: LabConfig, as_json: bool) -> None:
    """What stands, what runs, which edges answer."""
    found = report.collect(cfg)
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        report.show(found)


@cli.command()
@click.argument("host")
@click.pass_obj
def shell(cfg: LabConfig, host: str) -> None:
    """A shell on a host: router, client, rclient, cp, node1.., edge1.., pod-...."""
    faults.enter(cfg, host, (), terminal=True)


@cli.command("exec", context_settings=RAW)
@click.argument("host")
@click.argument("argv", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_obj
def exec_(cfg: LabConfig, host: str, argv: tuple[str, ...]) -> None:
    """Run ARGV on HOST."""
    faults.enter(cfg, host, argv[1:] if argv[0] == "--" else argv, terminal=False)


@cli.command(context_settings=WHOLE)
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def kubectl(cfg: LabConfig, args: tuple[str, ...]) -> None:
    """Kubectl as the cluster's administrator."""
    program = kubebuild.ensure(cfg).path("kubectl")
    os.execv(program, ["kubectl", f"--kubeconfig={cfg.admin_kubeconfig}", *args])


@cli.command(context_settings=RAW)
@click.argument("edge")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def ssh(cfg: LabConfig, edge: str, command: tuple[str, ...]) -> None:
    """Log in to an edge as root, or run a COMMAND there (words are joined, as ssh does)."""
    argv = edges.ssh_argv(cfg, faults.edge_name(cfg, edge))
    os.execvp(argv[0], [*argv, *command])


@cli.command()
@click.argument("host")
@click.pass_obj
def cut(cfg: LabConfig, host: str) -> None:
    """Pull a host's cable."""
    faults.cable(cfg, host, plugged=False)


@cli.command()
@click.argument("host")
@click.pass_obj
def heal(cfg: LabConfig, host: str) -> None:
    """Put a host's cable back in."""
    faults.cable(cfg, host, plugged=True)


@cli.command()
@click.argument("host")
@click.argument("process")
@click.pass_obj
def kill(cfg: LabConfig, host: str, process: str) -> None:
    """SIGKILL a process of a host (on an edge: a unit, or a command's name)."""
    faults.kill(cfg, host, process)


@cli.command()
@click.argument("host")
@click.pass_obj
def freeze(cfg: LabConfig, host: str) -> None:
    """Bring an edge (or a process, by the name `status` has) to a standstill."""
    faults.freeze(cfg, host, frozen=True)


@cli.command()
@click.argument("host")
@click.pass_obj
def thaw(cfg: LabConfig, host: str) -> None:
    """Let it go on."""
    faults.freeze(cfg, host, frozen=False)


@cli.command()
@click.argument("edge")
@click.pass_obj
def reboot(cfg: LabConfig, edge: str) -> None:
    """Reboot an edge from within and wait until it answers again."""
    edges.reboot(cfg, faults.edge_name(cfg, edge))


@cli.command()
@click.argument("host")
@click.argument("state", type=click.Choice(["on", "off"]))
@click.pass_obj
def power(cfg: LabConfig, host: str, state: str) -> None:
    """Power of an edge or a node: off is pulling the plug, on waits until it answers."""
    if host in cfg.nodes:
        (cluster.node_revive if state == "on" else cluster.node_kill)(cfg, host)
    elif state == "off":
        edges.power_off(cfg, faults.edge_name(cfg, host))
    else:
        edges.start(cfg, faults.edge_name(cfg, host))
        edges.await_ssh(cfg, host)


@cli.command()
@click.argument("pod", metavar="NAMESPACE/NAME")
@click.argument("state", type=click.Choice(cluster.POD_READINESS))
@click.pass_obj
def pod(cfg: LabConfig, pod: str, state: str) -> None:
    """Override a Pod's readiness, or leave it to its probes again (auto)."""
    cluster.pod_ready(cfg, pod, state)


@cli.command()
@click.argument("state", type=click.Choice(["up", "down"]))
@click.pass_obj
def api(cfg: LabConfig, state: str) -> None:
    """Stop or start the API server."""
    (cluster.api_up if state == "up" else cluster.api_down)(cfg)


@cli.command("traffic", context_settings=WHOLE)
@click.option("--from", "host", default="client", show_default=True, help="Host that sends.")
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def traffic_(cfg: LabConfig, host: str, args: tuple[str, ...]) -> None:
    """Send traffic from a host and count the answers; `traffic --help` lists ARGS."""
    faults.enter(cfg, host, (sys.executable, "-m", traffic.__name__, *args), terminal=False)


def main() -> None:
    """Run a verb; failures that the lab knows become sentences."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        cli(prog_name="lab", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except KNOWN_ERRORS as error:
        print(f"lab: {error}", file=sys.stderr)
        sys.exit(1)
    except (KeyboardInterrupt, click.Abort):
        print("\nlab: stopped; `lab up` goes on from here, `lab down` clears up", file=sys.stderr)
        sys.exit(130)
