"""The small nets that pruning papers left of VGG-16 and ResNet-50, trained anew on ImageNet.

An arm is a net of `tfshed.models.pruned_imagenet` (ThiNet, channel pruning by regression, sparse
structure selection), such as `thinet_resnet50_70` (default), which is trained as long as the large
net (Scratch-E), or with "_b" behind it as long as costs as much (Scratch-B, at most twice as long):

    tfshed train --config=imagenet_scratch:thinet_resnet50_70_b \
        --workdir=runs/thinet70_b --data_dir=DATA

Time: not known, since we have not run this.
Expected (top-1 in %, Liu et al. 2019 and the models published with it, Scratch-E / Scratch-B):
ThiNet-30 70.91 / 71.57, -50 73.31 / 73.90, -70 74.42 / 75.14; VGG-Conv 68.76 / 71.72, -GAP 66.85 /
68.66, -Tiny 57.15 / 59.93; VGG-5x 68.05 / 71.00, ResNet-2x 71.26 / 74.58; ResNet-41 75.70 / 76.17,
-32 73.79 / 74.67, -26 72.31 / 73.41.
Source: Liu et al. 2019 (arXiv 1810.05270) and their code: widths and epochs. Batches of 256, SGD
with momentum 0.9, a weight decay of 1e-4, a learning rate of 0.1 (VGG: 0.01) that falls to a tenth
after each third of the epochs; for the nets of sparse structure selection three times in 100, 117,
145 or 179 epochs.
"""

from tfshed.experiments import recipe
from tfshed.models.pruned_imagenet import SCRATCH

# The epochs at which the rate of the nets of sparse structure selection falls.
FALLS = {100: (30.0, 60.0, 90.0), 117: (35.0, 70.0, 105.0), 145: (43.0, 86.0, 129.0)}
FALLS[179] = (53.0, 106.0, 159.0)
ARMS = (*SCRATCH, *(f"{name}_b" for name in SCRATCH))


def get_config(arm: str = "thinet_resnet50_70"):
    if arm not in ARMS:
        raise ValueError(f"arm: expected one of {', '.join(ARMS)}, received {arm!r}")
    name = arm.removesuffix("_b")
    epochs = SCRATCH[name][name != arm]
    config = recipe()
    config.model.name = name
    config.data.name, config.data.image_size = "imagenet2012", 224
    config.data.augmentation = "crop_flip"
    config.checkpoint.every_steps = 1000
    train = config.train
    train.epochs, train.batch_size, train.momentum = epochs, 256, 0.9
    train.weight_decay, train.decay_on = 1e-4, "all"
    third = float(epochs // 3)
    falls = FALLS[epochs] if name.startswith("sss") else (third, 2 * third)
    first = 0.01 if "vgg16" in name else 0.1
    train.learning_rate.rates = tuple(first / 10**i for i in range(len(falls) + 1))
    train.learning_rate.milestones = falls
    return config
