"""The network of TorchServe's MNIST example: layer names and sizes are the ones that its saved weights have."""

import torch
from torch import nn
from torch.nn import functional


class Net(nn.Module):
    """Tell digits 0 to 9 apart on 28x28 grey pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, kernel_size=3)
        self.conv2 = nn.Conv2d(32, 64, kernel_size=3)
        self.dropout1 = nn.Dropout2d(0.25)
        self.dropout2 = nn.Dropout(0.5)
        self.fc1 = nn.Linear(9216, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Return log-probabilities, ``(batch, 10)``, for pictures ``(batch, 1, 28, 28)``."""
        hidden = functional.relu(self.conv1(pictures))
        hidden = functional.relu(self.conv2(hidden))
        hidden = self.dropout1(functional.max_pool2d(hidden, 2))
        hidden = functional.relu(self.fc1(torch.flatten(hidden, 1)))
        return functional.log_softmax(self.fc2(self.dropout2(hidden)), dim=1)
