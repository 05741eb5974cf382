#!/usr/bin/env bash
# Installs kubectl, verified by the checksum that is published beside it.
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
parse_options "Usage: install-kubectl.sh [--dir FOLDER] [--dry-run]
Installs kubectl $KUBECTL_VERSION, unless there is one. KUBECTL_VERSION names another." "$@"
install_kubectl
