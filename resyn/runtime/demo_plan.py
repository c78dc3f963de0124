"""What a demo will make and what of it is there, for `--dry-run`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from resyn.codec import load_codec
from resyn.config.train import TrainConfig
from resyn.corpus import recorded
from resyn.data.job import JOB_FILE
from resyn.data.ledger import committed_units
from resyn.data.plan import read_units
from resyn.data.report import projected_bytes, show_bytes
from resyn.errors import UserError
from resyn.evaluation.results import load_results
from resyn.storage import open_storage
from resyn.training.plan import plan_training

if TYPE_CHECKING:
    from resyn.runtime.demo import Demo


def describe_stages(demo: Demo) -> Iterator[str]:
    """Size and state of every stage of `demo`, in order, each in a line; writes nothing.

    Raises UserError where the real run would: for a folder that holds another demo's parts.
    """
    config = demo.config
    yield f"{config.minutes / 60:.2f} h to train on; {_speech(demo)}"
    encoding = demo.encode_config()
    shards = math.ceil(config.minutes / encoding.unit_minutes)
    spec = load_codec(config.codec).spec
    size = show_bytes(projected_bytes(spec, encoding.columns, 60 * config.minutes))
    units, encoded = _encoded(demo.shards)
    yield f"about {shards} shards, {size}; {units}"
    for method in config.methods:
        yield _training(demo.train_config(method), encoded)
    scored = min(config.scored_utterances, config.eval_utterances)
    known = load_results(open_storage(str(demo.root)))
    page = "a page is there" if known else "not yet"
    yield f"{scored} utterances, NFE {', '.join(map(str, config.nfe))}; {page}"
    made = len(list((demo.root / "resynthesised").glob("*.wav")))
    yield f"{config.spoken} utterances; {_state(made, config.spoken)}"


def _speech(demo: Demo) -> str:
    config = demo.config
    wanted = {
        "librilight": {"minutes": config.minutes, "seed": config.seed},
        "librispeech": {"utterances": config.eval_utterances, "seed": config.seed},
    }
    complete = [_is_there(demo.corpus / name, values) for name, values in wanted.items()]
    return f"{config.eval_utterances} utterances to evaluate on; {_state(sum(complete), 2)}"


def _is_there(root: Path, wanted: dict[str, float]) -> bool:
    found = recorded(root)
    if found is None:
        return False
    for name, value in wanted.items():
        if found[0][name] != value:
            raise UserError(
                f"{root}: holds a corpus made with {name}={found[0][name]}, not {value}; "
                "delete that folder or name another --output"
            )
    return True


def _encoded(shards: str) -> tuple[str, bool]:
    """How far encoding is, and whether it is complete."""
    output = open_storage(shards)
    if not output.exists(JOB_FILE):
        return "not yet", False
    units, done = len(read_units(output)), len(committed_units(output))
    return _state(done, units), done == units


def _training(config: TrainConfig, encoded: bool) -> str:
    if not encoded:
        return f"{config.steps} steps; not yet"
    plan = plan_training(config)
    state = _state(plan.done_steps, config.steps)
    return f"{config.steps} steps, {plan.parameters / 1e6:.1f}M parameters; {state}"


def _state(done: int, whole: int) -> str:
    if done >= whole:
        return "complete"
    return f"{done} of {whole} done" if done else "not yet"
