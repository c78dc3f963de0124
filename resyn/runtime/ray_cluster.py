"""Getting hold of a Ray cluster."""

from __future__ import annotations

import logging
import os
from typing import Any

import ray

from resyn.errors import RunError

#: Ray's own lines would bury ours: usage reports, notes on authentication, C++ remarks. Each can
#: be had back by setting the variable.
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
#: Ray gives its agent fixed seconds to come up, which a busy machine may not grant.
_ATTEMPTS = 3


def ensure_ray(num_cpus: int | None = None, folder: str | None = None) -> None:
    """Use the Ray that this process has, else the one at RAY_ADDRESS, else start one here.

    A cluster started here serves this process alone: loopback only, no dashboard. `num_cpus` is
    its size, by default the machine's; `folder` holds its files, by default /tmp/ray (a long path
    breaks its sockets). Raises RunError when there is no Ray to be had.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    if ray.is_initialized():
        return
    if address := os.environ.get("RAY_ADDRESS"):
        if fault := _init({}):
            raise RunError(f"Ray at RAY_ADDRESS={address} cannot be reached ({fault})")
        return
    here = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    here |= {"num_cpus": num_cpus, "_temp_dir": folder}
    fault = ""
    for _ in range(_ATTEMPTS):
        fault = _init(here)
        if not fault:
            return
    raise RunError(f"Ray did not start on this machine ({fault}); run the same command again")


def _init(arguments: dict[str, Any]) -> str:
    """Initialise Ray; an empty string, or the first line of why it failed."""
    try:
        ray.init(logging_level=logging.ERROR, log_to_driver=False, **arguments)
    except Exception as error:  # Ray raises this very class
        ray.shutdown()
        return (str(error).strip() or type(error).__name__).splitlines()[0]
    return ""
