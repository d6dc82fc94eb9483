# What a TrainingRun runs: training by GRPO, and serving what came of it (`python -m toolorchestra.training.grpo serve MODEL`).
# Configuration, results and summary as in docs/howto/jobs.md. It runs with GPUs and without; DEVICE=cpu leaves out what only
# GPUs need, which makes it a third as large. BASE, UV and SSL_CERT_FILE as in platform.Dockerfile.
ARG BASE=python:3.12-slim-bookworm
ARG UV=astral/uv:0.13.9

FROM ${UV} AS uv

FROM ${BASE} AS build
COPY --from=uv /uv /usr/local/bin/uv
ARG SSL_CERT_FILE
ARG DEVICE=gpu
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never UV_HTTP_TIMEOUT=300 VIRTUAL_ENV=/opt/toolorchestra
WORKDIR /build
RUN [ "$DEVICE" = gpu ] || { apt-get -q update && apt-get -q install -y --no-install-recommends gcc libc6-dev; }
RUN uv venv --quiet --python "$(command -v python3)" "$VIRTUAL_ENV"
COPY training-jobs/grpo/requirements.lock infra/images/without-gpu.sh ./
RUN --mount=type=cache,target=/root/.cache/uv \
    uv pip sync --quiet --require-hashes requirements.lock \
 && { [ "$DEVICE" = gpu ] || ./without-gpu.sh "$(echo "$VIRTUAL_ENV"/lib/python3.*/site-packages)"; }
COPY services services
COPY training-jobs/grpo training-jobs/grpo
RUN --mount=type=cache,target=/root/.cache/uv \
    uv pip install --quiet --offline --no-deps --no-build-isolation --no-sources --reinstall \
      services/core services/worlds training-jobs/grpo \
 && uv pip uninstall --quiet hatchling editables trove-classifiers pytest pytest-asyncio pytest-timeout

FROM ${BASE}
RUN echo "toolorchestra:x:65532:65532::/tmp:/usr/sbin/nologin" >>/etc/passwd && echo "toolorchestra:x:65532:" >>/etc/group
COPY --from=build /opt/toolorchestra /opt/toolorchestra
# What the tiny policy begins with.
COPY training-jobs/grpo/seed /opt/toolorchestra/seed
# One thread: more of them than there is work are several times slower, and digits repeat with one.
ENV PATH=/opt/toolorchestra/bin:/usr/local/bin:/usr/bin:/bin HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    OMP_NUM_THREADS=1
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="ToolOrchestra training" \
      org.opencontainers.image.description="Training of ToolOrchestra's manager by GRPO, and its serving" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
WORKDIR /
USER 65532:65532
CMD ["python", "-m", "toolorchestra.training.grpo"]
