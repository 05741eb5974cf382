// Requests as they come and go, each with the endpoint that it got and why.
import { Fragment } from "preact";
import { useState } from "preact/hooks";
import { clock, count, meaning, ms, words } from "./format.ts";
import type { CandidateScore, Entry, LiveRequest } from "../shapes.ts";

export function Requests({ live, ended }: { readonly live: readonly LiveRequest[]; readonly ended: readonly Entry[] }) {
  const [open, setOpen] = useState<number | null>(null);
  return (
    <>
      <h2>Now: {live.length}</h2>
      {live.length === 0 ? <p class="quiet">Nothing is in flight.</p> : <Live live={live} />}
      <h2>Before</h2>
      {ended.length === 0 ? (
        <p class="quiet">No request has ended since this page was opened.</p>
      ) : (
        <div class="scroll" tabIndex={0} role="region" aria-label="Requests that have ended">
          <table>
            <thead>
              <tr>
                <th scope="col">Time</th>
                <th scope="col">Outcome</th>
                <th scope="col">Endpoint</th>
                <th scope="col">Reason</th>
                <th scope="col" class="number">
                  First token
                </th>
                <th scope="col" class="number">
                  Duration
                </th>
                <th scope="col" class="number">
                  Tokens in
                </th>
                <th scope="col" class="number">
                  cached
                </th>
                <th scope="col" class="number">
                  out
                </th>
                <th scope="col">Model</th>
              </tr>
            </thead>
            <tbody>
              {ended.toReversed().map((entry) => (
                <Fragment key={entry.seq}>
                  <tr>
                    <th scope="row">
                      <button
                        type="button"
                        class="plain"
                        aria-expanded={open === entry.seq}
                        onClick={() => setOpen(open === entry.seq ? null : entry.seq)}
                      >
                        {clock(entry.atMs)}
                      </button>
                    </th>
                    <td>
                      <span class={`outcome ${entry.error === null ? "ok" : "bad"}`}>{words(entry.outcome)}</span>
                    </td>
                    <td>{entry.endpoint ?? "–"}</td>
                    <td title={meaning(entry.reason)}>{words(entry.reason)}</td>
                    <td class="number">{ms(entry.firstTokenMs)}</td>
                    <td class="number">{ms(entry.durationMs)}</td>
                    <td class="number">{count(entry.promptTokens)}</td>
                    <td class="number">{count(entry.cachedTokens)}</td>
                    <td class="number">{count(entry.generatedTokens)}</td>
                    <td>{entry.model}</td>
                  </tr>
                  {open === entry.seq ? <Why entry={entry} /> : null}
                </Fragment>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </>
  );
}

function Live({ live }: { readonly live: readonly LiveRequest[] }) {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Requests in flight">
      <table>
        <thead>
          <tr>
            <th scope="col" class="number">
              Age
            </th>
            <th scope="col">Phase</th>
            <th scope="col">Endpoint</th>
            <th scope="col">Reason</th>
            <th scope="col">Model</th>
          </tr>
        </thead>
        <tbody>
          {live.map((request) => (
            <tr key={request.requestId}>
              <td class="number">{ms(request.ageMs)}</td>
              <td>{request.phase}</td>
              <td>{request.endpoint ?? "–"}</td>
              <td title={meaning(request.reason)}>{words(request.reason)}</td>
              <td>{request.model ?? "–"}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Why({ entry }: { readonly entry: Entry }) {
  return (
    <tr class="why">
      <td colSpan={10}>
        <p>
          <strong>Why {entry.endpoint ?? "no endpoint"}:</strong> {meaning(entry.reason)}{" "}
          {entry.attempts > 1 ? `It took ${entry.attempts} attempts.` : ""}
        </p>
        {entry.error === null ? null : <p class="problem">{entry.error}</p>}
        {entry.scores === null ? null : <Scores scores={entry.scores} chosen={entry.endpoint} />}
        <p class="quiet">
          request {entry.requestId}, status {entry.status}
        </p>
      </td>
    </tr>
  );
}

export function Scores({
  scores,
  chosen,
}: {
  readonly scores: readonly CandidateScore[];
  readonly chosen: string | null;
}) {
  return (
    <table class="scores">
      <caption>What each candidate would have cost</caption>
      <thead>
        <tr>
          <th scope="col">Candidate</th>
          <th scope="col" class="number">
            Wait
          </th>
          <th scope="col" class="number">
            Prefill
          </th>
          <th scope="col" class="number">
            Pressure
          </th>
          <th scope="col" class="number">
            Cached tokens
          </th>
          <th scope="col" class="number">
            Cost
          </th>
        </tr>
      </thead>
      <tbody>
        {scores.map((score) => (
          <tr key={score.id} class={score.id === chosen ? "chosen" : ""}>
            <th scope="row">
              {score.id}
              {score.id === chosen ? " (chosen)" : ""}
            </th>
            <td class="number">{ms(score.waitMs)}</td>
            <td class="number">{ms(score.prefillMs)}</td>
            <td class="number">{ms(score.pressureMs)}</td>
            <td class="number">{count(Math.round(score.cachedTokens))}</td>
            <td class="number">{ms(score.cost)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
