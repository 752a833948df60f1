from .base import Backbone
from .cifar_resnet import CIFARResNet, cifar_resnet20, cifar_resnet56
from .mlp import MLP
from .small_cnn import SmallConvNet
from .timm import PyTorchImageModels
from .torchvision import TorchvisionModels
from .usb_wide_resnet import USBWideResNet, wrn_28_2_usb, wrn_28_8_usb, wrn_37_2_usb
from .wide_resnet import WideResNet, wrn_28_2, wrn_28_8, wrn_28_10

__all__ = [
    "MLP",
    "Backbone",
    "CIFARResNet",
    "PyTorchImageModels",
    "SmallConvNet",
    "TorchvisionModels",
    "USBWideResNet",
    "WideResNet",
    "cifar_resnet20",
    "cifar_resnet56",
    "wrn_28_2",
    "wrn_28_2_usb",
    "wrn_28_8",
    "wrn_28_8_usb",
    "wrn_28_10",
    "wrn_37_2_usb",
]
