"""Scripts of Ray, Keras and JAX."""

from __future__ import annotations

import numpy as np
from run import Script
from vision import digits, squares


def fashion(folder):
    """Write Fashion-MNIST where the script looks for it."""
    digits(folder / "data")
    (folder / "data" / "MNIST").rename(folder / "data" / "FashionMNIST")


def arrays(folder):
    """Write MNIST as Keras has it."""
    folder.mkdir()
    parts = {}
    for name, count in (("train", 640), ("test", 64)):
        labels, _, pixels = zip(*squares(count, 28, 10), strict=True)
        parts[f"x_{name}"] = np.stack(pixels)[..., 0]
        parts[f"y_{name}"] = np.array(labels, np.uint8)
    np.savez(folder / "digits.npz", **parts)


def reviews(folder):
    """Write words of which the label says from which half they are."""
    folder.mkdir()
    dice, parts = np.random.default_rng(0), {}
    for name, count in (("train", 320), ("val", 32)):
        labels = np.arange(count) % 2
        words = [dice.integers(1, 40, dice.integers(5, 30)) + 40 * k for k in labels]
        parts[f"x_{name}"] = np.array([np.pad(k, (200 - len(k), 0)) for k in words])
        parts[f"y_{name}"] = labels
    np.savez(folder / "reviews.npz", **parts)


MODULE = '''
import numpy as np


def mnist():
    """Stand in for the digits that are downloaded."""
    with np.load({path!r}) as files:
        for part in ("train", "test"):
            yield files[f"x_{{part}}"].reshape(-1, 784) / np.float32(255)
            yield np.eye(10, dtype="float32")[files[f"y_{{part}}"]]
'''


def package(folder):
    """Write the package from which the script takes its digits."""
    arrays(folder)
    (folder / "modules" / "examples").mkdir(parents=True)
    text = MODULE.format(path=str(folder / "digits.npz"))
    (folder / "modules" / "examples" / "datasets.py").write_text(text)


