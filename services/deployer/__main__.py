"""`python -m services.deployer`, and once at first `python -m services.deployer adopt --model FOLDER_OR_NAME`."""

import argparse

from services.deployer.bootstrap import run, run_adopt, run_agent


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m services.deployer")
    roles = parser.add_subparsers(dest="role")
    adopt = roles.add_parser("adopt", help="make a model the first champion")
    kinds = "its folder or address (s3://..., hf://owner/name@commit), or a served name"
    adopt.add_argument("--model", required=True, help=kinds)
    adopt.add_argument("--files", help="with a served name: the address of its files")
    adopt.add_argument("--name", help="what people call it")
    agent = roles.add_parser("agent", help="beside a vLLM: fetch adapters by address and have it load them")
    agent.add_argument("--vllm", default="http://127.0.0.1:8000/v1", help="vLLM's base URL")
    agent.add_argument("--port", type=int, default=8010, help="where the deployer reaches this agent")
    arguments = parser.parse_args()
    if arguments.role == "adopt":
        run_adopt(arguments.model, arguments.name, arguments.files)
    elif arguments.role == "agent":
        run_agent(arguments.vllm, arguments.port)
    else:
        run()


if __name__ == "__main__":
    main()
