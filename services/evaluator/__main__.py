"""`python -m services.evaluator` serves; `python -m services.evaluator generate` answers one job and ends."""

import sys


def main(arguments: list[str]) -> int:
    if arguments == ["generate"]:
        from services.evaluator.adapters import generation

        return generation.main()
    if arguments:
        sys.stderr.write(f"unknown role {arguments[0]!r}: give none, or generate\n")
        return 2
    from services.evaluator.bootstrap import service

    service.main()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
