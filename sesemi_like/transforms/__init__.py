"""Transforms: one image at a time, in the loader's workers."""

from sesemi_like.transforms.albumentations import Albumentations
from sesemi_like.transforms.crops import (
    center_crop_transforms,
    multi_crop_transforms,
    train_transforms,
)
from sesemi_like.transforms.multi_view import multi_view_transforms, two_view_transforms
from sesemi_like.transforms.per_image import GammaCorrection, GaussianBlur, PerImage, rand_augment

__all__ = [
    "Albumentations",
    "GammaCorrection",
    "GaussianBlur",
    "PerImage",
    "center_crop_transforms",
    "multi_crop_transforms",
    "multi_view_transforms",
    "rand_augment",
    "train_transforms",
    "two_view_transforms",
]
