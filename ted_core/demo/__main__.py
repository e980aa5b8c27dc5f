"""Full data against TED and a random selection of as many samples, on the digits."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ted_core.demo.datasets import load_digits
from ted_core.demo.engine import check_arguments, make_parser, run_demo
from ted_core.demo.softmax import SoftmaxTraining
from ted_core.pruner import Pruner
from ted_core.strategies import Random, Strategy, TopScore


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demonstration, after a training that is thrown away."""
    parser = make_parser(
        "python -m ted_core.demo",
        "Softmax regression on handwritten digits: full data, TED, Random.",
        seeds=5,
        epochs=60,
        out="ted_demo.png",
    )
    arguments = parser.parse_args(argv)
    check_arguments(parser, arguments)
    digits = load_digits()

    def make_training(*, strategy: Strategy | None, seed: int) -> SoftmaxTraining:
        pruner = Pruner(
            len(digits.x_train),
            epochs=arguments.epochs,
            prune_ratio=arguments.prune_ratio if strategy else 0.0,
            strategy=strategy or Random(),
            seed=seed,
        )
        return SoftmaxTraining(digits, pruner, seed=seed)

    try:
        warm_up = make_training(strategy=TopScore(), seed=0)
        while not warm_up.finished:
            warm_up.take_turn()
        run_demo(arguments, make_training, pictures=digits.x_train.reshape(-1, 8, 8))
    except (ValueError, TypeError) as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
