# What the scripts beside this file have in common. Sourced, never run.
# shellcheck shell=bash

# Versions that are installed. Each script takes another one from a variable of the same name.
KUBECTL_VERSION=${KUBECTL_VERSION:-v1.35.2}
HELM_VERSION=${HELM_VERSION:-v4.1.4}
MINIKUBE_VERSION=${MINIKUBE_VERSION:-v1.37.0}
KIND_VERSION=${KIND_VERSION:-v0.30.0}

dry_run=no
gpu=auto
bin=${INSTALL_DIR:-}
# what the pods of the chart run: built from this repository, since a cluster on a laptop pulls it from nowhere
# (read by the scripts that make a cluster)
# shellcheck disable=SC2034
build_image=yes

say() { printf '%s\n' "$*"; }
warn() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; }
die() {
  warn "$@"
  exit 1
}
has() { command -v "$1" >/dev/null 2>&1; }

# Runs a command that changes something; with --dry-run it only says so.
change() {
  if [ "$dry_run" = yes ]; then
    say "would run: $*"
  else
    "$@"
  fi
}

# Options that all scripts have: parse_options USAGE "$@"
parse_options() {
  local usage=$1
  shift
  while [ $# -gt 0 ]; do
    case $1 in
      --dry-run) dry_run=yes ;;
      --dir)
        [ $# -ge 2 ] || die "--dir needs a folder"
        bin=$2
        shift
        ;;
      --gpu)
        case ${2:-} in
          auto | yes | no) gpu=$2 ;;
          *) die "--gpu ${2:-}: give auto, yes or no" ;;
        esac
        shift
        ;;
      --no-image)
        # shellcheck disable=SC2034
        build_image=no
        ;;
      -h | --help)
        say "$usage"
        exit 0
        ;;
      *) die "$1: unknown option; --help lists them" ;;
    esac
    shift
  done
}

os() {
  case $(uname -s) in
    Linux) echo linux ;;
    Darwin) echo darwin ;;
    *) die "$(uname -s) is not known here: Linux and macOS are" ;;
  esac
}

arch() {
  case $(uname -m) in
    x86_64 | amd64) echo amd64 ;;
    aarch64 | arm64) echo arm64 ;;
    *) die "$(uname -m) is not known here: x86_64 and arm64 are" ;;
  esac
}

# Where programs go: --dir, else /usr/local/bin where it can be written, else ~/.local/bin.
install_dir() {
  if [ -n "$bin" ]; then
    echo "$bin"
  elif [ -w /usr/local/bin ]; then
    echo /usr/local/bin
  else
    echo "$HOME/.local/bin"
  fi
}

sha256_of() {
  if has sha256sum; then
    sha256sum "$1" | cut -d' ' -f1
  else
    shasum -a 256 "$1" | cut -d' ' -f1
  fi
}

scratch=
clean_up() { [ -z "$scratch" ] || rm -rf "$scratch"; }
trap clean_up EXIT

fetch() { # URL FILE
  curl --fail --silent --show-error --location --proto '=https' --retry 3 --output "$2" "$1" || die "$1 could not be fetched"
}

# Downloads a file and the checksum that its makers publish beside it, and compares the two. The checksum file holds the sum
# alone, or the sum and a name.
fetch_verified() { # URL CHECKSUM_URL FILE
  local published actual
  fetch "$1" "$3"
  fetch "$2" "$3.checksum"
  published=$(tr -s '[:space:]' ' ' <"$3.checksum" | cut -d' ' -f1)
  [[ $published =~ ^[0-9a-f]{64}$ ]] || die "$2 holds no SHA-256 sum"
  actual=$(sha256_of "$3")
  [ "$published" = "$actual" ] || die "$1 is not what its makers published: SHA-256 $actual, and not $published. Nothing was installed."
}

