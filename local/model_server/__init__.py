"""The local stack's model server: several bases and adapters by name in one process, over OpenAI's protocol.

`python -m local.model_server HOST PORT`. It starts empty; the deployer verifies files and has them loaded, as with
vLLM. Where a request goes: `app` -> `requests` -> `worker` (a thread) -> `batch` -> `app`.
"""
