"""`python -m mayo_data.phi.training --out DIR --seed 1`: makes the model anew, on one core, from the templates."""

from __future__ import annotations

import argparse
from pathlib import Path

from mayo_data.phi.training.train import STEPS, train


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(prog="python -m mayo_data.phi.training", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the model")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=STEPS, help="batches to learn from")
    parser.add_argument("--max-minutes", type=float, default=None, help="be done by then, with fewer batches")
    arguments = parser.parse_args()
    train(arguments.out, arguments.seed, arguments.max_minutes, arguments.steps)


if __name__ == "__main__":
    main()
