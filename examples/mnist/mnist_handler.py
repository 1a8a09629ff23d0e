"""A handler as TorchServe's users write it; it runs unmodified on TorchServe and on flambeau."""

import torch
from torchvision import transforms
from ts.torch_handler.image_classifier import ImageClassifier


class MNISTDigitClassifier(ImageClassifier):
    """Answer each picture with the digit on it."""

    image_processing = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])

    def postprocess(self, data: torch.Tensor) -> list[int]:
        """Return the likeliest digit of each row."""
        return data.argmax(1).tolist()
