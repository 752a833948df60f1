"""Train the best classifier that few labels and plenty of unlabeled data allow."""

import lazy_loader

# Names are listed once, in __init__.pyi, and imported when first used: `import sesemi_like` is
# cheap and does not import torch.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
