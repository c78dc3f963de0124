"""The verb `encode`: plan, encode what is not committed, audit, report."""

from __future__ import annotations

from resyn.codec import Codec, load_codec
from resyn.config.encode import EncodeConfig
from resyn.data.audit import AuditReport, audit
from resyn.data.job import JOB_FILE, Job, Recipe, open_job, resolve
from resyn.data.lease import Lease
from resyn.data.ledger import committed_units, other_arithmetic, read_records
from resyn.data.plan import Planner, PlanSettings
from resyn.data.report import PlanProgress, Progress, check_quarantine, closing_lines, plan_lines
from resyn.data.schema import PAYLOADS
from resyn.data.sources import open_source
from resyn.data.units import WorkUnit
from resyn.errors import RunError, UserError
from resyn.storage import open_storage
from resyn.storage_faults import explained


def run(config: EncodeConfig, full_audit: bool = False) -> None:
    """Encode `config.input` to `config.output`; resumes. `full_audit` hashes every shard.

    Raises UserError for a wrong call or an output on which another run works, RunError when units
    fail, when the audit finds a fault, or when too much was refused.
    """
    config.check()
    config = config.resolved()
    if config.device == "cuda":
        _check_device(config)
    codec = _load_codec(config)
    source, output = open_storage(config.input), open_storage(config.output)
    recipe = resolve(_recipe(config, codec), source)
    with explained(f"--output {config.output}"), Lease(output, config.lease_seconds) as lease:
        job = open_job(source, output, recipe, codec, PlanProgress())
        units = job.pending()
        if units:
            print(plan_lines(job.summary, codec.spec, config.columns), flush=True)
            if len(units) < job.summary.units:
                print(f"resuming: {job.summary.units - len(units)} units are committed", flush=True)
            _encode(job, config, units, lease)
        closing = closing_lines(read_records(output), job.summary)
        print(closing if units else f"nothing to do: {closing} are complete")
        report = audit_output(config.output, contents=full_audit)
        check_quarantine(report, config.max_quarantine, config.output)


def _check_device(config: EncodeConfig) -> None:
    """Before any work: planning alone may take hours."""
    from resyn.runtime.codec_actors import offered, plan_actors

    plan_actors(config, offered(), num_units=1)


def _load_codec(config: EncodeConfig) -> Codec:
    """The codec for its identity; it is the actors' that encode."""
    return load_codec(config.codec, config.codec_weights, cache=config.weights_cache)


def _encode(job: Job, config: EncodeConfig, units: list[WorkUnit], lease: Lease) -> None:
    from resyn.runtime.codec_actors import offered, plan_actors
    from resyn.runtime.ray_cluster import ensure_ray
    from resyn.runtime.ray_data import encode_units, stage_workers

    ensure_ray()
    actors = plan_actors(config, offered(), len(units))
    print(actors, flush=True)
    if difference := other_arithmetic(job.output, actors.arithmetic):
        print(
            f"warning: {config.output}: units are committed that were encoded otherwise "
            f"({difference}); nearly all tokens of the two ways agree, but not bit by bit: for the "
            "same bits throughout encode with the same settings, or to a new --output",
            flush=True,
        )
    progress = Progress(len(units), sum(unit.seconds for unit in units), stage_workers(actors))
    warned: set[str] = set()
    for unit in encode_units(job, config, units, actors):
        lease.check()
        for warning in set(unit.warnings) - warned:
            print(f"warning: {warning}", flush=True)
        warned.update(unit.warnings)
        print(progress.line(unit.record, unit.busy), flush=True)
    print(progress.closing())


def show_plan(config: EncodeConfig) -> None:
    """Print the settings and what they would do; writes nothing."""
    from resyn.runtime.codec_actors import offered, plan_actors

    config.check()
    config = config.resolved()
    print(config.to_yaml())
    codec = _load_codec(config)
    root = open_storage(config.input)
    recipe = resolve(_recipe(config, codec), root)
    source = open_source(root, recipe.plan.source, recipe.plan.allowed_root)
    source.check()
    planner = Planner(source, recipe.plan, lambda refusal: None, PlanProgress())
    for _ in planner.units():
        pass
    print(plan_lines(planner.summary, codec.spec, config.columns))
    print(plan_actors(config, offered(), planner.summary.units))
    done = len(committed_units(open_storage(config.output)))
    print(f"recipe {recipe.fingerprint}; {done} units are committed in {config.output}")


def audit_output(uri: str, contents: bool = True) -> AuditReport:
    """Check an output and print the verdict. Raises RunError when anything is amiss."""
    if not uri:
        raise UserError("--output is missing: name the folder to audit")
    output = open_storage(uri)
    if not output.exists(JOB_FILE):
        raise UserError(f"--output {uri}: has no {JOB_FILE}; encode into it first")
    report = audit(output, contents)
    print(report)
    if not report.clean:
        shown = "; ".join(report.problems[:3])
        raise RunError(f"{uri}: {len(report.problems)} faults found by the audit: {shown}")
    return report


def _recipe(config: EncodeConfig, codec: Codec) -> Recipe:
    columns = tuple(name for name in PAYLOADS if name in config.columns)
    assert config.segment_seconds is not None
    plan = PlanSettings(
        config.source,
        config.segment_seconds,
        config.unit_minutes,
        config.split,
        config.cut_by_vad,
        config.allowed_root,
    )
    return Recipe(codec.spec, columns, plan, config.precision)
