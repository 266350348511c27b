#!/bin/sh
# The part of the official image's contract that stacks rely on: POSTGRES_USER, POSTGRES_PASSWORD and POSTGRES_DB, each
# also as NAME_FILE for a secret, and files in /docker-entrypoint-initdb.d that run once, on an empty data folder, before
# the server listens on the network.
set -eu

setting() {
    eval "value=\${$1:-}; file=\${$1_FILE:-}"
    [ -z "$file" ] || value=$(cat "$file")
    printf '%s' "${value:-$2}"
}

case "$1" in -*) set -- postgres "$@" ;; esac
[ "$1" = postgres ] || exec "$@"

if [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA"
    chown -R postgres: "$PGDATA" /var/run/postgresql
    chmod 700 "$PGDATA"
    # Secrets are readable by root alone: fetch them before the user changes.
    POSTGRES_PASSWORD=$(setting POSTGRES_PASSWORD '') && export POSTGRES_PASSWORD && unset POSTGRES_PASSWORD_FILE
    exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    user=$(setting POSTGRES_USER postgres)
    database=$(setting POSTGRES_DB "$user")
    password=$(setting POSTGRES_PASSWORD '')
    [ -n "$password" ] || { echo 'POSTGRES_PASSWORD is empty' >&2 && exit 1; }

    printf '%s\n' "$password" >/tmp/password
    initdb --username="$user" --pwfile=/tmp/password
    rm /tmp/password
    echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"

    pg_ctl -o "-c listen_addresses=''" -w start
    [ "$database" = postgres ] || createdb --username="$user" "$database"
    export PGUSER="$user" PGDATABASE="$database"
    export POSTGRES_USER="$user" POSTGRES_DB="$database" POSTGRES_PASSWORD="$password"
    for file in /docker-entrypoint-initdb.d/*; do
        echo "running $file"
        case "$file" in
        *.sh) bash "$file" ;;
        *.sql) psql --no-psqlrc -v ON_ERROR_STOP=1 --file="$file" ;;
        *.sql.gz) gzip -dc "$file" | psql --no-psqlrc -v ON_ERROR_STOP=1 ;;
        *) echo "left out $file" ;;
        esac
    done
    unset PGUSER PGDATABASE POSTGRES_USER POSTGRES_DB POSTGRES_PASSWORD
    pg_ctl -m fast -w stop
fi

exec "$@" -c 'listen_addresses=*'
