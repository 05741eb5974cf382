// A release of the chart in a real cluster: what it is installed with, and how it is asked.
import { spawn } from "node:child_process";
import { join } from "node:path";
import type { TestContext } from "node:test";

import { valueOf } from "../../helpers/exposition.ts";
import type { Cluster } from "../cluster.ts";
import { chartFolder } from "./render.ts";

/** The router, simulated engines and test pods must run where nothing else may. */
export const restricted = { "pod-security.kubernetes.io/enforce": "restricted" };

export const simulated = "servingEngineSpec.modelSpec[0].engine.simulated=true";
export const readmeValues = join(chartFolder, "values-customized.yaml");
export const quick = ["--wait", "--timeout", "120s"];

/** `kubectl port-forward` to the router's Service, as the README has it. @returns its origin */
export async function forward(t: TestContext, kube: Cluster, namespace: string, release = "lmstack"): Promise<string> {
  const child = spawn("kubectl", ["port-forward", "-n", namespace, `svc/${release}-router-service`, ":80"], {
    env: { ...process.env, KUBECONFIG: kube.kubeconfig },
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.after(() => child.kill("SIGKILL"));
  return new Promise((resolve, reject) => {
    let text = "";
    child.once("exit", (code) => reject(new Error(`kubectl port-forward ended with ${code}: ${text}`)));
    child.stdout.on("data", (data: Buffer) => {
      text += data.toString();
      const port = /Forwarding from 127\.0\.0\.1:(\d+)/.exec(text)?.[1];
      if (port !== undefined) resolve(`http://127.0.0.1:${port}`);
    });
  });
}

export async function names(kube: Cluster, namespace: string, kinds: string): Promise<string[]> {
  const text = await kube.kubectl(["get", kinds, "-n", namespace, "-o", "name"]);
  return text.split("\n").filter((line) => line !== "");
}

/** The README's request. */
export async function complete(
  origin: string,
  headers: Readonly<Record<string, string>> = {},
  settings: object = {},
): Promise<Response> {
  const body = { model: "facebook/opt-125m", prompt: "Write a simple poem: ", stream: false, max_tokens: 30 };
  return fetch(`${origin}/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify({ ...body, ...settings }),
  });
}

/** Value of a metric of the router; 0 = it has no such series yet. @param series with its labels */
export async function metric(origin: string, series: string): Promise<number> {
  return valueOf(await (await fetch(`${origin}/metrics`)).text(), series);
}
