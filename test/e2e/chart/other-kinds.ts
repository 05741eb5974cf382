// Kinds that no package has types for, from their API references. Only what the chart may write: another field is a mistake.
import type { IPodTemplateSpec } from "kubernetes-models/v1";

interface Meta {
  readonly name: string;
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** leaderworkerset.x-k8s.io/v1 */
export interface ILeaderWorkerSet {
  readonly apiVersion: "leaderworkerset.x-k8s.io/v1";
  readonly kind: "LeaderWorkerSet";
  readonly metadata: Meta;
  readonly spec: {
    readonly replicas?: number;
    readonly leaderWorkerTemplate: {
      readonly size: number;
      readonly restartPolicy?: "RecreateGroupOnPodRestart" | "None" | "Default";
      readonly leaderTemplate?: IPodTemplateSpec;
      readonly workerTemplate: IPodTemplateSpec;
    };
  };
}

/** inference.networking.k8s.io/v1 */
export interface IInferencePool {
  readonly apiVersion: "inference.networking.k8s.io/v1";
  readonly kind: "InferencePool";
  readonly metadata: Meta;
  readonly spec: {
    readonly selector: { readonly matchLabels: Readonly<Record<string, string>> };
    readonly targetPorts: readonly { readonly number: number }[];
    readonly endpointPickerRef: {
      readonly group?: string;
      readonly kind?: string;
      readonly name: string;
      readonly port?: { readonly number: number };
      readonly failureMode?: "FailOpen" | "FailClose";
    };
  };
}

/** autoscaling.k8s.io/v1 */
export interface IVerticalPodAutoscaler {
  readonly apiVersion: "autoscaling.k8s.io/v1";
  readonly kind: "VerticalPodAutoscaler";
  readonly metadata: Meta;
  readonly spec: {
    readonly targetRef: { readonly apiVersion: string; readonly kind: string; readonly name: string };
    readonly updatePolicy?: { readonly updateMode?: "Off" | "Initial" | "Recreate" | "Auto" | "InPlaceOrRecreate" };
    readonly resourcePolicy?: object;
  };
}
