"""Train the MNIST example in seconds, without a download, on the digits that come with scikit-learn.

Writes next to itself, or into the folder given with --output:

    mnist_cnn.pt      the weights
    samples/0.png ... samples/9.png   one held-out picture of each digit
    zero.png          the held-out 0 again, the picture of the README
    mnist.json        that picture as a KServe V1 request
"""

import argparse
import base64
import json
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
from mnist import Net
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.nn import functional

SEED = 0
MEAN, DEVIATION = 0.1307, 0.3081  # of MNIST's pixels; mnist_handler.py normalises with the same
GLYPH, BORDER = 20, 4  # pixels: how MNIST centres a digit in 28x28
SHIFT_MAX = 2  # pixels: pictures are moved about that much in training
BATCH = 16
RATE_MAX = 1.5e-3
ACCURACY_MIN = 0.95  # 98 to 99 % is usual; less than this means that something is broken


def main() -> int:
    """Train, tell the held-out accuracy, write the files; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent, help="folder to write to")
    parser.add_argument("--epochs", type=int, default=5)
    options = parser.parse_args()

    started = time.monotonic()
    digits = load_digits()
    pictures = np.stack([as_mnist_picture(glyph) for glyph in digits.images])
    train_x, test_x, train_y, test_y = train_test_split(pictures, digits.target, test_size=0.25, random_state=SEED, stratify=digits.target)
    model = train(train_x, train_y, options.epochs)
    predicted = predict(model, test_x)
    accuracy = float((predicted == test_y).mean())
    print(f"held-out accuracy {accuracy:.1%} of {len(test_y)} digits, trained on {len(train_y)} in {time.monotonic() - started:.1f} s")
    if accuracy < ACCURACY_MIN:
        print(f"that is below {ACCURACY_MIN:.0%}: not writing the model", file=sys.stderr)
        return 1

    samples = {digit: test_x[surest_example(model, test_x, test_y, digit)] for digit in range(10)}
    options.output.mkdir(parents=True, exist_ok=True)
    write_samples(options.output, samples)
    torch.save(model.state_dict(), options.output / "mnist_cnn.pt")
    if predict(model, samples[0][None])[0] != 0:
        print("the sample 0 is not predicted as 0", file=sys.stderr)
        return 1
    return 0


def as_mnist_picture(glyph: np.ndarray) -> np.ndarray:
    """Turn an 8x8 picture with values 0 to 16 into MNIST's form: a 20x20 glyph in 28x28, bytes."""
    grey = Image.fromarray((glyph * (255 / 16)).astype(np.uint8))
    scaled = np.asarray(grey.resize((GLYPH, GLYPH), Image.Resampling.BICUBIC))
    return np.pad(scaled, BORDER)


def as_input(pictures: np.ndarray) -> torch.Tensor:
    """Turn pictures (batch, 28, 28) into the network's input, as the handler's transforms do."""
    return (torch.from_numpy(pictures).float().div(255).unsqueeze(1) - MEAN) / DEVIATION


def train(pictures: np.ndarray, labels: np.ndarray, epochs: int) -> Net:
    """Train a new network; the same seed and library versions give the same weights."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)  # on a busy machine two threads wait for each other: 8 times slower, measured
    model = Net()
    optimiser = torch.optim.Adam(model.parameters())
    batches = math.ceil(len(pictures) / BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=RATE_MAX, total_steps=epochs * batches)
    inputs, targets = as_input(pictures), torch.from_numpy(labels)
    model.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(inputs)).split(BATCH):
            down, right = torch.randint(-SHIFT_MAX, SHIFT_MAX + 1, (2,)).tolist()
            moved = torch.roll(inputs[batch], (down, right), dims=(2, 3))
            optimiser.zero_grad()
            functional.nll_loss(model(moved), targets[batch]).backward()
            optimiser.step()
            schedule.step()
    return model.eval()


def predict(model: Net, pictures: np.ndarray) -> np.ndarray:
    """Return the likeliest digit of each picture."""
    with torch.inference_mode():
        return model(as_input(pictures)).argmax(1).numpy()


def surest_example(model: Net, pictures: np.ndarray, labels: np.ndarray, digit: int) -> int:
    """Return the place of the held-out picture of a digit that the network is surest about."""
    with torch.inference_mode():
        scores = model(as_input(pictures))[:, digit].numpy()
    return int(np.where(labels == digit, scores, -np.inf).argmax())


def write_samples(folder: Path, samples: dict[int, np.ndarray]) -> None:
    """Write one PNG a digit, and the 0 as zero.png and as a request."""
    (folder / "samples").mkdir(exist_ok=True)
    for digit, picture in samples.items():
        Image.fromarray(picture).save(folder / "samples" / f"{digit}.png")
    zero = (folder / "samples" / "0.png").read_bytes()
    (folder / "zero.png").write_bytes(zero)
    request = {"instances": [{"data": base64.b64encode(zero).decode()}]}
    (folder / "mnist.json").write_text(json.dumps(request) + "\n")


if __name__ == "__main__":
    sys.exit(main())
