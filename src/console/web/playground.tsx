// One prompt, one streamed answer, and what happened to it.
import { useRef, useState } from "preact/hooks";
import { chat, type Answer } from "./api.ts";
import { count, meaning, ms, words } from "./format.ts";
import { Scores } from "./requests.tsx";
import type { Entry } from "../shapes.ts";

export function Playground({
  models,
  ended,
}: {
  readonly models: readonly string[];
  readonly ended: readonly Entry[];
}) {
  const [model, setModel] = useState<string | null>(null);
  const [text, setText] = useState("Write a short story about a router that explained every choice.");
  const [maxTokens, setMaxTokens] = useState(200);
  const [temperature, setTemperature] = useState(0.7);
  const [answer, setAnswer] = useState<Answer | null>(null);
  const [error, setError] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const stop = useRef<AbortController | null>(null);
  const chosen = model ?? models[0] ?? "";

  const send = (): void => {
    if (busy || chosen === "" || text.trim() === "") return;
    const controller = new AbortController();
    stop.current = controller;
    setBusy(true);
    setAnswer(null);
    setError(null);
    chat({ model: chosen, text, maxTokens, temperature }, controller.signal, setAnswer)
      .catch((reason: unknown) => {
        setError(controller.signal.aborted ? "Stopped." : reason instanceof Error ? reason.message : String(reason));
      })
      .finally(() => setBusy(false));
  };
  const entry = answer === null ? undefined : ended.find(({ requestId }) => requestId === answer.requestId);

  return (
    <form
      class="playground"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <label for="prompt">Prompt</label>
      <textarea
        id="prompt"
        rows={5}
        value={text}
        onInput={(event) => setText(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) send();
        }}
      />
      <div class="fields">
        <label>
          Model
          <select value={chosen} onChange={(event) => setModel(event.currentTarget.value)}>
            {models.map((name) => (
              <option key={name} value={name}>
                {name}
              </option>
            ))}
          </select>
        </label>
        <label>
          Tokens at most
          <input
            type="number"
            min={1}
            max={100_000}
            value={maxTokens}
            onInput={(event) => setMaxTokens(Number(event.currentTarget.value))}
          />
        </label>
        <label>
          Temperature
          <input
            type="number"
            min={0}
            max={2}
            step={0.1}
            value={temperature}
            onInput={(event) => setTemperature(Number(event.currentTarget.value))}
          />
        </label>
        <div class="buttons">
          <button type="submit" class="go" disabled={busy || chosen === ""} title="Ctrl+Enter">
            Send
          </button>
          <button type="button" disabled={!busy} onClick={() => stop.current?.abort()}>
            Stop
          </button>
        </div>
      </div>
      <h2 id="answer-title">Answer</h2>
      <div id="answer" aria-labelledby="answer-title" role="region" tabIndex={0}>
        {answer?.text ?? ""}
      </div>
      <p id="facts" role="status" class={error === null || error === "Stopped." ? "" : "problem"}>
        {busy ? "Streaming. " : ""}
        {error ?? ""}
        {busy || answer === null ? "" : `${facts(answer, entry)} `}
      </p>
      {entry === undefined || busy ? null : (
        <>
          <p>
            <strong>Why {entry.endpoint ?? "no endpoint"}</strong> ({words(entry.reason)}): {meaning(entry.reason)}
          </p>
          {entry.scores === null ? null : <Scores scores={entry.scores} chosen={entry.endpoint} />}
        </>
      )}
    </form>
  );
}

function facts(answer: Answer, entry: Entry | undefined): string {
  const seconds = (answer.totalMs - (answer.firstMs ?? answer.totalMs)) / 1000;
  const speed = seconds > 0 && answer.tokens > 1 ? `${Math.round((answer.tokens - 1) / seconds)} tokens/s` : null;
  return [
    entry?.endpoint === undefined || entry.endpoint === null ? null : `from ${entry.endpoint}`,
    answer.firstMs === null ? null : `first token after ${ms(answer.firstMs)}`,
    `${count(answer.tokens)} tokens`,
    speed,
    answer.promptTokens === null
      ? null
      : `${count(answer.cachedTokens ?? 0)} of ${count(answer.promptTokens)} prompt tokens cached`,
  ]
    .filter((part) => part !== null)
    .join(", ");
}
