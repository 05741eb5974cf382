// Where an engine's KV events are had, as people write it: in `--static-kv-events`, in the dynamic file, in a pod's
// annotation. Pure. One form for all three, so that what is tried in one place can be copied to another.

import type { KvEvents } from "./types.ts";

export const kvEventsExpected =
  "`ask`, `off`, or PORT[:REPLAY_PORT[:RANKS]][@TOPIC], as in 5557, 5557:5558 or 5557:5558:2@kv-events";

const form = /^(\d+)(?::(\d+)(?::(\d+))?)?(?:@(.*))?$/;

/** null = not understood. */
export function parseKvEvents(text: string): KvEvents | null {
  const trimmed = text.trim();
  if (trimmed === "ask" || trimmed === "off") return trimmed;
  const [whole, port, replay, ranks, topic] = form.exec(trimmed) ?? [];
  if (whole === undefined) return null;
  const found = {
    port: Number(port),
    replayPort: replay === undefined ? null : Number(replay),
    ranks: ranks === undefined ? 1 : Number(ranks),
    topic: topic ?? "",
  };
  const last = found.ranks - 1;
  const inRange = (first: number | null): boolean => first === null || (first >= 1 && first + last <= 65_535);
  return found.ranks >= 1 && found.ranks <= 1024 && inRange(found.port) && inRange(found.replayPort) ? found : null;
}
