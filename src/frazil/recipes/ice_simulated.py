"""The bundled default model: a small U-Net trained on simulated Extra Wide scenes, and on nothing else.

The frozen list of seeds is the split: a scene is in one of training, validation (temperature) and test (scores).
"""

from __future__ import annotations

from dataclasses import replace

from frazil.learn.config import ModelConfig, OptimConfig, RunConfig, SimulatedData

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
    """The run behind the bundled experiment ``ice-measured``: signatures of real regions, and a view of the scene.

    The simulator has changed since, in the belts of pancake and in calm water: today's run gives another model. Made
    for a GPU, where it takes eight minutes; two cores need some six hours.
    """
    run = baseline()
    return replace(
        run,
        name="ice-measured",
        model=ModelConfig(
            architecture="wide_unet",
            settings={"widths": (24, 48, 96, 128), "patch": 2, "wide_widths": (24, 48, 64, 96, 96)},
        ),
        data=SimulatedData(
            channels=("hh", "hv", "nesz_hv", "incidence_angle"),
            signatures="measured",
            train_seeds=tuple(range(10000, 10096)),
            validation_seeds=tuple(range(20000, 20005)),
            test_seeds=tuple(range(30000, 30004)),
        ),
        optim=replace(run.optim, steps=7067, batch=16, warmup=200, validate_every=7067),
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
