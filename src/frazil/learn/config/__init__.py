"""What a run is: frozen settings, one group per component, checked when built and saved with the model.

Nothing here loads PyTorch: a misspelt setting is refused at once, and every part of frazil may know settings.
"""

from frazil.learn.config.base import (
    Settings,
    StrategySettings,
)
from frazil.learn.config.consistency import (
    M1M2Config,
    NoisyStudentConfig,
    PiModelConfig,
    ReMixMatchConfig,
    TemporalEnsemblingConfig,
)
from frazil.learn.config.data import (
    AUGMENTATIONS,
    PAPER_AUGMENTATIONS,
    PHYSICAL_AUGMENTATIONS,
    Cifar10Data,
    Data,
    ImagetteData,
    LabelsConfig,
    PatchData,
    SceneData,
    SimulatedData,
    of_patches,
)
from frazil.learn.config.distillation import (
    DistillationConfig,
)
from frazil.learn.config.distributed import (
    HOOKS,
    METHODS,
    DDPConfig,
    PeersConfig,
)
from frazil.learn.config.mixed import Mixed
from frazil.learn.config.optim import (
    ModelConfig,
    OptimConfig,
)
from frazil.learn.config.phenomena import (
    CategorisationConfig,
    Im2PxStrategyConfig,
    PhenomenaConfig,
    SegmentationConfig,
)
from frazil.learn.config.propagation import (
    ChoiceConfig,
    PropagationConfig,
)
from frazil.learn.config.run import (
    RunConfig,
    differences,
    override,
    run_config,
)
from frazil.learn.config.server import (
    MODES,
    ServerConfig,
)
from frazil.learn.config.strategies import (
    FixMatchConfig,
    LabelPropagationConfig,
    MeanTeacherConfig,
    MixMatchConfig,
    Propagating,
    SemiGANConfig,
    StrategyConfig,
    SupervisedConfig,
    TeacherStudentConfig,
)

__all__ = [
    "AUGMENTATIONS",
    "HOOKS",
    "METHODS",
    "MODES",
    "PAPER_AUGMENTATIONS",
    "PHYSICAL_AUGMENTATIONS",
    "CategorisationConfig",
    "ChoiceConfig",
    "Cifar10Data",
    "DDPConfig",
    "Data",
    "DistillationConfig",
    "FixMatchConfig",
    "Im2PxStrategyConfig",
    "ImagetteData",
    "LabelPropagationConfig",
    "LabelsConfig",
    "M1M2Config",
    "MeanTeacherConfig",
    "MixMatchConfig",
    "Mixed",
    "ModelConfig",
    "NoisyStudentConfig",
    "OptimConfig",
    "PatchData",
    "PeersConfig",
    "PhenomenaConfig",
    "PiModelConfig",
    "Propagating",
    "PropagationConfig",
    "ReMixMatchConfig",
    "RunConfig",
    "SceneData",
    "SegmentationConfig",
    "SemiGANConfig",
    "ServerConfig",
    "Settings",
    "SimulatedData",
    "StrategyConfig",
    "StrategySettings",
    "SupervisedConfig",
    "TeacherStudentConfig",
    "TemporalEnsemblingConfig",
    "differences",
    "of_patches",
    "override",
    "run_config",
]
