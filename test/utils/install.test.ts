// The scripts of utils/ with stand-ins for what they would download and start: their logic, not the world's.
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { arch, platform } from "node:os";
import { join } from "node:path";
import { describe, test, type TestContext } from "node:test";

import { root } from "../repo/imports.ts";
import { Machine } from "./machine.ts";

const cpu = arch() === "arm64" ? "arm64" : "amd64";
const system = platform() === "darwin" ? "darwin" : "linux";
const skip = platform() === "win32" || !existsSync("/bin/bash") ? "needs bash" : false;
const image = `lmstack/lmstack:${/appVersion: "(.*)"/.exec(readFileSync(join(root, "helm/Chart.yaml"), "utf8"))?.[1]}`;

/** With everything that makes a cluster, and no GPU. */
function equipped(t: TestContext): Machine {
  return new Machine(t).has("kubectl").has("helm").has("minikube").has("kind").has("docker");
}

const gpu = 'echo "GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-1)"';
const dockerWithGpu = `case "$*" in *Runtimes*) echo '{"nvidia":{},"runc":{}}' ;; esac`;

describe("installing a program", { skip }, () => {
  test("a file with its sum beside it is installed", (t) => {
    const machine = new Machine(t).publishes("kubectl", "#!/bin/sh\necho kubectl\n", { name: "kubectl.sha256" });
    const { code, output, complaints } = machine.run("install-kubectl.sh");
    assert.equal(code, 0, complaints);
    assert.equal(machine.installed("kubectl"), "#!/bin/sh\necho kubectl\n");
    const url = `https://dl.k8s.io/release/v1.35.2/bin/${system}/${cpu}/kubectl`;
    assert.deepEqual(machine.calls(), [`curl ${url}`, `curl ${url}.sha256`]);
    assert.match(output, /kubectl v1\.35\.2 is installed/);
  });

  test("a program inside an archive is installed, by a sum with a name behind it", (t) => {
    const machine = new Machine(t);
    const name = `helm-v4.1.4-${system}-${cpu}.tar.gz`;
    machine.publishes(name, machine.archive(`${system}-${cpu}/helm`, "helm itself"), { name: `${name}.sha256sum` });
    assert.equal(machine.run("install-helm.sh").code, 0);
    assert.equal(machine.installed("helm"), "helm itself");
  });

  for (const [what, text] of [
    ["is another's", `${"0".repeat(64)}  kubectl\n`],
    ["is no sum", "<html>not found</html>\n"],
    ["is empty", ""],
  ] as const) {
    test(`nothing is installed when the sum ${what}`, (t) => {
      const machine = new Machine(t).publishes("kubectl", "bad", { name: "kubectl.sha256", text });
      const { code, complaints } = machine.run("install-kubectl.sh");
      assert.equal(code, 1);
      assert.match(complaints, /is not what its makers published|holds no SHA-256 sum/);
      assert.equal(machine.installed("kubectl"), null);
    });
  }

  test("a download that fails is said, and nothing is installed", (t) => {
    const machine = new Machine(t);
    const { code, complaints } = machine.run("install-kubectl.sh");
    assert.equal(code, 1);
    assert.match(complaints, /dl\.k8s\.io.* could not be fetched/);
    assert.equal(machine.installed("kubectl"), null);
  });

  test("what is there stays, and nothing is fetched", (t) => {
    const machine = new Machine(t).has("kubectl");
    const { code, output } = machine.run("install-kubectl.sh");
    assert.equal(code, 0);
    assert.match(output, /kubectl is there already/);
    assert.deepEqual(machine.calls(), []);
  });

  test("an unknown option is an error, --help is not", (t) => {
    const machine = new Machine(t);
    assert.match(machine.run("install-helm.sh", "--forse").complaints, /--forse: unknown option/);
    assert.match(machine.run("install-minikube.sh", "--gpu", "some").complaints, /give auto, yes or no/);
    for (const script of ["install-helm.sh", "install-kubectl.sh", "install-kind.sh", "install-minikube.sh"]) {
      const { code, output } = machine.run(script, "--help");
      assert.equal(code, 0);
      assert.match(output, new RegExp(`^Usage: ${script}`));
    }
  });
});

describe("--dry-run", { skip }, () => {
  for (const script of ["install-helm.sh", "install-kubectl.sh", "install-kind.sh", "install-minikube.sh"]) {
    test(`${script} changes nothing and says what it would do`, (t) => {
      const machine = new Machine(t);
      const { code, output, complaints } = machine.run(script, "--dry-run");
      assert.equal(code, 0, complaints);
      assert.match(output, /would fetch: https:/);
      assert.match(output, /would compare it with: https:.*sha256/);
      assert.deepEqual(machine.calls(), []);
    });
  }
});

