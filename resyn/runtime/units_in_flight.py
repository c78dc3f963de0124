"""Bounds on the work units that Ray Data has under way.

One on all of them, and so on what its object store holds; one on those begun by an actor, which
are what a killed driver has encoded in vain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ray.data import DataContext, Dataset
from ray.data._internal.execution.backpressure_policy import (
    ENABLED_BACKPRESSURE_POLICIES,
    ENABLED_BACKPRESSURE_POLICIES_CONFIG_KEY,
)
from ray.data._internal.execution.backpressure_policy.backpressure_policy import (
    BackpressurePolicy,
)
from ray.data._internal.execution.operators.map_operator import MapOperator

if TYPE_CHECKING:
    from ray.data._internal.execution.resource_manager import ResourceManager
    from ray.data._internal.execution.streaming_executor_state import Topology

_PER_ACTOR_KEY = "resyn.units_per_actor"
#: Units of an actor from the start of their encoding to the end of a commit that is a step of its
#: own: one encoded and one committed. With one alone, actors would wait for every commit.
_BEGUN_PER_ACTOR = 2


def bound_units(dataset: Dataset, per_actor: int) -> None:
    """Let at most `per_actor` x (running actors, at least 1) units of `dataset` be under way.

    A unit is one row and one task of every step; it is under way from the start of its first
    step's task to the end of its last step's. Where another step follows that of the actors, two
    units per actor may have been given to it; a last step of actors is theirs to the end. Ray's own
    bounds, which count bytes, hold besides.
    """
    policies = [*ENABLED_BACKPRESSURE_POLICIES, UnitsInFlight]
    dataset.context.set_config(ENABLED_BACKPRESSURE_POLICIES_CONFIG_KEY, policies)
    dataset.context.set_config(_PER_ACTOR_KEY, per_actor)


class UnitsInFlight(BackpressurePolicy):
    """Holds back the first step, and that of the actors, while as many units are under way."""

    def __init__(
        self,
        data_context: DataContext,
        topology: Topology,
        resource_manager: ResourceManager,
    ) -> None:
        super().__init__(data_context, topology, resource_manager)
        self._per_actor: int = data_context.get_config(_PER_ACTOR_KEY)
        steps = [operator for operator in topology if isinstance(operator, MapOperator)]
        self._first, self._last = steps[0], steps[-1]
        self._pools = steps[1].get_autoscaling_actor_pools()
        # While nothing runs, Ray starts a task against the word of every policy, again and again
        # as long as actors load their codec or wait for a machine. The operator's own word counts.
        self._hold(self._first, self._per_actor)
        for step in steps[1:-1]:
            self._hold(step, _BEGUN_PER_ACTOR)

    def _hold(self, step: MapOperator, per_actor: int) -> None:
        """Let `step` have at most `per_actor` units per actor from its start to the last step."""
        accepts = step.can_add_input

        def has_room() -> bool:
            actors = max(1, sum(pool.num_running_actors() for pool in self._pools))
            ended = self._last.metrics.num_tasks_finished
            return step.metrics.num_tasks_submitted - ended < per_actor * actors

        step.can_add_input = lambda: accepts() and has_room()
