"""Prepares the host that this runs in: its model has the scenario, its broker is broker.py."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

UNITS: Final = Path("/run/systemd/system")
REPO: Final = Path(__file__).resolve().parents[2]
CHECKOUT: Final = "/run/hive-chaos"
PYTHON: Final = "/usr/lib/hyperhive/bin/python"
SCENARIO: Final = Path(__file__).with_name("scenario.toml").relative_to(REPO)

_MODEL: Final = f"""\
[Service]
ExecStart=
ExecStart={PYTHON} -m sandbox.model --host ${{MODEL_HOST}} --port ${{MODEL_PORT}} \
--scenario {SCENARIO} --scenario sandbox/model/demo.toml
"""
_BROKER: Final = f"""\
[Service]
BindReadOnlyPaths={REPO}:{CHECKOUT}
Environment=PYTHONPATH={CHECKOUT} PYTHONDONTWRITEBYTECODE=1
ExecStart=
ExecStart={PYTHON} -m bench.chaos.broker %s
"""


@contextmanager
def prepared(fault: str) -> Iterator[None]:
    """Prepare the scripted model and the broker; `fault` is the broker's, if any."""
    drop_ins = {"hive-model.service": _MODEL, "hive-broker.service": _BROKER % fault}
    files = [UNITS / f"{unit}.d/60-chaos.conf" for unit in drop_ins]
    try:
        for file, text in zip(files, drop_ins.values(), strict=True):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        _restart(*drop_ins)
        yield
    finally:
        for file in files:
            file.unlink(missing_ok=True)
        _restart(*drop_ins)


def _restart(*units: str) -> None:
    for command in (["daemon-reload"], ["reset-failed", *units], ["restart", *units]):
        subprocess.run(["systemctl", *command], check=True)
