// Every file that is made from the TypeScript here, with its text: read by scripts/docs.ts, which writes them and checks that
// they are in step, and by the tests. The chart's copies are the same bytes.
import { capacity } from "./dashboards/capacity.ts";
import { engines } from "./dashboards/engines.ts";
import { renderDashboard, type DashboardSpec } from "./dashboards/panels.ts";
import { router } from "./dashboards/router.ts";
import { servingOverview } from "./dashboards/serving-overview.ts";
import { renderAlertTests } from "./rules/alert-tests.ts";
import { alertGroups } from "./rules/alerts.ts";
import { recordingGroups } from "./rules/recording.ts";
import { renderGroups } from "./rules/rule.ts";

export const dashboards: Readonly<Record<string, DashboardSpec>> = {
  "serving-overview": servingOverview,
  router,
  engines,
  "capacity-and-cost": capacity,
};

const ruleFiles = {
  "lmstack-recording": () => renderGroups(recordingGroups(1), 1),
  "lmstack-alerts": () => renderGroups(alertGroups(1), 1),
};

export const observabilityFiles: readonly (readonly [path: string, generate: () => string])[] = [
  ...Object.entries(dashboards).flatMap(([name, spec]) =>
    ["observability/dashboards", "helm/files/dashboards"].map(
      (folder) => [`${folder}/${name}.json`, () => renderDashboard(spec)] as const,
    ),
  ),
  ...Object.entries(ruleFiles).flatMap(([name, generate]) =>
    ["observability/rules", "helm/files/rules"].map((folder) => [`${folder}/${name}.yaml`, generate] as const),
  ),
  [
    "observability/rules/lmstack-alerts.test.yaml",
    () =>
      renderAlertTests(
        alertGroups(1),
        Object.keys(ruleFiles).map((name) => `${name}.yaml`),
      ),
  ],
];
