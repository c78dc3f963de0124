"""Use of this machine over a run: CPU, memory, disk, network and GPUs, by MLflow's monitors."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from mlflow.system_metrics.metrics.base_metrics_monitor import BaseMetricsMonitor
from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

#: Seconds between samples; MLflow's own.
INTERVAL_SECONDS = 10.0


class SystemMonitor:
    """Samples in a thread and tells means, as `system/…`, at most once a training step.

    MLflow's own monitor would talk to the store by itself, and give up when it cannot. `step` is
    asked for the current one; `tell(metrics, step)` gets the figures.
    """

    def __init__(
        self,
        tell: Callable[[Mapping[str, float], int], None],
        step: Callable[[], int],
        interval: float = INTERVAL_SECONDS,
    ) -> None:
        self._tell, self._step, self._interval = tell, step, interval
        self._monitors = _monitors()
        self._stopped = threading.Event()
        threading.Thread(target=self._work, name="system-metrics", daemon=True).start()

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()

    def _work(self) -> None:
        told = self._step()
        self._sample()  # The first use of a CPU is one since nothing, so it is thrown away.
        self._clear()
        while not self._stopped.wait(self._interval):
            self._sample()
            step = self._step()
            if step > told:
                means = {k: v for monitor in self._monitors for k, v in _means(monitor).items()}
                self._tell(means, step)
                self._clear()
                told = step

    def _sample(self) -> None:
        for monitor in self._monitors:
            monitor.collect_metrics()

    def _clear(self) -> None:
        for monitor in self._monitors:
            monitor.clear_metrics()


def _monitors() -> list[BaseMetricsMonitor]:
    """Those that work here; that of GPUs needs a GPU."""
    found: list[BaseMetricsMonitor] = []
    for kind in (CPUMonitor, DiskMonitor, NetworkMonitor, GPUMonitor):
        try:
            monitor = kind()
            monitor.collect_metrics()
        except Exception:  # Whatever a container hides from them.
            continue
        found.append(monitor)
    return found


def _means(monitor: BaseMetricsMonitor) -> dict[str, float]:
    figures: Any = monitor.aggregate_metrics()
    return {f"system/{name}": value for name, value in figures.items()}
