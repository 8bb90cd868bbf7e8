#!/usr/bin/env bash
# Creates a temporary CA, a collector's certificate and a client's, all valid for a year.
#
#   ./certificates.sh [DIRECTORY]        (default: ./certs; existing files are overwritten)
#   KEY_BITS=2048 ./certificates.sh      (default: 4096)
#
# The steps are the ones nearly every guide prints, on purpose. In particular the client's certificate is signed
# without an extension file: before OpenSSL 3.2 that makes it X.509 version 1, which this crate supports.
set -euo pipefail

directory=${1:-./certs}
bits=${KEY_BITS:-4096}

mkdir -p "$directory"
# Keys are for their owner only. A collector that runs as another user, as a container may, has to be given the
# right to read server.key: compose.yaml here runs it as the owner of the files.
umask 077
# Created in a temporary directory and moved when complete, so that a failure leaves no mixture of old and new files.
scratch=$(mktemp -d "$directory/.new.XXXXXX")
trap 'rm -rf "$scratch"' EXIT

# openssl reports progress on stderr: shown only when a step fails.
quietly() {
  local said
  said=$("$@" 2>&1) || { printf '%s failed:\n%s\n' "$*" "$said" >&2; exit 1; }
}

issue() { # issue NAME SUBJECT [OPTION...]: a key, and a certificate for it signed by the CA
  local name=$scratch/$1 subject=$2
  shift 2
  quietly openssl genrsa -out "$name.key" "$bits"
  quietly openssl req -new -key "$name.key" -out "$name.csr" -subj "$subject"
  quietly openssl x509 -req -days 365 -in "$name.csr" -CA "$scratch/ca.crt" -CAkey "$scratch/ca.key" \
    -CAcreateserial -out "$name.crt" "$@"
}

quietly openssl genrsa -out "$scratch/ca.key" "$bits"
quietly openssl req -new -x509 -days 365 -key "$scratch/ca.key" -out "$scratch/ca.crt" -subj "/CN=OTel CA/O=MyCompany"

# A client checks the host of its endpoint against these names; the CN is ignored.
names='DNS:otel-collector.observability.svc,DNS:localhost,IP:127.0.0.1,IP:::1'
echo "subjectAltName=$names" >"$scratch/server.ext"
issue server "/CN=otel-collector.observability.svc" -extfile "$scratch/server.ext"
issue client "/CN=my-application/O=MyCompany"

chmod 644 "$scratch"/*.crt
made=(ca.crt ca.key server.crt server.key client.crt client.key)
mv -f "${made[@]/#/$scratch/}" "$directory"
echo "$directory: ${made[*]}"
