# Init container of an engine: fetches a LoRA adapter, with what vLLM's image has. Arguments: JSON of the source, folder.
import fnmatch
import json
import os
import sys
import tarfile
import urllib.parse
import urllib.request
import zipfile

source, folder = json.loads(sys.argv[1]), sys.argv[2]
os.makedirs(folder, exist_ok=True)


def fail(why):
    sys.exit(f"adapter {source.get('adapterName') or folder}: {why}")


def from_http(url):
    if url.endswith((".tar.gz", ".tgz", ".tar", ".zip")):
        path = os.path.join(folder, os.path.basename(urllib.parse.urlsplit(url).path))
        download(url, path)
        if path.endswith(".zip"):
            with zipfile.ZipFile(path) as archive:
                archive.extractall(folder)
        else:
            with tarfile.open(path) as archive:
                archive.extractall(folder, filter="data")
        os.remove(path)
        return
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        download(f"{url.rstrip('/')}/{name}", os.path.join(folder, name))


def download(url, path):
    request = urllib.request.Request(url)
    token = os.environ.get("HTTP_TOKEN") or os.environ.get("token")
    if token:
        request.add_header("authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer, open(path, "wb") as file:
            while piece := answer.read(1 << 20):
                file.write(piece)
    except OSError as error:
        fail(f"{url}: {error}")


def from_s3(bucket, prefix, pattern):
    try:
        import boto3
    except ImportError:
        fail("the engine's image has no boto3: use an image with it, or a source of type http")
    # AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL come from the Secret of adapterSource.credentials
    objects = boto3.resource("s3").Bucket(bucket).objects.filter(Prefix=prefix)
    found = 0
    for entry in objects:
        name = os.path.relpath(entry.key, prefix) if prefix else entry.key
        if entry.key.endswith("/") or not fnmatch.fnmatch(name, pattern):
            continue
        path = os.path.join(folder, name)
        if not os.path.realpath(path).startswith(os.path.realpath(folder) + os.sep):
            fail(f"{entry.key} would be written outside of {folder}")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        entry.Object().download_file(path)
        found += 1
    if found == 0:
        fail(f"nothing below s3://{bucket}/{prefix} matches {pattern}")


if source["type"] == "http":
    from_http(source["adapterPath"])
else:
    from_s3(source["repository"], source.get("adapterPath") or "", source.get("pattern") or "*")
if not os.path.exists(os.path.join(folder, "adapter_config.json")):
    nested = [entry for entry in os.scandir(folder) if entry.is_dir()]
    if len(nested) == 1 and os.path.exists(os.path.join(nested[0].path, "adapter_config.json")):
        for entry in os.listdir(nested[0].path):
            os.rename(os.path.join(nested[0].path, entry), os.path.join(folder, entry))
    else:
        fail("there is no adapter_config.json in it")
