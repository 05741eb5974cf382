// The console: five views on one stream of snapshots. The view is in the address, so that it can be kept and sent.
import { render, type ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import "uplot/dist/uPlot.min.css";
import "./console.css";
import { configuration, key, NeedsKey, setKey, watch } from "./api.ts";
import { Fleet } from "./fleet.tsx";
import { clock, remedy, words } from "./format.ts";
import { Playground } from "./playground.tsx";
import { Requests } from "./requests.tsx";
import type { Entry, Snapshot } from "../shapes.ts";

const views = {
  fleet: "Fleet",
  requests: "Requests",
  playground: "Playground",
  configuration: "Configuration",
  errors: "Errors",
};
type View = keyof typeof views;

const isView = (name: string): name is View => Object.hasOwn(views, name);
const viewOf = (): View => {
  const name = location.hash.slice(1);
  return isView(name) ? name : "fleet";
};

const kept = 200;
const retryMs = 2000;

type Connection = "connecting" | "live" | "lost" | "needs key";

function App() {
  const [view, setView] = useState<View>(viewOf);
  const [snapshot, setSnapshot] = useState<Snapshot | null>(null);
  const [ended, setEnded] = useState<readonly Entry[]>([]);
  const [connection, setConnection] = useState<Connection>("connecting");
  const [round, setRound] = useState(0);

  useEffect(() => {
    const changed = (): void => setView(viewOf());
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);

  useEffect(() => {
    const stop = new AbortController();
    let timer = 0;
    const look = (next: Snapshot): void => {
      setConnection("live");
      setSnapshot(next);
      // a router that was started anew counts from the beginning
      setEnded((before) => {
        const known = before.at(-1)?.seq ?? 0;
        const fresh = next.ended.filter(({ seq }) => seq > known);
        if (fresh.length > 0) return [...before, ...fresh].slice(-kept);
        return next.ended.length > 0 ? [...next.ended] : before;
      });
    };
    watch(stop.signal, look).catch((error: unknown) => {
      if (stop.signal.aborted) return;
      if (error instanceof NeedsKey) setConnection("needs key");
      else {
        setConnection("lost");
        timer = setTimeout(() => setRound((before) => before + 1), retryMs);
      }
    });
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [round]);

  if (connection === "needs key") {
    return (
      <KeyForm
        wrong={key() !== ""}
        onKey={(value) => {
          setKey(value);
          setConnection("connecting");
          setRound((before) => before + 1);
        }}
      />
    );
  }
  return (
    <>
      <header>
        <h1>LMStack</h1>
        <nav aria-label="Views">
          {Object.entries(views).map(([name, title]) => (
            <a key={name} href={`#${name}`} aria-current={name === view ? "page" : undefined}>
              {title}
              {name === "errors" && snapshot !== null && snapshot.errors.length > 0
                ? ` (${snapshot.errors.length})`
                : ""}
            </a>
          ))}
        </nav>
        <p class="status" role="status">
          <Status connection={connection} snapshot={snapshot} />
        </p>
      </header>
      <main>
        {snapshot === null ? <p>Waiting for the router.</p> : <Shown view={view} snapshot={snapshot} ended={ended} />}
      </main>
    </>
  );
}

function Status({ connection, snapshot }: { readonly connection: Connection; readonly snapshot: Snapshot | null }) {
  if (connection === "lost") return <span class="problem">The router does not answer; trying again.</span>;
  if (snapshot === null) return <span>Connecting.</span>;
  const ready = snapshot.endpoints.filter(({ state }) => state === "ready").length;
  return (
    <span>
      {ready} of {snapshot.endpoints.length} endpoints ready, {snapshot.inFlight} in flight, policy {snapshot.policy},
      version {snapshot.version}
      {snapshot.draining ? ", draining" : ""}
    </span>
  );
}

function Shown({
  view,
  snapshot,
  ended,
}: {
  readonly view: View;
  readonly snapshot: Snapshot;
  readonly ended: readonly Entry[];
}) {
  switch (view) {
    case "fleet":
      return <Fleet snapshot={snapshot} />;
    case "requests":
      return <Requests live={snapshot.live} ended={ended} />;
    case "playground":
      return <Playground models={snapshot.models} ended={ended} />;
    case "configuration":
      return <Config />;
    case "errors":
      return <Errors errors={snapshot.errors} />;
  }
}

function Config() {
  const [shown, setShown] = useState<object | string | null>(null);
  useEffect(() => {
    configuration().then(setShown, (error: unknown) =>
      setShown(error instanceof Error ? error.message : String(error)),
    );
  }, []);
  return (
    <>
      <h2>Configuration in force</h2>
      <pre tabIndex={0}>{typeof shown === "string" ? shown : JSON.stringify(shown, null, 2)}</pre>
    </>
  );
}

interface Kind {
  /** The latest of them. */
  readonly entry: Entry;
  times: number;
}

/** Errors that say the same, together; the latest first. */
function kindsOf(errors: readonly Entry[]): readonly Kind[] {
  const kinds = new Map<string, Kind>();
  for (const entry of errors.toReversed()) {
    const same = JSON.stringify([entry.outcome, entry.status, entry.endpoint, entry.error]);
    const kind = kinds.get(same);
    if (kind === undefined) kinds.set(same, { entry, times: 1 });
    else kind.times++;
  }
  return [...kinds.values()];
}

function Errors({ errors }: { readonly errors: readonly Entry[] }) {
  return (
    <>
      <h2>Latest errors</h2>
      {errors.length === 0 ? <p class="quiet">None since the router was started.</p> : null}
      <ul class="errors">
        {kindsOf(errors).map(({ entry, times }) => {
          const way = remedy(entry.outcome);
          return (
            <li key={entry.seq}>
              <p>
                <strong>{words(entry.outcome)}</strong> {entry.status === 0 ? "" : entry.status}
                {times > 1 ? `, ${times} times, last` : ""} at {clock(entry.atMs)}
                {entry.endpoint === null ? "" : `, ${entry.endpoint}`}, model {entry.model}
              </p>
              <p class="problem">{entry.error}</p>
              {way === null ? null : (
                <p class="quiet">
                  {way[0]} Runbook: <code>{way[1]}</code>
                </p>
              )}
              <p class="quiet">request {entry.requestId}</p>
            </li>
          );
        })}
      </ul>
    </>
  );
}

function KeyForm({
  wrong,
  onKey,
}: {
  readonly wrong: boolean;
  readonly onKey: (value: string) => void;
}): ComponentChildren {
  const [value, setValue] = useState("");
  return (
    <main class="key">
      <h1>LMStack</h1>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          onKey(value.trim());
        }}
      >
        <label for="key">Administration key</label>
        <input
          id="key"
          type="password"
          autocomplete="off"
          value={value}
          onInput={(event) => setValue(event.currentTarget.value)}
        />
        {wrong ? (
          <p class="problem" role="alert">
            This key is not one of those known here.
          </p>
        ) : null}
        <button type="submit" class="go">
          Open
        </button>
      </form>
    </main>
  );
}

const place = document.getElementById("app");
if (place !== null) render(<App />, place);
