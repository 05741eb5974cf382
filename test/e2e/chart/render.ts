// The chart as Helm renders it: values in, objects out. Everything below looks at objects, never at text.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { parseAllDocuments, stringify } from "yaml";

import { root } from "../../repo/imports.ts";
import { requireTool } from "../requires.ts";

export const chartFolder = join(root, "helm");

/** A Kubernetes object, or a part of one. Tests say what they expect to find, so nothing more is typed. */
export type Json = any;

export interface KubeObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: Json;
  readonly spec: Json;
  readonly [key: string]: Json;
}

export interface RenderOptions {
  readonly release?: string;
  readonly namespace?: string;
  /** Version of Kubernetes that the templates are told. */
  readonly kube?: string;
  /** Values files, before the values. */
  readonly files?: readonly string[];
  readonly chart?: string;
}

export class Rendered {
  readonly objects: readonly KubeObject[];
  readonly #release: string;

  constructor(objects: readonly KubeObject[], release: string) {
    this.objects = objects;
    this.#release = release;
  }

  find(kind: string, name: string): KubeObject | undefined {
    return this.objects.find((object) => object.kind === kind && object.metadata.name === name);
  }

  get(kind: string, name: string): KubeObject {
    const found = this.find(kind, name);
    if (found !== undefined) return found;
    const names = this.objects.map((object) => `${object.kind} ${object.metadata.name}`);
    throw new Error(`there is no ${kind} ${name}, but ${names.join(", ")}`);
  }

  kinds(): string[] {
    return [...new Set(this.objects.map(({ kind }) => kind))].toSorted();
  }

  router(): Workload {
    return new Workload(this.get("Deployment", `${this.#release}-deployment-router`));
  }

  engine(model: string, kind = "Deployment"): Workload {
    return new Workload(this.get(kind, `${this.#release}-${model}-deployment-vllm`));
  }
}

export class Workload {
  readonly object: KubeObject;

  constructor(object: KubeObject) {
    this.object = object;
  }

  get template(): Json {
    return this.object.spec.template ?? this.object.spec.leaderWorkerTemplate.leaderTemplate;
  }

  get pod(): Json {
    return this.template.spec;
  }

  get container(): Json {
    return this.pod.containers[0];
  }

  get args(): string[] {
    return this.container.args;
  }

  /** What follows a flag for the last time; undefined without it. */
  flag(name: string): string | undefined {
    const at = this.args.lastIndexOf(name);
    return at < 0 ? undefined : this.args[at + 1];
  }

  /** An environment variable: its value, or where it comes from. */
  env(name: string): Json {
    const found = this.container.env?.find((entry: Json) => entry.name === name);
    return found?.value ?? found?.valueFrom;
  }

  mount(path: string): Json {
    return this.container.volumeMounts?.find((entry: Json) => entry.mountPath === path);
  }

  /** The volume behind a mount. */
  volume(path: string): Json {
    return this.pod.volumes?.find((entry: Json) => entry.name === this.mount(path)?.name);
  }
}

export class Chart {
  readonly #helm: string;

  constructor(helm: string) {
    this.#helm = helm;
  }

  /** @throws Error with Helm's words when it refuses */
  render(values: object = {}, options: RenderOptions = {}): Rendered {
    const release = options.release ?? "lmstack";
    const run = this.#template(values, options);
    if (run.status !== 0) throw new Error(run.stderr);
    const documents = parseAllDocuments(run.stdout).map((document): unknown => document.toJS());
    const objects = documents.filter((document): document is KubeObject => document !== null);
    return new Rendered(objects, release);
  }

  /** What Helm says when it refuses the values; empty when it does not. */
  refusal(values: object, options: RenderOptions = {}): string {
    const run = this.#template(values, options);
    return run.status === 0 ? "" : run.stderr;
  }

  /** `helm ARGS` on the chart's folder: exit code and words. */
  run(args: readonly string[], values: object = {}): { readonly status: number | null; readonly text: string } {
    const run = spawnSync(this.#helm, args, { encoding: "utf8", input: stringify(values) });
    return { status: run.status, text: run.stdout + run.stderr };
  }

  #template(values: object, options: RenderOptions) {
    const { release = "lmstack", namespace = "default", kube = "1.35.0", files = [], chart = chartFolder } = options;
    const args = ["template", release, chart, "--namespace", namespace, "--kube-version", kube];
    for (const file of files) args.push("-f", file);
    return spawnSync(this.#helm, [...args, "-f", "-"], { encoding: "utf8", input: stringify(values) });
  }
}

/** @returns null when the test was skipped, for want of Helm: return at once */
export function requireChart(t: TestContext): Chart | null {
  const helm = requireTool(t, "helm");
  return helm === null ? null : new Chart(helm);
}

/** A model with all that is required. */
export const model = {
  name: "opt125m",
  repository: "vllm/vllm-openai",
  tag: "v0.11.0",
  modelURL: "facebook/opt-125m",
} as const;

export function withModel(settings: object = {}, rest: object = {}): object {
  return { servingEngineSpec: { modelSpec: [{ ...model, ...settings }] }, ...rest };
}
