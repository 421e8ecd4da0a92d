"""Each contradiction is refused at its key, and a valid neighbour of it is accepted."""

from __future__ import annotations

from typing import Any

import pytest

BANK = ["data.kind=sine_bank"]
SEGMENTS = ["data.kind=random_segments"]
HELD = ["data.validation_share=0.1", "training.validation.every=1"]
CLASSES = "model.output=categorical"
TEXT = "data={kind: text, path: a.txt}"
BINS = "data={kind: quantized, source: {kind: windowed_sine}}"
STAGE = "{optimizer: {kind: sgd}, training: {steps: 1}}"
ENDLESS = [*HELD, "training.steps=null", "training.early_stopping.patience=3"]

# the key at fault, the overrides that contradict each other, what resolves it
CASES = [
    ("training.clip", ["optimizer.kind=lbfgs", "training.clip.norm=1"], "training.clip=null"),
    ("training.clip", ["optimizer.kind=lbfgs", "training.clip.norm=1"], "optimizer.kind=adamw"),
    ("training.clip", ["training.clip={}"], "training.clip.value=1"),
    ("training.clip", ["training.clip={norm: 1, value: 1}"], "training.clip.value=null"),
    ("optimizer.nesterov", ["optimizer={kind: sgd, nesterov: true}"], "optimizer.momentum=0.9"),
    ("training.epochs", ["training.epochs=2"], "training.steps=null"),
    ("training.epochs", [*SEGMENTS, "training.steps=null", "training.epochs=2"], "data.kind=windowed_sine"),
    ("training.steps", ["training.steps=null"], "training.epochs=3"),
    ("training.steps", [*HELD, "training.steps=null"], "training.early_stopping.patience=3"),
    ("schedule.length", [*ENDLESS, "schedule.kind=one_cycle"], "training.steps=9"),
    ("schedule.length", [*ENDLESS, "schedule.kind=cosine"], "schedule.length=9"),
    ("schedule.length", [*ENDLESS, "schedule.kind=cosine"], "training.epochs=9"),
    ("schedule.length", ["schedule={kind: one_cycle, length: 4}"], "schedule.length=5"),
    ("schedule.warmup_steps", ["schedule={kind: one_cycle, warmup_steps: 2}"], "schedule.warmup_steps=0"),
    ("schedule.warmup_steps", ["schedule={kind: constant, warmup_steps: 5}"], "schedule.warmup_steps=4"),
    ("schedule.warmup_steps", ["schedule={kind: cosine, length: 3, warmup_steps: 3}"], "schedule.length=4"),
    ("schedule.kind", ["schedule.kind=plateau", "data.validation_share=0.1"], "training.validation.every=1"),
    ("training.early_stopping", ["training.early_stopping={}", "data.validation_share=0.1"], "training.validation={}"),
    ("training.validation", ["training.validation={}"], "data.validation_share=0.1"),
    ("training.validation", [*BANK, "training.validation={}"], "data.validation_sequences=2"),
    ("training.rollout", ["training.rollout.steps=2"], "training.loss=every_step"),
    ("training.rollout", [*BANK, "training.rollout.steps=2", "training.loss=last_step"], "training.loss=every_step"),
    (
        "training.rollout.start",
        [*ENDLESS, "training.loss=every_step", "training.rollout={steps: 2, start: 0.5}"],
        "training.rollout.start=0",
    ),
    (
        "training.rollout.curriculum",
        [*BANK, "training.rollout={start: 0.5, curriculum: [{start: 0.5, steps: 2}]}"],
        "training.rollout.curriculum.0.start=0.6",
    ),
    (
        "training.rollout.timesteps",
        [*BANK, "training.warmup=3", "training.rollout.timesteps=3"],
        "training.rollout.timesteps=4",
    ),
    ("training.epochs", ["training={epochs: 2, fixed_batch: true}"], "training.fixed_batch=false"),
    (
        "optimizer.kind",
        [BINS, CLASSES, "optimizer.kind=levenberg_marquardt"],
        "optimizer.kind=lbfgs",
    ),
    (
        "then.1.training.clip",
        [f"then=[{STAGE}, {{optimizer: {{kind: lbfgs}}, training: {{steps: 1, clip: {{norm: 1}}}}}}]"],
        "then.1.training.clip=null",
    ),
    ("then.0.training.steps", [f"then=[{STAGE}]", "then.0.training.steps=null"], "then.0.training.epochs=2"),
    ("model.recompute", ["model={engine: torch, recompute: true}"], "model.engine=numpy"),
    ("model.device", ["model={engine: numpy, device: cuda}"], "model.engine=auto"),
    ("model.processes", ["model={device: cuda, processes: 2}"], "model.device=cpu"),
    ("model.output", [TEXT], CLASSES),
    ("model.output", [BINS], CLASSES),
    ("model.output", [CLASSES], BINS),
    ("model.output", [TEXT, CLASSES, "data={kind: windowed_sine}"], "model.output=value"),
    ("model.residual", [BINS, CLASSES, "model.residual=true"], "model.residual=false"),
    ("model.residual", ["model={residual: true, autoregression: 3}"], "model.residual=false"),
    ("model.autoregression", [BINS, CLASSES, "model.autoregression=3"], "model.autoregression=null"),
    ("data.horizon", ["model.autoregression=3", "data.horizon=2"], "data.horizon=1"),
    ("training.rollout", [*BANK, "model.autoregression=3", "training.rollout.steps=2"], "training.rollout=null"),
    ("training.rollout", [TEXT, CLASSES, "training.rollout.steps=2"], "training.rollout=null"),
    (
        "training.rollout",
        [BINS, CLASSES, "training.rollout.steps=2", "training.loss=every_step"],
        "training.rollout=null",
    ),
    ("training.validation.metric", [TEXT, CLASSES, *HELD], "training.validation.metric=next_step"),
    ("training.validation", [TEXT, CLASSES, "training.validation.metric=next_step"], "data.validation_share=0.1"),
    ("training.validation", [BINS, CLASSES, "training.validation={}"], "data.source.validation_share=0.1"),
    ("data.phases", [*BANK, "data.phases=real", "data.phase_seed=2"], "data.phases=integer"),
    (
        "data.source.phases",
        ["data={kind: quantized, source: {kind: sine_bank, phases: real, phase_seed: 2}}", CLASSES],
        "data.source.phase_seed=null",
    ),
]


