"""Network slimming on CIFAR: an L1 penalty on the scales of BatchNorm, one cut over all layers.

The arms are `vgg19` (default), `resnet164` and `densenet40`, each also with "_cifar100" behind it.
The penalty while training is 1e-4 for VGG and 1e-5 for the others; then 70 %, 40 % and 40 % of all
filters go (on CIFAR-100 50 %, 40 %, 40 %), and what is left is fine-tuned:

    tfshed train --config=cifar_slimming:vgg19 --workdir=runs/vgg19 \
        --data_dir=DATA
    tfshed retrain --config=cifar_slimming:vgg19 --workdir=runs/slim \
        --data_dir=DATA --config.initial_weights=runs/vgg19

--config.retrain.strategy=scratch_e or scratch_b trains what is left anew. The control without a
penalty has --config.train.scale_penalty=0.

Only filters whose output a BatchNorm reads directly are counted and taken out: all of VGG, the
first two convolutions of each block of the pre-activation ResNet, and none of DenseNet-40. For that
net `densenet_bc40` stands in here, which loses filters of the first convolution of each block. The
papers select channels behind every BatchNorm with a layer of their own.

Time: not known, since we have not run this.
Expected: table 1 of the paper; the nets other than VGG-19 differ from ours.
Source: Liu et al. 2017 (arXiv 1708.06519); the settings: Liu et al. 2019 (arXiv 1810.05270).
"""

from tfshed.experiments import published_settings, recipe

# Network, penalty, and the fraction of filters that goes on CIFAR-10 and on CIFAR-100.
NETS = {
    "vgg19": ("vgg19_bn", 1e-4, 0.7, 0.5),
    "resnet164": ("preresnet164", 1e-5, 0.4, 0.4),
    "densenet40": ("densenet_bc40", 1e-5, 0.4, 0.4),
}
ARMS = (*NETS, *(f"{name}_cifar100" for name in NETS))


def get_config(arm: str = "vgg19"):
    if arm not in ARMS:
        raise ValueError(f"arm: expected one of {', '.join(ARMS)}, received {arm!r}")
    name = arm.removesuffix("_cifar100")
    network, penalty, ratio, ratio_100 = NETS[name]
    config = recipe()
    config.model.name = network
    published_settings.cifar_filters(config, "cifar10" if name == arm else "cifar100")
    config.train.scale_penalty = penalty
    config.retrain.filters = "scale"
    config.retrain.sparsity = ratio if name == arm else ratio_100
    config.retrain.epochs = 160
    return config