RAY = [
    (
        "at",
        "^from ray.train import ScalingConfig",
        "from ray.train import Checkpoint, FailureConfig, RunConfig, ScalingConfig",
    ),
    (
        "after",
        "^from ray.train.torch import TorchTrainer",
        "import tempfile",
        "from pathlib import Path",
        "from ted_core import run_metrics",
        "from ted_torch import TED",
        "from torch.nn import functional as F",
    ),
    ("at", r"^def get_dataloaders\(", "def get_dataloaders(batch_size, epochs):"),
    (
        "at",
        r"^    train_dataloader = DataLoader\(",
        "context = ray.train.get_context()",
        "ted = TED(",
        "    training_data, epochs=epochs, prune_ratio=0.7, method='soft_margin',",
        "    device=ray.train.torch.get_device(),",
        "    multiple_of=batch_size * context.get_world_size(),",
        ")",
        "train_dataloader = DataLoader(",
        "    ted.dataset, batch_size=batch_size, sampler=ted.sampler",
        ")",
    ),
    (
        "at",
        "^    return train_dataloader, test_dataloader",
        "return ted, train_dataloader, test_dataloader",
    ),
    (
        "at",
        r"^    train_dataloader, test_dataloader = get_dataloaders\(",
        "ted, train_dataloader, test_dataloader = get_dataloaders(batch_size, epochs)",
    ),
    (
        "at",
        r"^    train_dataloader = ray.train.torch.prepare_data_loader\(",
        "train_dataloader = ray.train.torch.prepare_data_loader(",
        "    train_dataloader, add_dist_sampler=False",
        ")",
    ),
    (
        "after",
        r"^    optimizer = torch.optim.SGD\(",
        "parts = {'model': model, 'optimizer': optimizer, 'ted': ted}",
        "if checkpoint := ray.train.get_checkpoint():",
        "    with checkpoint.as_directory() as folder:",
        "        saved = torch.load(Path(folder) / 'run.pt', weights_only=True)",
        "    for name, part in parts.items():",
        "        part.load_state_dict(saved[name])",
        "    torch.set_rng_state(saved['generator'])",
    ),
    (
        "at",
        r"^    for epoch in range\(epochs\):\n.*get_world_size.*\n.*\n.*set_epoch",
        "for epoch in range(ted.epoch, epochs):",
        "    ted.set_epoch(epoch)",
    ),
    (
        "at",
        r"^        for X, y in tqdm\(train_dataloader",
        "for ids, (X, y) in tqdm(train_dataloader, desc=f'Train Epoch {epoch}'):",
    ),
    (
        "at",
        r"^            loss = loss_fn\(pred, y\)(?=\n\n +optimizer.zero_grad)",
        "losses = F.cross_entropy(pred, y, reduction='none')",
        "loss = ted.loss(losses, ids=ids, logits=pred, labels=y)",
    ),
    (
        "at",
        r"^        ray.train.report\(",
        "ted.close_epoch()",
        "with tempfile.TemporaryDirectory() as folder:",
        "    checkpoint = None",
        "    if ray.train.get_context().get_world_rank() == 0:",
        "        saved = {name: part.state_dict() for name, part in parts.items()}",
        "        saved['generator'] = torch.get_rng_state()",
        "        torch.save(saved, Path(folder) / 'run.pt')",
        "        checkpoint = Checkpoint.from_directory(folder)",
        "    metrics = {'loss': test_loss, 'accuracy': accuracy}",
        "    metrics |= run_metrics(ted.pruner)",
        "    ray.train.report(metrics, checkpoint=checkpoint)",
    ),
    (
        "after",
        "^        scaling_config=scaling_config,",
        "run_config=RunConfig(failure_config=FailureConfig(max_failures=1)),",
    ),
]
LOAD = (
    "at",
    r"^\(x_train, y_train\), .*load_data\(\)$",
    "import sys",
    "digits = np.load(sys.argv[1])",
    "x_train, y_train, x_test, y_test = (",
    "    digits[name] for name in ('x_train', 'y_train', 'x_test', 'y_test')",
    ")",
)
SEEDS = [  # of the page on resuming
    "import shutil",
    "from pathlib import Path",
    "from ted_core import load_state",
    "from ted_keras import TED",
    "",
    "def seeds(model):",
    "    return [v for v in model.variables if 'seed_generator' in v.path]",
    "",
    "class Keep(keras.callbacks.Callback):",
    "    def on_epoch_end(self, epoch, logs=None):",
    "        new = Path('new')",
    "        new.mkdir(exist_ok=True)",
    "        self.model.save(new / 'model.keras')",
    "        ted.save(new / 'ted.npz')",
    "        np.save(new / 'seeds.npy', [np.asarray(v) for v in seeds(self.model)])",
    "        new.replace(f'epoch-{epoch + 1:03d}')",
    "        for older in sorted(Path().glob('epoch-*'))[:-1]:",
    "            shutil.rmtree(older)",
]
CONVNET = [
    ("after", "^from keras import layers$", *SEEDS),
    (
        "at",
        r"^model.fit\(x_train, y_train",
        "saved = max(Path().glob('epoch-*'), default=None)",
        "if saved is not None:",
        "    model = keras.saving.load_model(saved / 'model.keras')",
        "held = len(x_train) // 10",
        "train_set = x_train[:-held], y_train[:-held]",
        "ted = TED(",
        "    model, train_set, batch_size=batch_size, epochs=epochs, prune_ratio=0.7",
        ")",
        "if saved is not None:",
        "    ted.load_state_dict(load_state(saved / 'ted.npz'))",
        "    for variable, value in zip(seeds(model), np.load(saved / 'seeds.npy')):",
        "        variable.assign(value)",
        "model.fit(",
        "    ted.data, epochs=epochs, initial_epoch=ted.epoch,",
        "    callbacks=[ted, Keep()],",
        "    validation_data=(x_train[-held:], y_train[-held:]),",
        ")",
    ),
]
TRANSFORMER = [
    ("after", "^from keras import layers$", "from ted_keras import TED"),
    (
        "at",
        r"^history = model.fit\((\n .*)+\n\)",
        "ted = TED(",
        "    model, (x_train, y_train), batch_size=32, epochs=6, prune_ratio=0.7,",
        "    backup='ted.npz',",
        ")",
        "history = model.fit(",
        "    ted.data, epochs=6, validation_data=(x_val, y_val),",
        "    callbacks=[ted, keras.callbacks.BackupAndRestore('keras')],",
        ")",
    ),
]
NEEDED_TRANSFORMER = [
    (
        "at",
        r"^\(x_train, y_train\), .*imdb.load_data",
        "import sys",
        "import numpy as np",
        "reviews = np.load(sys.argv[1])",
        "x_train, y_train, x_val, y_val = (",
        "    reviews[name] for name in ('x_train', 'y_train', 'x_val', 'y_val')",
        ")",
    ),
    (
        "at",
        r"^    x_train, y_train, batch_size=32, epochs=2",
        "x_train, y_train, batch_size=32, epochs=6, validation_data=(x_val, y_val),",
        "callbacks=[keras.callbacks.BackupAndRestore('keras')],",
    ),
]
PATTERN = [
    ("after", "^import keras$", "from ted_keras import TED"),
    (
        "at",
        r"^    def train_step\(self, data\):\n        x, y = data$",
        "def train_step(self, data):",
        "    x, y, weights = keras.utils.unpack_x_y_sample_weight(data)",
    ),
    (
        "at",
        r"^            loss = self.loss_fn\(",
        "loss = self.compute_loss(x, y, y_pred, weights)",
    ),
    (
        "at",
        r"^trainer_1.compile\(",
        "trainer_1.compile(optimizer=keras.optimizers.SGD(), loss=trainer_1.loss_fn)",
    ),
    (
        "at",
        r"^trainer_1.fit\((\n .*)+\n\)",
        "ted = TED(",
        "    trainer_1, (x_train, y_train), batch_size=64, epochs=5, prune_ratio=0.7,",
        "    backup='ted.npz',",
        ")",
        "trainer_1.fit(",
        "    ted.data, epochs=5, validation_data=(x_test, y_test),",
        "    callbacks=[ted, keras.callbacks.BackupAndRestore('keras')],",
        ")",
    ),
]
NEEDED_PATTERN = [
    (
        "at",
        r"^\(x_train, y_train\), .*load_data\(\)$",
        "import sys",
        "import numpy as np",
        *LOAD[3:],
    ),
    (
        "at",
        r"^trainer_1.fit\(\n.*\n\)",
        "trainer_1(x_train[:1])  # Keras asks for it before it restores",
        "trainer_1.fit(",
        "    x_train, y_train, epochs=5, batch_size=64,",
        "    validation_data=(x_test, y_test),",
        "    callbacks=[keras.callbacks.BackupAndRestore('keras')],",
        ")",
    ),
    ("at", r"^trainer_2.compile\((.*\n)*\)"),
]
JAX = [
    (
        "after",
        "^from examples import datasets$",
        "from pathlib import Path",
        "",
        "import jax",
        "import numpy as np",
        "import ted_core as ted",
    ),
    ("at", r"^def loss\(params, batch\):", "def loss(params, batch, loss_scale):"),
    (
        "at",
        r"^  return -jnp.mean\(jnp.sum\(preds",
        "losses = -jnp.sum(preds * targets, axis=1)",
        "return loss_scale * jnp.mean(losses), preds",
    ),
    (
        "at",
        r"^  def data_stream\(\):(\n.*)+?\n  batches = data_stream\(\)",
        "pruner = ted.Pruner(",
        "  num_train, epochs=num_epochs, prune_ratio=0.7, multiple_of=batch_size",
        ")",
        "",
        "def data_stream(order):",
        "  for i in range(0, len(order), batch_size):",
        "    ids = order[i:i + batch_size]",
        "    yield ids, (train_images[ids], train_labels[ids])",
    ),
    (
        "at",
        r"^  def update\(i, opt_state, batch\):",
        "def update(i, opt_state, batch, loss_scale):",
    ),
    (
        "at",
        r"^    return opt_update\(",
        "gradient, preds = grad(loss, has_aux=True)(params, batch, loss_scale)",
        "values = ted.cross_entropy_mask_gradient(preds, batch[1].argmax(1))",
        "return opt_update(i, gradient, opt_state), values",
    ),
    (
        "before",
        r"^  for epoch in range\(num_epochs\):",
        "path = Path('run.ted')",
        "if path.exists():",
        "  saved = ted.load_state(path)",
        "  leaves, tree = jax.tree.flatten(opt_state)",
        "  parts = [saved.pop(f'part{k}') for k in range(len(leaves))]",
        "  opt_state = jax.tree.unflatten(tree, map(jnp.asarray, parts))",
        "  pruner.load_state_dict(saved)",
    ),
    (
        "at",
        r"^  for epoch in range\(num_epochs\):",
        "for epoch in range(pruner.epoch, num_epochs):",
        "  plan, seen = pruner.plan(), []",
    ),
    (
        "at",
        r"^    for _ in range\(num_batches\):\n.*",
        "for ids, batch in data_stream(plan.order):",
        "  opt_state, values = update(",
        "    next(itercount), opt_state, batch, plan.loss_scale",
        "  )",
        "  seen.append((ids, values))",
        "pruner.observe(*map(jnp.concatenate, zip(*seen)))",
        "pruner.advance()",
        "parts = map(np.asarray, jax.tree.leaves(opt_state))",
        "own = {f'part{k}': part for k, part in enumerate(parts)}",
        "ted.save_state(path, {**pruner.state_dict(), **own})",
    ),
]
KERAS = {
    "page": "keras",
    "repository": "keras-team/keras-io",
    "commit": "5aa10a6f0ba29038ab4a42daa8d2ac34c7dbebd4",
    "packages": ("keras", "tensorflow_cpu"),
    "framework": "keras",
    "resume": "",
    "environment": {"KERAS_BACKEND": "tensorflow", "KERAS_HOME": "{data}/keras"},
}

