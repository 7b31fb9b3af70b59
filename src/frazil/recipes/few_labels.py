"""Few labels, many patches without: ``--set data.patches=SET.zarr --set labels.count=60``.

``labels.per_class=15`` counts labels class by class, as papers do. Patches of the training scenes that are not drawn
lose their labels and are learnt from without them; ``--set data.unlabelled=OTHER.zarr`` adds patches of other regions.
Network, rates and epochs are those of the second paper; where it leaves something open, those of the codes it builds
on. Rotation is the only change of training patches, which keeps the physics.

A hundred epochs on 60 labels are some 300 steps: at the paper's rate the first stage ends early in learning. Where
labels are few, ``strategy.first_steps=1000`` gives it time (and ``optim.steps=1000`` the supervised run); compare
methods at equal settings.

References:
    Khaleghian (2022), paper 2, section IV-B and Table III.
"""

from __future__ import annotations

from dataclasses import replace

from frazil.learn.config import (
    FixMatchConfig,
    LabelPropagationConfig,
    M1M2Config,
    MeanTeacherConfig,
    MixMatchConfig,
    ModelConfig,
    NoisyStudentConfig,
    OptimConfig,
    PatchData,
    PiModelConfig,
    ReMixMatchConfig,
    RunConfig,
    SemiGANConfig,
    StrategyConfig,
    SupervisedConfig,
    TeacherStudentConfig,
    TemporalEnsemblingConfig,
)

_LABELLED = 20  # of a batch; published codes take 20 to 50


def _run(
    name: str,
    strategy: StrategyConfig,
    architecture: str = "cnn13",
    *,
    lr: float = 2e-3,
    epochs: float = 200,
    batch: int = 100,
) -> RunConfig:
    return RunConfig(
        name=name,
        model=ModelConfig(architecture=architecture, settings={"weight_norm": True} if architecture == "cnn13" else {}),
        data=PatchData(augment=("rotate",)),
        strategy=strategy,
        optim=OptimConfig(
            optimiser="sgd", epochs=epochs, batch=batch, lr=lr, warmup=0, momentum=0.9, weight_decay=2e-4, clip=0.0
        ),
    )


def supervised() -> RunConfig:
    """The 13-layer network on the drawn labels alone: what the others must beat."""
    return _run("supervised", SupervisedConfig(), lr=8e-4, epochs=100, batch=_LABELLED)


def lp() -> RunConfig:
    """Label propagation with one network (LP-DeepSSL), at the student's rate of `tslp`."""
    return _run("lp", LabelPropagationConfig(labelled=_LABELLED))


def lp_wrn() -> RunConfig:
    """The same with WideResNet-28-2."""
    return _run("lp-wrn", LabelPropagationConfig(labelled=_LABELLED), "wrn28_2")


def tslp() -> RunConfig:
    """Teacher and student around label propagation (TSLP-SSL), the paper's best."""
    return _run("tslp", TeacherStudentConfig(labelled=_LABELLED))


def noisy_student() -> RunConfig:
    """Noisy Student: a teacher on labels alone, then three students in turn, at the rates of `lp`."""
    return _run("noisy-student", NoisyStudentConfig(labelled=_LABELLED))


def mixmatch() -> RunConfig:
    """MixMatch with WideResNet-28-2; half of each batch labelled, Adam and weight decay as published."""
    run = _run("mixmatch", MixMatchConfig(labelled=50), "wrn28_2")
    return replace(run, optim=replace(run.optim, optimiser="adamw", schedule="constant", weight_decay=0.02))


def remixmatch() -> RunConfig:
    """ReMixMatch, likewise; eight strongly changed views of each patch make a step some five times as long."""
    run = _run("remixmatch", ReMixMatchConfig(labelled=50), "wrn28_2")
    return replace(run, optim=replace(run.optim, optimiser="adamw", schedule="constant", weight_decay=0.02))


def semi_gan() -> RunConfig:
    """Semi-supervised GAN: 64 patches with labels and 64 without a step, Adam as published."""
    return _adam(_run("semi-gan", SemiGANConfig(labelled=64), lr=3e-4, batch=128))


def fixmatch() -> RunConfig:
    """FixMatch with the 13-layer network; SGD at its published rate of 0.03."""
    return _run("fixmatch", FixMatchConfig(labelled=_LABELLED), lr=0.03)


def mean_teacher() -> RunConfig:
    """Mean Teacher with the 13-layer network."""
    return _run("mean-teacher", MeanTeacherConfig(labelled=_LABELLED), lr=0.03)


def pi_model() -> RunConfig:
    """Π-model with the 13-layer network, which is that paper's own; Adam at its rate."""
    return _adam(_run("pi-model", PiModelConfig(labelled=_LABELLED), lr=3e-3))


def temporal_ensembling() -> RunConfig:
    """Temporal ensembling, likewise."""
    return _adam(_run("temporal-ensembling", TemporalEnsemblingConfig(labelled=_LABELLED), lr=3e-3))


def m1_m2() -> RunConfig:
    """Semi-supervised variational autoencoder (M1 + M2); Adam at the rate of its published code."""
    return _adam(_run("m1-m2", M1M2Config(labelled=_LABELLED), "encoder", lr=3e-4))


def _adam(run: RunConfig) -> RunConfig:
    """The run with Adam, and without weight decay."""
    return replace(run, optim=replace(run.optim, optimiser="adam", weight_decay=0.0))
