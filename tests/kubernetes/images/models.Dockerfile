# The model server of tests/containers with the tiny model inside, by the name of vLLM's command, whose arguments it ignores.
FROM heliotrope-test/models
COPY model /model
USER root
RUN printf '#!/bin/sh\nexec python /opt/server.py /model tiny 8000\n' > /opt/venv/bin/vllm && chmod 755 /opt/venv/bin/vllm
USER 10001:10001
