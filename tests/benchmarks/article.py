"""The article's way to train: its Dataset, DataLoader, network and loop, as a script, with the studies around it.

    python article.py trainings '{"trainings": 2, "epochs": 1, "train": 1000, "validation": 500, "test": 1000}'
    python article.py study '{"loop": "article", "arms": ["sgd"], "replicates": 1, "trials": 2, ...}'

As the article has it: images are PIL, made a tensor and normalised one by one; a shuffling DataLoader gives batches;
ReLU comes before pooling; `loss.item()` is taken at every batch; torch uses as many threads as it does by default.
Nothing of harness is at work here but the MNIST files that come with it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import torch
from harness_plugins.mnist import read_idx
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision import transforms

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": lambda params, lr: torch.optim.SGD(params, lr=lr),
    "momentum": lambda params, lr: torch.optim.SGD(params, lr=lr, momentum=0.9),
    "adam": lambda params, lr: torch.optim.Adam(params, lr=lr),
}
Loop = Callable[..., float]


class MNIST(Dataset):
    """What `torchvision.datasets.MNIST` gives, item by item, from the embedded files."""

    def __init__(self, *, train: bool) -> None:
        prefix = "train" if train else "t10k"
        self.data, self.targets = read_idx(f"{prefix}-images-idx3-ubyte"), read_idx(f"{prefix}-labels-idx1-ubyte")
        self.transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))])

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image, target = self.data[index], int(self.targets[index])
        return self.transform(Image.fromarray(image.numpy())), target


class CNN(nn.Module):
    """The article's network, 421,642 parameters; at a quarter of its width that of `suites/optimizers.toml`."""

    def __init__(self, quarters: int = 4) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8 * quarters, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(8 * quarters, 16 * quarters, kernel_size=3, padding=1)
        self.pool = nn.MaxPool2d(2, 2)
        self.fc1 = nn.Linear(16 * quarters * 7 * 7, 32 * quarters)
        self.fc2 = nn.Linear(32 * quarters, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(torch.relu(self.conv1(x)))
        x = self.pool(torch.relu(self.conv2(x)))
        x = x.flatten(1)
        return self.fc2(torch.relu(self.fc1(x)))


def accuracy(model: nn.Module, images: Dataset) -> float:
    """Share of the images that the model names rightly."""
    correct, total = 0, 0
    model.eval()
    with torch.no_grad():
        for inputs, labels in DataLoader(images, batch_size=64, shuffle=False):
            predicted = model(inputs).argmax(dim=1)
            total += labels.size(0)
            correct += int((predicted == labels).sum().item())
    model.train()
    return correct / total


def article_loop(
    train: Dataset,
    validation: Dataset,
    test: Dataset | None,
    *,
    optimizer: str,
    lr: float,
    epochs: int,
    quarters: int = 4,
) -> float:
    """Train by the article's loop, with validation after each epoch; the test accuracy, or that of validation."""
    model, criterion = CNN(quarters), nn.CrossEntropyLoss()
    update = OPTIMIZERS[optimizer](model.parameters(), lr)
    best, loader = 0.0, DataLoader(train, batch_size=64, shuffle=True)
    for epoch in range(epochs):
        running_loss = 0.0
        for i, (inputs, labels) in enumerate(loader):
            update.zero_grad()
            loss = criterion(model(inputs), labels)
            loss.backward()
            update.step()
            running_loss += loss.item()
            if i % 2000 == 1999:
                print(f"[{epoch + 1}, {i + 1}] loss: {running_loss / 2000:.3f}")
                running_loss = 0.0
        best = max(best, accuracy(model, validation))
    return best if test is None else accuracy(model, test)


def lightning_loop(
    train: Dataset,
    validation: Dataset,
    test: Dataset | None,
    *,
    optimizer: str,
    lr: float,
    epochs: int,
    quarters: int = 4,
) -> float:
    """The same training by Lightning's Trainer, with all that it writes and shows turned off."""
    import lightning
    from torch.nn import functional

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.best = CNN(quarters), 0.0

        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            inputs, labels = batch
            return functional.cross_entropy(self.model(inputs), labels)

        def _share(self, batch: Any, name: str) -> None:
            inputs, labels = batch
            self.log(name, (self.model(inputs).argmax(dim=1) == labels).float().mean(), on_step=False, on_epoch=True)

        def validation_step(self, batch: Any, index: int) -> None:
            self._share(batch, "validation")

        def test_step(self, batch: Any, index: int) -> None:
            self._share(batch, "test")

        def on_validation_epoch_end(self) -> None:
            self.best = max(self.best, float(self.trainer.callback_metrics["validation"]))

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return OPTIMIZERS[optimizer](self.parameters(), lr)

    silent = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = lightning.Trainer(
        accelerator="cpu", max_epochs=epochs, enable_model_summary=False, num_sanity_val_steps=0, **silent
    )
    module = Module()
    trainer.fit(module, DataLoader(train, batch_size=64, shuffle=True), DataLoader(validation, batch_size=64))
    if test is None:
        return module.best
    return float(trainer.test(module, DataLoader(test, batch_size=64), verbose=False)[0]["test"])


def split(images: MNIST, replicate: int, train: int, validation: int) -> tuple[Dataset, Dataset]:
    """Training and validation images of a replicate."""
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(replicate)).tolist()
    return Subset(images, order[:train]), Subset(images, order[train : train + validation])


def trainings(plan: dict[str, Any]) -> None:
    """So many trainings with the article's own settings, one after the other."""
    images, test = MNIST(train=True), MNIST(train=False)
    for number in range(plan["trainings"]):
        parts = split(images, number, plan["train"], plan["validation"])
        result = article_loop(*parts, test, optimizer="momentum", lr=0.001, epochs=plan["epochs"])
        print(f"training {number}: test accuracy {result:.2%}")


def study(plan: dict[str, Any]) -> None:
    """For each replicate and arm an Optuna study, then a training with its best learning rate; means at the end."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    loop: Loop = {"article": article_loop, "lightning": lightning_loop}[plan["loop"]]
    images, test = MNIST(train=True), MNIST(train=False)
    same = {"epochs": plan["epochs"], "quarters": plan["quarters"]}
    found: dict[str, list[float]] = {arm: [] for arm in plan["arms"]}
    for replicate in range(plan["replicates"]):
        parts = split(images, replicate, plan["train"], plan["validation"])
        for arm in plan["arms"]:

            def objective(trial: optuna.Trial, arm: str = arm, parts: Any = parts) -> float:
                lr = trial.suggest_float("lr", 1e-4, 1e-1, log=True)
                return loop(*parts, None, optimizer=arm, lr=lr, **same)

            made = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=replicate))
            made.optimize(objective, n_trials=plan["trials"])
            found[arm].append(loop(*parts, test, optimizer=arm, lr=made.best_params["lr"], **same))
    for arm, values in found.items():
        print(f"{arm}: test accuracy {sum(values) / len(values):.2%}")


if __name__ == "__main__":
    {"trainings": trainings, "study": study}[sys.argv[1]](json.loads(sys.argv[2]))
