# What ToolScaleDataset and Evaluation run: synthesis of worlds, and evaluation on them; the command chooses which, by default
# the synthesis. Configuration, results and summary as in docs/howto/jobs.md.
# BASE, UV and SSL_CERT_FILE as in platform.Dockerfile.
ARG BASE=python:3.12-slim-bookworm
ARG UV=astral/uv:0.13.9

FROM ${UV} AS uv

FROM ${BASE} AS build
COPY --from=uv /uv /usr/local/bin/uv
ARG SSL_CERT_FILE
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never VIRTUAL_ENV=/opt/toolorchestra
WORKDIR /build
RUN uv venv --quiet --python "$(command -v python3)" "$VIRTUAL_ENV"
COPY requirements-jobs.lock ./
RUN --mount=type=cache,target=/root/.cache/uv uv pip install --quiet --require-hashes --requirements requirements-jobs.lock
COPY services services
COPY training-jobs training-jobs
RUN --mount=type=cache,target=/root/.cache/uv \
    uv pip install --quiet --offline --no-deps --no-build-isolation --no-sources --reinstall \
      services/core services/worlds training-jobs/toolscale training-jobs/evaluate \
 && uv pip uninstall --quiet hatchling editables trove-classifiers

FROM ${BASE}
RUN echo "toolorchestra:x:65532:65532::/tmp:/usr/sbin/nologin" >>/etc/passwd && echo "toolorchestra:x:65532:" >>/etc/group
COPY --from=build /opt/toolorchestra /opt/toolorchestra
ENV PATH=/opt/toolorchestra/bin:/usr/local/bin:/usr/bin:/bin HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="ToolOrchestra jobs" \
      org.opencontainers.image.description="Synthesis of worlds and evaluation for ToolOrchestra" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
WORKDIR /
USER 65532:65532
CMD ["python", "-m", "toolorchestra.training.toolscale"]
