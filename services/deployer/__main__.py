"""`python -m services.deployer`, and once at first `python -m services.deployer adopt --model FOLDER_OR_NAME`."""

import argparse

from services.deployer.bootstrap import run, run_adopt


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m services.deployer")
    roles = parser.add_subparsers(dest="role")
    adopt = roles.add_parser("adopt", help="make a model the first champion")
    adopt.add_argument("--model", required=True, help="a checkpoint folder, or the name its model server knows it by")
    adopt.add_argument("--name", help="what people call it")
    arguments = parser.parse_args()
    if arguments.role == "adopt":
        run_adopt(arguments.model, arguments.name)
    else:
        run()


if __name__ == "__main__":
    main()
