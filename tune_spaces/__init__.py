"""What a sweep varies: one file per method, dotted setting to distribution, and nothing else.

`SPACE` holds the distributions, `METRIC` names the figure that a sweep makes small. `FURTHER` holds
settings that a sweep varies only when told to (`tune.py --also`).
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from ray.tune.search.sample import Domain

#: Methods that have a search space.
NAMES = tuple(sorted(module.name for module in iter_modules(__path__)))


def search_space(method: str) -> tuple[dict[str, Domain], str]:
    """`SPACE` and `METRIC` of `method`, one of `NAMES`."""
    module = import_module(f"{__name__}.{method}")
    return module.SPACE, module.METRIC


def further_space(method: str) -> dict[str, Domain]:
    """`FURTHER` of `method`, one of `NAMES`; empty where it has none."""
    return getattr(import_module(f"{__name__}.{method}"), "FURTHER", {})
