#!/usr/bin/env bash
# With PostgreSQL 17, where its packages can be had.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
version=17
source "$project/tests/e2e/newer_postgresql.sh"
