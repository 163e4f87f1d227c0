"""`make bench-methods`: every method once on SmolLM2-135M, judged before and after on held-out questions."""

import argparse

from bench.methods.run import RECIPES, run
from recipes.command import Progress, add_options, choose_options


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser)
    parser.add_argument("--methods", default=",".join(RECIPES), help="some of them, with commas between; default: all")
    given = parser.parse_args()
    run(choose_options(given, "methods"), given.methods.split(","), Progress())


if __name__ == "__main__":
    main()
