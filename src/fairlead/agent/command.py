# SPDX-License-Identifier: Apache-2.0
"""`fairlead agent --config FILE`."""

import logging
from pathlib import Path

import click

from fairlead.agent import logs
from fairlead.agent.config import load_config
from fairlead.model.errors import FairleadError


@click.command("agent")
@click.option(
    "--config",
    "config_path",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("/etc/fairlead/agent.yaml"),
    show_default=True,
    help="The agent's configuration file.",
)
def agent_command(config_path: Path) -> None:
    """Follow the cluster and keep this edge true to it, until SIGTERM.

    Leaves kernel and announcements as they are when it ends. SIGUSR1 writes its state to the log.
    """
    # Imported here: the client libraries take half a second that `fairlead plan` need not pay.
    from fairlead.agent.daemon import Agent  # noqa: PLC0415

    try:
        config = load_config(config_path)
        logs.set_up(config.log_level, config.log_format)
        agent = Agent(config)
    except FairleadError as error:
        raise click.ClickException(str(error)) from error
    try:
        agent.run()
    except Exception:
        logging.getLogger("fairlead").exception("agent died of a defect; systemd restarts it")
        raise