# Installs a program that is one file, or one file in a .tar.gz. What is there already is left alone, whatever its version.
install_program() { # NAME VERSION URL CHECKSUM_URL [PATH_IN_ARCHIVE]
  local name=$1 version=$2 url=$3 checksum=$4 inside=${5:-} dir file
  if has "$name"; then
    say "$name is there already: $(command -v "$name")"
    return
  fi
  dir=$(install_dir)
  if [ "$dry_run" = yes ]; then
    say "would fetch: $url"
    say "would compare it with: $checksum"
    say "would install: $dir/$name ($version)"
    return
  fi
  has curl || die "curl is missing: install it with your system's packages"
  scratch=$(mktemp -d)
  file=$scratch/${url##*/}
  say "fetching $name $version"
  fetch_verified "$url" "$checksum" "$file"
  if [ -n "$inside" ]; then
    tar -xzf "$file" -C "$scratch" "$inside"
    file=$scratch/$inside
  fi
  mkdir -p "$dir"
  # a rename, so that nobody ever runs half a program
  install -m 755 "$file" "$dir/.$name.new"
  mv "$dir/.$name.new" "$dir/$name"
  rm -rf "$scratch"
  scratch=
  say "$name $version is installed: $dir/$name"
  case ":$PATH:" in
    *":$dir:"*) ;;
    *)
      warn "$dir is not in your PATH; add it: export PATH=\"$dir:\$PATH\""
      export PATH="$dir:$PATH"
      ;;
  esac
}

install_kubectl() {
  local base
  base=https://dl.k8s.io/release/$KUBECTL_VERSION/bin/$(os)/$(arch)/kubectl
  install_program kubectl "$KUBECTL_VERSION" "$base" "$base.sha256"
}

install_helm() {
  local platform base
  platform=$(os)-$(arch)
  base=https://get.helm.sh/helm-$HELM_VERSION-$platform.tar.gz
  install_program helm "$HELM_VERSION" "$base" "$base.sha256sum" "$platform/helm"
}

install_minikube() {
  local base
  base=https://github.com/kubernetes/minikube/releases/download/$MINIKUBE_VERSION/minikube-$(os)-$(arch)
  install_program minikube "$MINIKUBE_VERSION" "$base" "$base.sha256"
}

install_kind() {
  local base
  base=https://github.com/kubernetes-sigs/kind/releases/download/$KIND_VERSION/kind-$(os)-$(arch)
  install_program kind "$KIND_VERSION" "$base" "$base.sha256sum"
}

need_docker() {
  has docker || die "docker is missing: https://docs.docker.com/engine/install/"
  docker info >/dev/null 2>&1 || die "docker does not answer: is it running, and may you use it? Try: docker info"
}

# Is there an NVIDIA GPU that containers can be given?
use_gpu() {
  [ "$gpu" != no ] || return 1
  if ! has nvidia-smi || ! nvidia-smi -L 2>/dev/null | grep -q '^GPU'; then
    [ "$gpu" = auto ] || die "--gpu yes: nvidia-smi finds no GPU"
    return 1
  fi
  if ! docker info --format '{{json .Runtimes}}' 2>/dev/null | grep -q nvidia; then
    local how="install the NVIDIA container toolkit, then: sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker"
    [ "$gpu" = auto ] || die "--gpu yes: docker can't give a GPU to containers: $how"
    warn "there is a GPU, but docker can't give it to containers, so the cluster gets none: $how"
    return 1
  fi
}

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Name of the image that the chart asks for.
chart_image() {
  local version
  version=$(sed -n 's/^appVersion: *"\{0,1\}\([^"]*\)"\{0,1\}$/\1/p' "$repository/helm/Chart.yaml")
  echo "lmstack/lmstack:$version"
}

# What comes next, with and without a GPU. $1 = has a GPU
next_steps() {
  local simulated=
  [ "$1" = yes ] || simulated=" --set servingEngineSpec.modelSpec[0].engine.simulated=true"
  say
  say "Next:"
  say "  cd $repository/helm"
  say "  helm install lmstack . -f values-customized.yaml$simulated"
  [ "$1" = yes ] || say "(There is no GPU, so engines are simulated.)"
}
