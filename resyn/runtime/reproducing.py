"""The work behind `pipelines/reproduce.py`: train what is missing, evaluate, set side by side."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import resyn
from resyn.config.reproduce import ReproduceConfig
from resyn.config.train import TrainConfig
from resyn.errors import UserError
from resyn.evaluation.paper import load_paper
from resyn.evaluation.reproduction import (
    ModelFacts,
    Reproduction,
    table1_rows,
    table2_rows,
    write_findings,
)
from resyn.evaluation.reproduction_page import PAGE, write_reproduction
from resyn.evaluation.results import Results
from resyn.runtime import evaluating
from resyn.runtime.demo import Demo
from resyn.runtime.ray_train import fit
from resyn.runtime.reproduction_plan import (
    PAPER_CODEC,
    best_mark,
    describe_training,
    differences,
    model_facts,
)
from resyn.runtime.stages import Stage, list_stages, run_stages, say
from resyn.storage import open_storage
from resyn.training.settings import train_config

#: Folders of the two evaluations, and of the page, below the output.
FULL, SUBSET, FOLDER = "reproduction/full", "reproduction/subset", "reproduction"


class Reproducer:
    """The places of one reproduction and its stages, in the order of `run`."""

    def __init__(self, config: ReproduceConfig) -> None:
        self.config = config
        self.evaluations: dict[str, Results] = {}

    @cached_property
    def demo(self) -> Demo:
        """The demo whose speech, shards and runs the demo scale shares."""
        changed = {"output": self.config.output, "seed": self.config.seed}
        return Demo(self.config.demo.model_copy(update=changed))

    @property
    def small(self) -> bool:
        """True at demo scale."""
        return self.config.scale == "demo"

    @property
    def shards(self) -> str:
        """Training data."""
        return self.demo.shards if self.small else self.config.shards

    @property
    def speech(self) -> str:
        """Evaluation data."""
        return str(self.demo.corpus / "librispeech") if self.small else self.config.evaluate.input

    @property
    def subset_in_words(self) -> str:
        """Table 2's smaller set."""
        if self.config.subset_shards:
            return f"the shards {Path(self.config.subset_shards).name}"
        return f"1/{1 / self.config.subset:.3g} of the training speech, as whole segments"

    @property
    def methods(self) -> tuple[str, ...]:
        """Methods whose models are needed: none for Fig. 2, which is of the codec alone."""
        return self.config.methods if set(self.config.what) != {"fig2"} else ()

    def stages(self) -> list[Stage]:
        """Headings and what they do."""
        methods = self.methods
        ablated = methods if "table2" in self.config.what else ()
        made: list[Stage] = []
        if self.small:
            made.append(("synthetic speech", self.demo.speak))
            made.append((f"encode with {self.demo.config.codec}", self.demo.encode))
        for method in methods:
            made.append((f"train {method}", lambda m=method: self.train(m, subset=False)))
        for method in ablated:
            title = f"train {method} on {self.subset_in_words}"
            made.append((title, lambda m=method: self.train(m, subset=True)))
        made.append(("evaluate", lambda: self.evaluate(methods, subset=False)))
        if ablated:
            title = "evaluate what little data made"
            made.append((title, lambda: self.evaluate(ablated, subset=True)))
        return [*made, ("tables, figures and page", self.write)]

    def run(self) -> None:
        """All stages; one that is complete says so and costs nothing."""
        needed = {"shards": self.shards or not self.methods, "input": self.speech}
        if missing := [flag for flag, given in needed.items() if not given]:
            raise UserError(f"--{missing[0]}: the paper scale needs it; --scale demo makes its own")
        run_stages(self.stages())

    def train_config(self, method: str, *, subset: bool) -> TrainConfig:
        """The preset's settings with the places and the data of one model."""
        if method not in self.config.steps:
            raise UserError(f"steps.{method}: not given; name the optimiser steps of {method}")
        config, apart = self.config, subset and bool(self.config.subset_shards)
        tracking = config.tracking
        return train_config(
            config.preset,
            {
                "method.name": method,
                "shards": config.subset_shards if apart else self.shards,
                "output": self.place(run_folder(method, subset)),
                "subset": config.subset if subset and not apart else 1.0,
                "steps": (config.subset_steps if subset else {}).get(method, config.steps[method]),
                "seed": config.seed,
                "run": config.run.model_dump(mode="json"),
                "tracking": tracking.model_dump(mode="json"),
                "tracking.uri": tracking.uri or (self.demo.store if self.small else None),
            },
        )

    def place(self, name: str) -> str:
        """A folder below the output, as the user named that, since pages may be published."""
        return f"{self.config.output.rstrip('/')}/{name}"

    def train(self, method: str, *, subset: bool) -> None:
        """Train one model, or find it trained."""
        fit(self.train_config(method, subset=subset), say=say)

    def scored(self, method: str, *, subset: bool) -> str:
        """The run whose model is scored, `@best` where that is its best checkpoint.

        A run without validation has no best one, and is scored at its last.
        """
        run = self.place(run_folder(method, subset))
        best = subset and method in self.config.subset_best and best_mark(run)
        return f"{run}@best" if best else run

    def evaluate(self, methods: tuple[str, ...], *, subset: bool) -> None:
        """Score the models that one set of data made, all with one codec on one set of speech."""
        config = self.config
        runs = [self.scored(method, subset=subset) for method in methods]
        alone = config.demo.codec if self.small else PAPER_CODEC.name
        changed = {"nfe": config.subset_nfe, "samples_on_page": 0} if subset else {}
        self.evaluations[SUBSET if subset else FULL] = evaluating.run(
            config.evaluate.model_copy(
                update={
                    "model": tuple(runs),
                    "input": self.speech,
                    "output": self.place(SUBSET if subset else FULL),
                    "seed": config.seed,
                    "codec": config.evaluate.codec or (None if runs else alone),
                    **changed,
                }
            )
        )

    def write(self) -> None:
        """Page, Markdown and JSON from the evaluations."""
        full, subset = self.evaluations[FULL], self.evaluations.get(SUBSET)
        paper, what, models = load_paper(), self.config.what, self.models(full)
        made = Reproduction(
            resyn_version=resyn.__version__,
            scale=self.config.scale,
            what=what,
            subset=self.subset_in_words,
            differences=tuple(differences(self.config, full, subset, models)),
            paper=paper,
            models=tuple(models),
            findings=write_findings(what, full, subset),
            table1=table1_rows(paper, full),
            table2=() if subset is None else table2_rows(paper, full, subset),
            evaluations={place: one.fingerprint for place, one in self.evaluations.items()},
        )
        folder = open_storage(self.place(FOLDER))
        write_reproduction(folder, made, full, {"To listen to": "full/index.html"})
        for finding in made.findings:
            say(f"- {finding.verdict} ({finding.source}): {finding.claim}")
            for text in finding.evidence:
                say(f"    {text}")
        say(f"\npage   {folder.path(PAGE)}")

    def models(self, full: Results) -> list[ModelFacts]:
        """What was trained, in the order of the tables."""
        trained = [False, True] if SUBSET in self.evaluations else [False]
        methods = [model.method for model in full.models]
        return [
            model_facts(
                run_folder(m, subset),
                self.train_config(m, subset=subset),
                subset=subset,
                best=self.scored(m, subset=subset).endswith("@best"),
            )
            for subset in trained
            for m in methods
        ]

    def describe(self) -> str:
        """The plan for `--dry-run`: stages, and what training will take."""
        return "\n".join(self._described())

    def _described(self) -> Iterator[str]:
        yield f"output  {self.config.output}"
        yield from list_stages(self.stages())
        for subset in (False, True) if "table2" in self.config.what else (False,):
            for method in self.methods:
                config = self.train_config(method, subset=subset)
                yield f"\n{run_folder(method, subset)}"
                yield from describe_training(config)


def run_folder(method: str, subset: bool) -> str:
    """Below the output; the demo's own place for a model of all data."""
    return f"runs/{method}-subset" if subset else f"runs/{method}"
