# SPDX-License-Identifier: Apache-2.0
"""Log lines for journald: one line each, a severity that journald understands, fields as key=value.

Extra fields go in `extra={"fields": {...}}`; values from the cluster are quoted, so that a newline
in an annotation can't forge a line.
"""

import json
import logging
import sys
from typing import Any

from fairlead.agent.config import LogFormat, LogLevel

# sd-daemon(3): a "<n>" prefix sets the line's priority in the journal.
_PRIORITY = {
    logging.DEBUG: 7,
    logging.INFO: 6,
    logging.WARNING: 4,
    logging.ERROR: 3,
    logging.CRITICAL: 2,
}


class TextFormatter(logging.Formatter):
    """`<6>message key=value`; the journal adds time and unit."""

    def format(self, record: logging.LogRecord) -> str:
        """Render one record as one line."""
        text = " ".join(record.getMessage().splitlines())
        for key, value in _fields(record).items():
            shown = str(value)
            plain = shown and shown.isprintable() and not set(shown) & set(' "=')
            text += f" {key}={shown if plain else json.dumps(shown)}"
        if record.exc_info:
            text += " exception=" + json.dumps(self.formatException(record.exc_info))
        return f"<{_PRIORITY.get(record.levelno, 6)}>{text}"


class JsonFormatter(logging.Formatter):
    """One JSON object per line, for collectors that read the journal's MESSAGE."""

    def format(self, record: logging.LogRecord) -> str:
        """Render one record as one line."""
        line: dict[str, Any] = {
            "ts": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "caller": record.name,
            "msg": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields = getattr(record, "fields", None)
    return fields if isinstance(fields, dict) else {}


def set_up(level: LogLevel, form: LogFormat) -> None:
    """Send log lines to standard error; libraries only from WARNING up."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form is LogFormat.JSON else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("fairlead").setLevel(level.value.upper())
