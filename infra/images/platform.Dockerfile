# Every service in one image; the command chooses which, e.g. `python -m toolorchestra.worker`.
# BASE holds a Python from 3.11 to 3.13 as `python3`, UV holds /uv. infra/images/build.sh puts others in their place where no
# registry can be reached. The file systems of its containers may be read-only, apart from /tmp.
ARG BASE=python:3.12-slim-bookworm
ARG UV=astral/uv:0.13.9

FROM ${UV} AS uv

FROM ${BASE} AS build
COPY --from=uv /uv /usr/local/bin/uv
# A file of certificates to trust, mounted by networks that present their own.
ARG SSL_CERT_FILE
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never VIRTUAL_ENV=/opt/toolorchestra
WORKDIR /build
RUN uv venv --quiet --python "$(command -v python3)" "$VIRTUAL_ENV"
# First everything foreign, by hash; then the workspace's members, built by the tools that the lock brought.
COPY requirements-image.lock ./
RUN --mount=type=cache,target=/root/.cache/uv uv pip install --quiet --require-hashes --requirements requirements-image.lock
COPY services services
COPY tools tools
COPY operator operator
RUN --mount=type=cache,target=/root/.cache/uv \
    uv pip install --quiet --offline --no-deps --no-build-isolation --no-sources --reinstall \
      services/core services/kit services/ledger services/executors services/orchestrator services/worker ./operator tools/*/ \
 && uv pip uninstall --quiet hatchling editables trove-classifiers

FROM ${BASE}
RUN echo "toolorchestra:x:65532:65532::/tmp:/usr/sbin/nologin" >>/etc/passwd && echo "toolorchestra:x:65532:" >>/etc/group
COPY --from=build /opt/toolorchestra /opt/toolorchestra
ENV PATH=/opt/toolorchestra/bin:/usr/local/bin:/usr/bin:/bin HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="ToolOrchestra platform" \
      org.opencontainers.image.description="Orchestrator, worker, operator and migrations of ToolOrchestra" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
WORKDIR /
USER 65532:65532
CMD ["python", "-m", "toolorchestra.orchestrator"]
