#!/usr/bin/env bash
# From a machine with Docker to a cluster that the chart can be installed in: kubectl, Helm, minikube, a running cluster, with
# the machine's GPUs where it has some, and the router's image in it. Run it again at will: what is there stays.
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
parse_options "Usage: install-minikube.sh [--gpu auto|yes|no] [--no-image] [--dir FOLDER] [--dry-run]
Installs kubectl $KUBECTL_VERSION, Helm $HELM_VERSION and minikube $MINIKUBE_VERSION where they are missing, starts a cluster and
builds the router's image in it. --gpu auto gives it the GPUs that nvidia-smi finds." "$@"

install_kubectl
install_helm
install_minikube
[ "$dry_run" = yes ] || need_docker

with_gpu=no
if use_gpu; then with_gpu=yes; fi

if has minikube && [ "$(minikube status --format '{{.Host}}' 2>/dev/null)" = Running ]; then
  say "minikube is running already"
else
  arguments=(--driver=docker --container-runtime=docker --cpus=max --memory=max)
  [ "$with_gpu" = no ] || arguments+=(--gpus=all)
  # the docker driver refuses root unless it is told twice
  [ "$(id -u)" -ne 0 ] || arguments+=(--force)
  change minikube start "${arguments[@]}"
fi

if [ "$build_image" = yes ]; then
  image=$(chart_image)
  if has minikube && minikube image ls 2>/dev/null | grep -q "$image\$"; then
    say "$image is in the cluster already"
  else
    change minikube image build --tag "$image" "$repository"
  fi
fi

if [ "$with_gpu" = yes ]; then
  # the device plugin takes a while to tell what there is
  change kubectl wait --for='jsonpath={.status.allocatable.nvidia\.com/gpu}' node --all --timeout=300s
fi
next_steps "$with_gpu"
