#!/usr/bin/env bash
# The same as install-minikube.sh with kind, which is lighter and knows no GPUs: engines are simulated.
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
parse_options "Usage: install-kind.sh [--no-image] [--dir FOLDER] [--dry-run]
Installs kubectl $KUBECTL_VERSION, Helm $HELM_VERSION and kind $KIND_VERSION where they are missing, makes the cluster lmstack and
loads the router's image into it." "$@"
[ "$gpu" != yes ] || die "--gpu yes: kind gives no GPU to pods; use install-minikube.sh"

install_kubectl
install_helm
install_kind
[ "$dry_run" = yes ] || need_docker

if has kind && kind get clusters 2>/dev/null | grep -qx lmstack; then
  say "the cluster lmstack is there already"
else
  change kind create cluster --name lmstack --wait 120s
fi

if [ "$build_image" = yes ]; then
  image=$(chart_image)
  if has docker && docker image inspect "$image" >/dev/null 2>&1; then
    say "$image is built already"
  else
    change docker build --tag "$image" "$repository"
  fi
  change kind load docker-image "$image" --name lmstack
fi
next_steps no
