"""Weak and strong views of 32x32 images: this package, semilearn, torchvision v2, kornia.

    python benchmarks/views.py

One weak (shifted crop, flip) and one strong view (the same, then RandAugment and cutout) of every
image, normalized, in float32. CPU: one thread, no worker processes, so CPU time is what each takes.
With a GPU the batched ones run on it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import kornia.augmentation as K
import torch
from common import Case, interleave, print_machine, print_table
from fixmatch_cases import MEAN, STD
from peers import import_semilearn
from PIL import Image
from torchvision import transforms as v1
from torchvision.transforms import v2

from sesemi_like.devices import tune_process
from sesemi_like.views import strong, weak

PEER_NUM_OPS = 3


def semilearn_views() -> Callable[[torch.Tensor], Any]:
    """Semilearn's transforms of CIFAR-10, per image, on Pillow images as its data set has them."""
    import_semilearn()
    from semilearn.datasets.augmentation import RandAugment

    before = [v1.Resize(32), v1.RandomCrop(32, padding=4, padding_mode="reflect")]
    before.append(v1.RandomHorizontalFlip())
    after = [v1.ToTensor(), v1.Normalize(MEAN, STD)]
    make_weak = v1.Compose([*before, *after])
    make_strong = v1.Compose([*before, RandAugment(PEER_NUM_OPS, 5), *after])

    def make(images: torch.Tensor) -> Any:
        pil_images = [Image.fromarray(image) for image in images.permute(0, 2, 3, 1).numpy()]
        stack = torch.stack
        return stack([make_weak(p) for p in pil_images]), stack(
            [make_strong(p) for p in pil_images]
        )

    return make


def torchvision_views(num_ops: int) -> Callable[[torch.Tensor], Any]:
    """Torchvision v2's transforms, per image, on uint8 tensors."""
    before = [v2.RandomCrop(32, padding=4, padding_mode="reflect"), v2.RandomHorizontalFlip()]
    after = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    make_weak = v2.Compose([*before, *after])
    erase = v2.RandomErasing(1.0, scale=(0.25, 0.25), ratio=(1, 1), value=0)
    make_strong = v2.Compose([*before, v2.RandAugment(num_ops, 10), *after, erase])

    def make(images: torch.Tensor) -> Any:
        return torch.stack([make_weak(i) for i in images]), torch.stack(
            [make_strong(i) for i in images]
        )

    return make


def kornia_views(num_ops: int) -> Callable[[torch.Tensor], Any]:
    """Kornia's batched augmentation, its RandAugment with other draws for every image."""
    before = [K.RandomCrop((32, 32), padding=4, padding_mode="reflect"), K.RandomHorizontalFlip()]
    after = [K.Normalize(torch.tensor(MEAN), torch.tensor(STD))]
    make_weak = K.AugmentationSequential(*before, *after)
    augment = K.auto.RandAugment(n=num_ops, m=10)
    crop = K.AugmentationSequential(*before)
    last = K.AugmentationSequential(*after, K.RandomErasing((0.25, 0.25), (1.0, 1.0), p=1.0))

    def make(images: torch.Tensor) -> Any:
        images = images.float() / 255
        return make_weak(images), last(torch.cat([augment(i[None]) for i in crop(images)]))

    return make


def our_views(num_ops: int, device: str) -> Callable[[torch.Tensor], Any]:
    """This package's batched views."""
    make_weak = weak(padding=4, mean=MEAN, std=STD)
    make_strong = strong(padding=4, mean=MEAN, std=STD, num_ops=num_ops)
    generator = torch.Generator().manual_seed(0)

    def make(images: torch.Tensor) -> Any:
        moved = images.to(device)
        return make_weak(moved, generator), make_strong(moved, generator)

    return make


def repeat(make: Callable[[torch.Tensor], Any], images: torch.Tensor, rounds: int) -> Case:
    """Makes the views of a batch so many times over."""
    return lambda: [make(images) for _ in range(rounds)]


def main() -> None:
    """Measures all in turn and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, nargs="*", default=[112, 448])
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    tune_process()
    peer = f"semilearn 0.3.2, its default of {PEER_NUM_OPS} operations"
    makers = {
        peer: semilearn_views(),
        f"torchvision v2 per image, {PEER_NUM_OPS} operations": torchvision_views(PEER_NUM_OPS),
        f"kornia, {PEER_NUM_OPS} operations": kornia_views(PEER_NUM_OPS),
        f"sesemi_like, {PEER_NUM_OPS} operations": our_views(PEER_NUM_OPS, "cpu"),
        "sesemi_like, its default of 2 operations": our_views(2, "cpu"),
    }
    if torch.cuda.is_available():
        makers["sesemi_like on the GPU, 2 operations"] = our_views(2, "cuda")
    print_machine(f"{options.repeats} interleaved repeats")
    for batch in options.batch:
        images = torch.randint(256, (batch, 3, 32, 32), dtype=torch.uint8)
        rounds = {name: 1 if "sesemi" not in name else 10 for name in makers}
        cases = {name: repeat(make, images, rounds[name]) for name, make in makers.items()}
        units = {name: batch * rounds[name] for name in makers}
        print(f"Batches of {batch}:\n")
        times = interleave(cases, options.repeats, units)
        print_table(times, "ms an image", against={"images per CPU-second over semilearn": peer})


if __name__ == "__main__":
    main()
