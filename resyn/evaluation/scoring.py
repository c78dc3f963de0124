"""Values of the metrics on audio: those known from before, and the rest computed in parallel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from resyn.evaluation.cache import MetricCache
from resyn.evaluation.compare import Comparison, ParallelMap, compare
from resyn.evaluation.metrics import Score
from resyn.evaluation.plan import Plan
from resyn.evaluation.progress import Progress
from resyn.evaluation.synthesis import Take
from resyn.evaluation.systems import System
from resyn.evaluation.utterances import Utterance


@dataclass
class Entry:
    """An utterance on its way through an evaluation; hashes are those of `audio_sha256`."""

    utterance: Utterance
    sha256: str
    cache: MetricCache
    takes: Mapping[str, Take]
    take_sha256: Mapping[str, str]
    values: dict[str, dict[str, Score]] = field(default_factory=dict)


@dataclass
class Scorer:
    """Fills in the values of entries, and counts those that it `computed` and those `known`.

    `parallel_map` serves the metrics that are arithmetic, `model_map` those that run a model.
    """

    plan: Plan
    parallel_map: ParallelMap
    model_map: ParallelMap
    computed: int = 0
    known: int = 0

    def score(self, block: Sequence[Entry]) -> None:
        """Every metric on audio, of every system and entry, from the cache where it is there."""
        light: list[_Job] = []
        heavy: list[_Job] = []
        for entry in block:
            for system in self.plan.systems:
                unknown = self._look_up(entry, system)
                for jobs, modelled in ((light, False), (heavy, True)):
                    names = [n for n in unknown if (self.plan.ready[n].files is None) != modelled]
                    if names:
                        jobs.append(_Job(entry, system.key, tuple(names)))
        self._compute("metrics", light, self.parallel_map)
        self._compute("metrics that run a model", heavy, self.model_map)

    def summary(self) -> str:
        """What was done, in one line."""
        if not self.computed:
            return f"metrics: nothing to compute, all {self.known} values are in the cache"
        return f"metrics: {self.computed} values computed, {self.known} from the cache"

    def _look_up(self, entry: Entry, system: System) -> list[str]:
        """Put down what needs no computing; the names of the metrics that do."""
        values = entry.values.setdefault(system.key, {})
        unknown: list[str] = []
        for name in self.plan.audio_metrics(system):
            if reason := self.plan.ready[name].missing():
                values[name] = Score(value=None, reason=reason)
                continue
            score = entry.cache.get(entry.take_sha256[system.key], self.plan.metrics[name])
            if score is None:
                unknown.append(name)
            else:
                values[name] = score
                self.known += 1
        return unknown

    def _compute(self, title: str, jobs: Sequence[_Job], parallel_map: ParallelMap) -> None:
        progress = Progress(title, "comparisons", len(jobs))
        scored = parallel_map(compare, self._comparisons(jobs))
        for position, (job, scores) in enumerate(zip(jobs, scored, strict=True), 1):
            job.entry.values[job.system] |= scores
            self._remember(job, scores)
            if position == len(jobs) or jobs[position].entry is not job.entry:
                job.entry.cache.save()
            progress.advance()

    def _comparisons(self, jobs: Iterable[_Job]) -> Iterable[Comparison]:
        for job in jobs:
            utterance, estimate = job.entry.utterance, job.entry.takes[job.system].audio
            metrics = tuple(self.plan.ready[name] for name in job.metrics)
            yield Comparison(utterance.audio, estimate, metrics, utterance.text)

    def _remember(self, job: _Job, scores: Mapping[str, Score]) -> None:
        """A model's failure may be the machine's, so it is tried again next time."""
        for name, score in scores.items():
            self.computed += 1
            if score.value is not None or self.plan.ready[name].files is None:
                info = self.plan.metrics[name]
                job.entry.cache.put(job.entry.take_sha256[job.system], info, score)


@dataclass(frozen=True, slots=True)
class _Job:
    """What is still to be computed of one take."""

    entry: Entry
    system: str
    metrics: tuple[str, ...]
