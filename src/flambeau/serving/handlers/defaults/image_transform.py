"""torchvision's transforms for the default vision handlers, built when they are first asked for.

A handler that brings its own, as most do, then never pays for the import of torchvision.
"""

from __future__ import annotations

from typing import Any


class ImageNetTransform:
    """Resize, crop and normalise as ImageNet's models expect; a class attribute that reads as a callable."""

    def __init__(self) -> None:
        self._built: Any = None

    def __get__(self, instance: object, owner: type) -> Any:
        if self._built is None:
            self._built = self._build()
        return self._built

    def _build(self) -> Any:
        from torchvision import transforms  # noqa: PLC0415 - a second of import, see above

        return transforms.Compose(
            [
                transforms.Resize(256),
                transforms.CenterCrop(224),
                transforms.ToTensor(),
                transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
            ]
        )


class TensorTransform(ImageNetTransform):
    """Turn a picture into a tensor of its own size."""

    def _build(self) -> Any:
        from torchvision import transforms  # noqa: PLC0415 - as above

        return transforms.Compose([transforms.ToTensor()])
