// Loaded before our router (`node --import`) it takes the metrics out of the data path, so that what they cost can be measured:
// nothing is observed, counted by model or by endpoint, or kept for a window. Only a benchmark does this.
import { EndpointMetrics } from "../../../src/observe/endpoint-metrics.ts";
import { RouterMetrics } from "../../../src/observe/router-metrics.ts";
import { Distribution } from "../../../src/observe/series.ts";
import { StreamPace } from "../../../src/proxy/stream-pace.ts";

const nothing = (): void => undefined;

Object.assign(Distribution.prototype, { observe: nothing, observeMany: nothing, observeTraced: nothing });
Object.assign(EndpointMetrics.prototype, { sent: nothing, began: nothing, ended: nothing });
Object.assign(RouterMetrics.prototype, { arrived: nothing, ended: nothing });
Object.assign(StreamPace.prototype, { look: nothing, skip: nothing });
