"""`python -m services.evaluator` serves; with `generate` it answers one job and ends, with `tasks` one of lm-eval's,
and with `schema` it prints the JSON schema of a report."""

import json
import sys


def main(arguments: list[str]) -> int:
    if arguments == ["generate"]:
        from services.evaluator.adapters import generation

        return generation.main()
    if arguments == ["tasks"]:
        from services.evaluator.adapters import task_harness

        return task_harness.main()
    if arguments == ["schema"]:
        from services.evaluator.domain.report_schema import render_schema

        sys.stdout.write(json.dumps(render_schema(), indent=2) + "\n")
        return 0
    if arguments:
        sys.stderr.write(f"unknown role {arguments[0]!r}: give none, generate, tasks or schema\n")
        return 2
    from services.evaluator.bootstrap import service

    service.main()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
