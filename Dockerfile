# One file, two images. slim: ingest, gateway, curator, drift monitor, deployer, and the command (no torch).
# gpu: trainer, worker, evaluator (CUDA build of torch). docs/operations.md lists what is in each.
#   docker build --target slim -t heliotrope:slim .
#   docker build --target gpu -t heliotrope:gpu .

ARG PYTHON_IMAGE=python:3.11.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /app
COPY pyproject.toml README.md LICENSE alembic.ini ./
COPY shared shared
COPY services services
COPY local local
COPY cli cli
COPY migrations migrations
COPY recipes recipes

# Versions and hashes are those of `make lock`; torch has none, since its builds differ by machine.
FROM build AS build-slim
COPY requirements-slim.lock requirements.lock
RUN pip install --no-deps --require-hashes -r requirements.lock \
    && pip install --no-deps --no-build-isolation --editable .

FROM build AS build-gpu
COPY requirements-gpu.lock requirements.lock
COPY requirements-torch.lock ./
RUN pip install --no-deps --require-hashes -r requirements.lock && pip install -r requirements-torch.lock \
    && pip install --no-deps --no-build-isolation --editable .

FROM ${PYTHON_IMAGE} AS base
RUN groupadd --gid 10001 heliotrope \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/heliotrope heliotrope \
    && install -d -o heliotrope -g heliotrope /var/lib/heliotrope
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    HELIOTROPE_HOME=/var/lib/heliotrope \
    HELIOTROPE_BIND_HOST=0.0.0.0
WORKDIR /app
USER 10001:10001
VOLUME /var/lib/heliotrope
STOPSIGNAL SIGTERM
# Every process answers /healthz on its port; HELIOTROPE_PORT says which where it is not the service's own.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=6 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['HELIOTROPE_PORT'] + '/healthz', timeout=4)"]

FROM base AS slim
COPY --from=build-slim /opt/venv /opt/venv
COPY --from=build-slim /app /app
CMD ["heliotrope", "--help"]

FROM base AS gpu
COPY --from=build-gpu /opt/venv /opt/venv
COPY --from=build-gpu /app /app
CMD ["heliotrope", "--help"]

# MLflow's server with what it needs for Postgres and object storage.
FROM ${PYTHON_IMAGE} AS build-mlflow
COPY requirements-mlflow.lock /tmp/requirements.lock
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --no-deps --require-hashes -r /tmp/requirements.lock

FROM base AS mlflow
COPY --from=build-mlflow /opt/venv /opt/venv
HEALTHCHECK NONE
CMD ["mlflow", "server", "--help"]
