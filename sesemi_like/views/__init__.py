"""Views: random versions of a batch, computed on its device, with a draw for each image."""

from sesemi_like.views.base import Compose, TensorView, View
from sesemi_like.views.blur import GaussianBlur
from sesemi_like.views.color import ColorJitter, Gamma, Grayscale
from sesemi_like.views.crops import CenterCrop, MultiCrop, RandomResizedCrop, Resize
from sesemi_like.views.erasing import Cutout, Erasing
from sesemi_like.views.geometry import HorizontalFlip, RandomAffine, RandomCrop
from sesemi_like.views.noise import Noise
from sesemi_like.views.normalize import Normalize
from sesemi_like.views.permutations import permutation_set
from sesemi_like.views.pretext import Jigsaw, Rotation
from sesemi_like.views.rand_augment import RandAugment
from sesemi_like.views.recipes import strong, weak
from sesemi_like.views.usb import USBCutout, usb_strong

__all__ = [
    "CenterCrop",
    "ColorJitter",
    "Compose",
    "Cutout",
    "Erasing",
    "Gamma",
    "GaussianBlur",
    "Grayscale",
    "HorizontalFlip",
    "Jigsaw",
    "MultiCrop",
    "Noise",
    "Normalize",
    "RandAugment",
    "RandomAffine",
    "RandomCrop",
    "RandomResizedCrop",
    "Resize",
    "Rotation",
    "TensorView",
    "USBCutout",
    "View",
    "permutation_set",
    "strong",
    "usb_strong",
    "weak",
]
