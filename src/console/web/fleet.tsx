// Every endpoint: state, load, cache, first-token times. And the last hour of all of them together.
import { Chart } from "./chart.tsx";
import { count, ms, percent, words } from "./format.ts";
import { Sparkline } from "./sparkline.tsx";
import type { EndpointRow, Snapshot } from "../shapes.ts";

const stepSeconds = 10;

export function Fleet({ snapshot }: { readonly snapshot: Snapshot }) {
  const { endpoints, traffic } = snapshot;
  const times = traffic.map(({ t }) => t);
  return (
    <>
      <h2>Endpoints</h2>
      {endpoints.length === 0 ? (
        <p>There is no endpoint yet: discovery has found none. `lmstack check` tells why.</p>
      ) : (
        <div class="scroll" tabIndex={0} role="region" aria-label="Endpoints">
          <table>
            <thead>
              <tr>
                <th scope="col">Endpoint</th>
                <th scope="col">State</th>
                <th scope="col" class="number">
                  Queued
                </th>
                <th scope="col" class="number">
                  Running
                </th>
                <th scope="col" class="number">
                  KV cache
                </th>
                <th scope="col" class="number">
                  Hit rate
                </th>
                <th scope="col">First token</th>
                <th scope="col">Models</th>
              </tr>
            </thead>
            <tbody>
              {endpoints.map((endpoint) => (
                <Row key={endpoint.id} endpoint={endpoint} />
              ))}
            </tbody>
          </table>
        </div>
      )}
      <h2>The last hour</h2>
      {traffic.length === 0 ? (
        <p>No request has ended yet, or not ten seconds ago. Send one from the playground.</p>
      ) : (
        <div class="charts">
          <Chart
            title="Requests per second"
            times={times}
            series={[
              { label: "all", colour: "accent", values: traffic.map(({ requests }) => requests / stepSeconds) },
              { label: "failed", colour: "bad", values: traffic.map(({ errors }) => errors / stepSeconds) },
            ]}
            format={(value) => String(Number(value.toFixed(value < 10 ? 1 : 0)))}
          />
          <Chart
            title="Time to first token"
            times={times}
            series={[
              { label: "p50", colour: "accent", values: traffic.map(({ ttftP50Ms }) => ttftP50Ms) },
              { label: "p95", colour: "warn", values: traffic.map(({ ttftP95Ms }) => ttftP95Ms) },
            ]}
            format={(value) => ms(value)}
          />
          <Chart
            title="Generated tokens per second"
            times={times}
            series={[
              {
                label: "tokens",
                colour: "accent",
                values: traffic.map(({ generatedTokens }) => generatedTokens / stepSeconds),
              },
            ]}
            format={(value) => (value < 10 ? String(Number(value.toFixed(1))) : count(Math.round(value)))}
          />
        </div>
      )}
    </>
  );
}

function Row({ endpoint }: { readonly endpoint: EndpointRow }) {
  const { id, state, problem, queued, running, engine, ttftMs, models } = endpoint;
  return (
    <tr>
      <th scope="row">{id}</th>
      <td>
        <span class={`state ${state}`}>{words(state)}</span>
        {problem === null || state === "ready" ? null : <div class="problem">{problem}</div>}
      </td>
      <td class="number">{queued}</td>
      <td class="number">{running}</td>
      <td class="number">{engine === null ? "–" : percent(engine.kvUsage)}</td>
      <td class="number">{engine === null ? "–" : percent(engine.hitRate)}</td>
      <td>
        <span class="trend">
          <Sparkline values={ttftMs} /> {ms(ttftMs.at(-1) ?? null)}
        </span>
      </td>
      <td>{models.join(", ")}</td>
    </tr>
  );
}
