// Counts what vLLM counts. Fed by the core as its observer; read by /metrics. It must never be asked for decisions.

import type { EngineObserver } from '../core/index.ts';

export class MetricsRecorder implements EngineObserver {
  steps = 0;

  step(): void {
    this.steps++;
  }
}
