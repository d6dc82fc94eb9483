#!/bin/sh
# Becomes the program that is named. A PostgreSQL without data first makes its cluster as the official image does: with the
# password in POSTGRES_PASSWORD_FILE, the user POSTGRES_USER and the database POSTGRES_DB.
set -eu

make_cluster() {
  user=${POSTGRES_USER:-postgres}
  database=${POSTGRES_DB:-$user}
  rm -rf "$PGDATA.new"
  mkdir -p "$(dirname "$PGDATA")"
  initdb --pgdata="$PGDATA.new" --username="$user" --pwfile="$POSTGRES_PASSWORD_FILE" --auth-local=trust \
    --auth-host=scram-sha-256 --encoding=UTF8 --locale-provider=builtin --builtin-locale=C.UTF-8 --locale=C >/dev/null
  echo "host all all all scram-sha-256" >>"$PGDATA.new/pg_hba.conf"
  [ "$database" = postgres ] || echo "CREATE DATABASE \"$database\"" | postgres --single -D "$PGDATA.new" postgres >/dev/null
  mv "$PGDATA.new" "$PGDATA" # a half-made cluster is never taken for a whole one
}

if [ "$1" = postgres ]; then
  [ -s "$PGDATA/PG_VERSION" ] || make_cluster
  shift
  set -- postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/var/run/postgresql "$@"
fi
exec "$@"