@pytest.mark.parametrize(("key", "overrides", "remedy"), CASES)
def test_refused_at_its_key_and_accepted_when_resolved(
    key: str, overrides: list[str], remedy: str, load_text: Any, valid: str
) -> None:
    with pytest.raises(Exception, match=rf": {key}: ") as caught:
        load_text(valid, overrides)
    assert caught.value.exit_code in (2, 5)
    assert "\n" not in caught.value.message
    load_text(valid, [*overrides, remedy])


def test_the_data_s_own_part_is_named(load_text: Any, valid: str) -> None:
    for kind, part in {"windowed_sine": "validation_share", "sine_bank": "validation_sequences"}.items():
        with pytest.raises(Exception, match=rf"set data\.{part}"):
            load_text(valid, [f"data.kind={kind}", "training.validation={}"])
        with pytest.raises(Exception, match=rf"set data\.source\.{part}"):
            load_text(valid, [f"data={{kind: quantized, source: {{kind: {kind}}}}}", CLASSES, "training.validation={}"])


@pytest.mark.parametrize("kind", ["windowed_sine", "sine_bank", "random_segments"])
@pytest.mark.parametrize("loss", ["last_step", "every_step", None])
def test_the_loss_counts_the_last_step_alone_by_request_or_for_windows(
    kind: str, loss: str | None, load_text: Any, valid: str
) -> None:
    config = load_text(valid, [f"data.kind={kind}", f"training.loss={loss or 'null'}"])
    assert config.last_step_loss == (
        (loss or ("last_step" if kind == "windowed_sine" else "every_step")) == "last_step"
    )
