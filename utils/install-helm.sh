#!/usr/bin/env bash
# Installs Helm, verified by the checksum that is published beside it.
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
parse_options "Usage: install-helm.sh [--dir FOLDER] [--dry-run]
Installs Helm $HELM_VERSION, unless there is one. HELM_VERSION names another." "$@"
install_helm
