"""The paper's comparison of distributed training, on CIFAR-10: ``--set data.path=FOLDER``.

References:
    Khaleghian (2022), paper 3: batches of 128, learning rate 0.1 with four epochs of warm-up, a tenth after epochs 45
    and 55 (ResNet32: 50 and 60), momentum 0.9, weight decay 1e-4.
    Simonyan, K., Zisserman, A. (2015), Very deep convolutional networks, section 3.1: learning rate 0.01.
"""

from __future__ import annotations

from frazil.learn.config import Cifar10Data, ModelConfig, OptimConfig, RunConfig, SupervisedConfig

_STEPS = 352  # of an epoch: 45,000 images, the others being held out


def _run(architecture: str, *, drops: tuple[int, int] = (45, 55), epochs: int = 65, lr: float = 0.1) -> RunConfig:
    return RunConfig(
        name=f"cifar10-{architecture}",
        statement="Trained on photographs of CIFAR-10, to compare ways of training. It knows nothing of ice.",
        model=ModelConfig(architecture=architecture),
        data=Cifar10Data(),
        strategy=SupervisedConfig(class_balance=0.0),
        optim=OptimConfig(
            optimiser="sgd",
            epochs=epochs,
            batch=128,
            lr=lr,
            momentum=0.9,
            weight_decay=1e-4,
            clip=0.0,
            schedule="steps",
            milestones=tuple(drop / epochs for drop in drops),
            warmup=4 * _STEPS,
            validate_every=_STEPS,
        ),
    )


def resnet20() -> RunConfig:
    """ResNet20, 269,722 parameters."""
    return _run("resnet20")


def resnet32() -> RunConfig:
    """ResNet32, 464,154 parameters."""
    return _run("resnet32", drops=(50, 60), epochs=70)


def vgg16() -> RunConfig:
    """VGG-16, at the rate of its own paper.

    At 0.1, the rate of the residual networks, a network without batch norm loses in the warm-up what it has learnt.
    """
    return _run("vgg16", lr=0.01)


def cnn13() -> RunConfig:
    """The 13-layer network."""
    return _run("cnn13")