SCRIPTS = {
    "ray_fashion_mnist": Script(
        page="ray",
        repository="ray-project/ray",
        commit="ray-2.60.0",
        path="python/ray/train/examples/pytorch/torch_fashion_mnist_example.py",
        edits={"torch_fashion_mnist_example.py": RAY},
        needed={
            "torch_fashion_mnist_example.py": [
                (
                    "at",
                    r"^    train_fashion_mnist\(num_workers=4",
                    "train_fashion_mnist(num_workers=2)",
                ),
            ]
        },
        arguments="",
        data=fashion,
        packages=("torch", "ray"),
        framework="ray",
        environment={
            "HOME": "{data}",
            "RAY_AUTH_MODE": "disabled",
            "RAY_USAGE_STATS_ENABLED": "0",
            "TED_PROCESSES": "example|default_worker",
        },
        resume="",
        workers=2,
        restarted=True,
    ),
    "mnist_convnet": Script(
        **KERAS,
        path="examples/vision/mnist_convnet.py",
        edits={"mnist_convnet.py": CONVNET},
        needed={"mnist_convnet.py": [LOAD, ("at", "^epochs = 15$", "epochs = 6")]},
        arguments="{data}/digits.npz",
        data=arrays,
    ),
    "text_classification_with_transformer": Script(
        **KERAS,
        path="examples/nlp/text_classification_with_transformer.py",
        edits={"text_classification_with_transformer.py": TRANSFORMER},
        needed={"text_classification_with_transformer.py": NEEDED_TRANSFORMER},
        arguments="{data}/reviews.npz",
        data=reviews,
        remark="Keras alone saves no states of dropout.",
    ),
    "trainer_pattern": Script(
        **KERAS,
        path="examples/keras_recipes/trainer_pattern.py",
        edits={"trainer_pattern.py": PATTERN},
        needed={"trainer_pattern.py": NEEDED_PATTERN},
        arguments="{data}/digits.npz",
        data=arrays,
        remark="Keras alone saves no states of dropout.",
    ),
    "mnist_classifier": Script(
        page="jax",
        repository="jax-ml/jax",
        commit="cec06d116c05f0d52adfceee3d3b730fdbcb0ce5",
        path="examples/mnist_classifier.py",
        edits={"mnist_classifier.py": JAX},
        arguments="",
        data=package,
        packages=("jax",),
        framework="jax",
        environment={"TED_STEP": "update"},
        resume="",
    ),
}
