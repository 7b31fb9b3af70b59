"""The bundled default model: a small U-Net trained on simulated Extra Wide scenes, and on nothing else.

The frozen list of seeds is the split: a scene is in one of training, validation (temperature) and test (scores).
"""

from __future__ import annotations

from dataclasses import replace

from frazil.learn.config import ModelConfig, OptimConfig, RunConfig, SimulatedData, SupervisedConfig

STATEMENT = (
    "Trained and scored on simulated scenes only; it has seen no real labels. Of real closed pack, in three Antarctic "
    "scenes, it called a third to a half open water. Use its maps to try out frazil, not to navigate."
)


def baseline() -> RunConfig:
    """The run behind the bundled model."""
    return RunConfig(
        name="ice-simulated",
        seed=1,
        statement=STATEMENT,
        model=ModelConfig(architecture="unet", settings={"widths": (24, 48, 96, 128), "patch": 2}),
        data=SimulatedData(
            train_seeds=tuple(range(1000, 1040)),
            validation_seeds=tuple(range(2000, 2005)),
            test_seeds=tuple(range(3000, 3010)),
        ),
        optim=OptimConfig(steps=4500, batch=8, lr=2e-3, warmup=100, precision="bfloat16", validate_every=4500),
    )


def measured() -> RunConfig:
    """The successor of ``ice-measured``: signatures of real regions, and a view of the whole scene.

    Half of its scenes have pixels of 120 m, the others coarser ones, a third of these as quick-looks hold them. The
    loss weighs every pixel alike, so that probabilities mean what they say. Some two hours on two cores.
    """
    run = baseline()
    return replace(
        run,
        name="ice-measured",
        statement=(
            "Trained and scored on simulated scenes only; it has seen no real labels. Use its maps to try out frazil, "
            "not to navigate."
        ),
        model=ModelConfig(
            architecture="wide_unet",
            settings={
                "widths": (24, 48, 96, 128),
                "patch": 2,
                "wide_widths": (24, 48, 64, 96, 96),
                "wide_stage": 3,
            },
        ),
        strategy=SupervisedConfig(class_balance=0.0),
        data=SimulatedData(
            channels=("hh", "hv", "total_hv", "nesz_hv", "incidence_angle"),
            signatures="measured",
            train_seeds=tuple(range(10000, 10096)),
            validation_seeds=tuple(range(20000, 20005)),
            test_seeds=tuple(range(30000, 30010)),
            also_spacing_m=(240.0, 640.0),
            also_quicklook=(5,),
        ),
        optim=replace(run.optim, steps=7000, batch=12, warmup=200, validate_every=7000),
    )


def tiny() -> RunConfig:
    """Two steps on one scene: shows that the recipe runs, nothing else."""
    run = baseline()
    data = SimulatedData(train_seeds=(1,), validation_seeds=(2,), test_seeds=(3,), crop=64, spacing_m=960.0)
    return replace(
        run,
        name="tiny",
        model=ModelConfig(architecture="unet", settings={"widths": (4, 8)}),
        data=data,
        optim=replace(run.optim, steps=2, batch=2, precision="float32"),
    )
