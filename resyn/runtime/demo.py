"""The work behind `pipelines/demo.py`: every stage of the line, each resuming by itself."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import numpy as np

from resyn.config.demo import DemoConfig
from resyn.config.encode import EncodeConfig
from resyn.config.evaluate import EvaluateConfig, EvaluateRunSettings
from resyn.config.register import RegisterConfig
from resyn.config.resynthesize import ResynthesizeConfig
from resyn.config.train import TrainConfig
from resyn.corpus import write_librilight, write_librispeech
from resyn.data.shards import ShardReader
from resyn.runtime import encoding, evaluating
from resyn.runtime.demo_plan import describe_stages
from resyn.runtime.promotion import promote
from resyn.runtime.ray_train import fit
from resyn.runtime.resynthesizing import resynthesize_all
from resyn.runtime.stages import Stage, list_stages, run_stages, say
from resyn.training.settings import train_config

CHAMPION = "models:/resyn-sb@champion"


class Demo:
    """The places of one demo and its stages, in the order of `run`."""

    def __init__(self, config: DemoConfig) -> None:
        self.config = config
        self.root = Path(config.output).absolute()
        self.corpus = self.root / "corpus"
        self.shards = str(self.root / "shards")
        self.store = f"sqlite:///{self.root / 'mlflow.db'}"

    def stages(self) -> list[Stage]:
        """Headings and what they do."""
        return [
            ("synthetic speech", self.speak),
            (f"encode with {self.config.codec}", self.encode),
            *((f"train {m}", lambda m=m: self.train(m)) for m in self.config.methods),
            ("evaluate on held-out voices", self.evaluate),
            (f"resynthesise with {CHAMPION}", self.resynthesize),
        ]

    def run(self) -> None:
        """All stages; one that is complete says so and costs nothing."""
        run_stages(self.stages())
        self._close()

    def speak(self) -> None:
        """Training speech by many voices, evaluation speech by others."""
        seed = self.config.seed
        trained = write_librilight(
            self.corpus / "librilight", minutes=self.config.minutes, seed=seed
        )
        held = write_librispeech(
            self.corpus / "librispeech", utterances=self.config.eval_utterances, seed=seed
        )
        for name, summary in (("training", trained), ("evaluation", held)):
            minutes = summary.seconds / 60
            print(f"{name}: {summary.files} files, {minutes:.1f} min, {summary.speakers} voices")

    def encode_config(self) -> EncodeConfig:
        """Training speech to token shards."""
        return EncodeConfig(
            input=str(self.corpus / "librilight"),
            output=self.shards,
            codec=self.config.codec,
            columns=("codes", "z"),
            unit_minutes=3.0,
        )

    def encode(self) -> None:
        """Encode what is not encoded yet."""
        encoding.run(self.encode_config(), full_audit=False)

    def train_config(self, method: str) -> TrainConfig:
        """The preset's settings with the demo's places."""
        return train_config(
            self.config.preset,
            {
                "method.name": method,
                "shards": self.shards,
                "output": str(self.root / "runs" / method),
                "steps": self.config.steps[method],
                "seed": self.config.seed,
                "run.threads_per_worker": self.config.threads,
                "tracking.uri": self.store,
                "tracking.experiment": "demo",
            },
        )

    def train(self, method: str) -> None:
        """Train with Ray Train and DeepSpeed, then register; the best becomes champion."""
        result = fit(self.train_config(method), say=say)
        promote(
            RegisterConfig(
                run=result.run_id,
                model=None if result.run_id else result.checkpoint,
                name=f"resyn-{method}",
                alias="champion",
                if_better="validation_latent_error",
                tracking_uri=self.store,
            ),
            say=say,
        )

    def evaluate(self) -> None:
        """Table, figures and page."""
        config = EvaluateConfig(
            model=tuple(f"models:/resyn-{m}@champion" for m in self.config.methods),
            input=str(self.corpus / "librispeech"),
            output=str(self.root),
            nfe=self.config.nfe,
            max_utterances=self.config.scored_utterances,
            tracking_uri=self.store,
            run=EvaluateRunSettings(threads=self.config.threads),
        )
        evaluating.run(config)

    def resynthesize(self) -> None:
        """Coarse codes from the shards, spoken by the registered champion."""
        reader = ShardReader(self.shards)
        folder = self.root / "coarse"
        folder.mkdir(exist_ok=True)
        for index in range(min(self.config.spoken, len(reader))):
            codes = reader.read(index, ["codes"]).codes
            assert codes is not None
            np.save(folder / f"{index:03d}.npy", codes[:1])
        resynthesize_all(
            ResynthesizeConfig(
                model=CHAMPION,
                input=str(folder),
                output=str(self.root / "resynthesised"),
                tracking_uri=self.store,
                threads=self.config.threads,
            ),
            anew=True,
        )

    def describe(self) -> str:
        """The plan for `--dry-run`."""
        lines = zip(list_stages(self.stages()), describe_stages(self), strict=True)
        return "\n".join([f"output  {self.root}", *(f"{title}: {what}" for title, what in lines)])

    def _close(self) -> None:
        table = (self.root / "table.md").read_text()
        print(f"\n{table}\npage   {self.root / 'index.html'}")
        print("the registered model, from anywhere on this machine:\n")
        print(f"  {load_line(self.store)}\n")


def load_line(store: str) -> str:
    """One shell line that makes a waveform of random coarse codes with the champion.

    It names this process's interpreter, so no environment has to be activated.
    """
    python = (
        "import mlflow, numpy; "
        f'mlflow.set_tracking_uri("{store}"); '
        f'model = mlflow.pyfunc.load_model("{CHAMPION}"); '
        "codes = numpy.random.randint(0, 1024, (1, 150)); "
        'print(model.predict(codes, params={"nfe": 4, "seed": 0}).shape)'
    )
    return f"{shlex.quote(sys.executable)} -c {shlex.quote(python)}"