describe("install-minikube.sh", { skip }, () => {
  test("without a GPU: a cluster without one, the router's image in it, and engines that are simulated", (t) => {
    const machine = equipped(t);
    const { code, output, complaints } = machine.run("install-minikube.sh");
    assert.equal(code, 0, complaints);
    const calls = machine.calls();
    const start = calls.find((call) => call.startsWith("minikube start")) ?? "";
    assert.match(start, /--driver=docker --container-runtime=docker/);
    assert.doesNotMatch(start, /--gpus/);
    assert.ok(calls.some((call) => call.startsWith(`minikube image build --tag ${image} `)));
    assert.match(output, /helm install lmstack \. -f values-customized\.yaml --set .*simulated=true/);
  });

  test("with a GPU that docker can give to containers, the cluster gets it, and the first command needs no simulator", (t) => {
    const machine = equipped(t).has("nvidia-smi", gpu).has("docker", dockerWithGpu);
    const { code, output, complaints } = machine.run("install-minikube.sh");
    assert.equal(code, 0, complaints);
    const calls = machine.calls();
    assert.ok(calls.some((call) => call.startsWith("minikube start") && call.includes("--gpus=all")));
    assert.ok(calls.some((call) => call.startsWith("kubectl wait") && call.includes("gpu")));
    assert.match(output, /helm install lmstack \. -f values-customized\.yaml$/m);
  });

  test("with a GPU that docker can't give away it says how, and goes on without", (t) => {
    const machine = equipped(t).has("nvidia-smi", gpu);
    const { code, complaints } = machine.run("install-minikube.sh");
    assert.equal(code, 0);
    assert.match(complaints, /nvidia-ctk runtime configure --runtime=docker/);
    assert.ok(!machine.calls().some((call) => call.includes("--gpus")));
  });

  test("--gpu yes fails where there is none, --gpu no does not look", (t) => {
    assert.match(equipped(t).run("install-minikube.sh", "--gpu", "yes").complaints, /nvidia-smi finds no GPU/);
    const machine = equipped(t).has("nvidia-smi", gpu).has("docker", dockerWithGpu);
    assert.equal(machine.run("install-minikube.sh", "--gpu", "no").code, 0);
    assert.ok(!machine.calls().some((call) => call.includes("--gpus") || call.startsWith("nvidia-smi")));
  });

  test("run again, it starts and builds nothing", (t) => {
    const running = `case "$*" in *status*) echo Running ;; *"image ls"*) echo "docker.io/${image}" ;; esac`;
    const machine = equipped(t).has("minikube", running);
    const { code, output } = machine.run("install-minikube.sh");
    assert.equal(code, 0);
    assert.match(output, /is running already[\s\S]*is in the cluster already/);
    assert.deepEqual(
      machine.calls().filter((call) => /minikube (start|image build)/.test(call)),
      [],
    );
  });

  test("without docker it says where docker comes from", (t) => {
    const machine = new Machine(t).has("kubectl").has("helm").has("minikube");
    const { code, complaints } = machine.run("install-minikube.sh");
    assert.equal(code, 1);
    assert.match(complaints, /docker is missing: https:\/\/docs\.docker\.com/);
    const silent = equipped(t).has("docker", "exit 1").run("install-minikube.sh");
    assert.equal(silent.code, 1);
    assert.match(silent.complaints, /docker does not answer/);
  });
});

describe("install-kind.sh", { skip }, () => {
  test("makes a cluster, builds the image and loads it", (t) => {
    const machine = equipped(t).has("docker", 'case "$*" in "image inspect"*) exit 1 ;; esac');
    assert.equal(machine.run("install-kind.sh").code, 0);
    const calls = machine.calls().join("\n");
    assert.match(calls, /kind create cluster --name lmstack/);
    assert.match(calls, new RegExp(`docker build --tag ${image} `));
    assert.match(calls, new RegExp(`kind load docker-image ${image} --name lmstack`));
  });

  test("run again, it makes no second cluster and builds no second image", (t) => {
    const machine = equipped(t).has("kind", 'case "$*" in "get clusters") echo lmstack ;; esac');
    assert.equal(machine.run("install-kind.sh", "--no-image").code, 0);
    assert.ok(!machine.calls().some((call) => /kind create|docker build|kind load/.test(call)));
  });

  test("refuses to promise a GPU", (t) => {
    assert.match(equipped(t).run("install-kind.sh", "--gpu", "yes").complaints, /use install-minikube\.sh/);
  });
});
