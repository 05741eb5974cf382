// The chart and the router agree: every argument that the chart gives is one that the router takes.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import type { Files } from "../../src/config/files.ts";
import { parseCommand } from "../../src/config/parse-command.ts";
import { selfSigned } from "../http/self-signed.ts";
import { matrix } from "./chart/matrix.ts";
import { requireChart, withModel, type Json } from "./chart/render.ts";

const certificate = selfSigned();

/** Files that only exist in the pod. */
const inThePod: Files = {
  read: (path) => {
    if (path.endsWith("/router.yaml")) return "log-format: json\n";
    if (path.endsWith("tls.key")) return certificate.key;
    return path.endsWith(".crt") ? certificate.cert : "a-key\n";
  },
};

describe("arguments", () => {
  for (const { name, values, options } of matrix) {
    test(name, (t) => {
      const chart = requireChart(t);
      if (chart === null) return;
      const rendered = chart.render(values, options);
      const release = options.release ?? "lmstack";
      const containers = rendered.objects
        .filter(({ kind }) => kind === "Deployment" || kind === "StatefulSet")
        .map(({ spec }): Json => spec.template.spec.containers[0])
        .filter(({ image }: Json) => image.startsWith("lmstack/lmstack"));
      assert.ok(containers.length > 0, release);
      for (const { args } of containers) {
        const parsed = parseCommand(args, {}, inThePod);
        assert.notEqual(parsed.command, "print");
        // what is known and still to come is named once, in the log
        const warnings =
          "warnings" in parsed ? parsed.warnings.filter((text) => !text.startsWith("not built yet")) : [];
        assert.deepEqual(warnings, [], args.join(" "));
      }
    });
  }
});

test("routers are told how many of them there are, unless the values say it themselves", (t) => {
  const chart = requireChart(t);
  if (chart === null) return;
  const told = (routerSpec: object): string | undefined =>
    chart.render(withModel({}, { routerSpec })).router().flag("--router-replicas");
  assert.equal(told({}), undefined);
  assert.equal(told({ replicaCount: 3 }), "3");
  assert.equal(told({ replicaCount: 3, options: { "router-replicas": 2 } }), undefined, "a flag would win over it");
  // so many there are at any time
  assert.equal(told({ replicaCount: 5, autoscaling: { enabled: true, minReplicas: 2, maxReplicas: 4 } }), "2");
  assert.equal(told({ replicaCount: 5, autoscaling: { enabled: true } }), undefined);
  assert.equal(told({ keda: { enabled: true, minReplicaCount: 4, maxReplicaCount: 6 } }), "4");
});
