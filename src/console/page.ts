// The page that `lmstack up` shows a browser at `/`: one prompt, one streamed answer, and what happened to it. Self-contained,
// so that it works without a network and under a strict content policy. The console is another matter.

export const page = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="content-security-policy" content="default-src 'none'; connect-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:">
<title>LMStack</title>
<link rel="icon" href="data:,">
<style>
  :root {
    color-scheme: light dark;
    --back: #fff; --text: #1c1f24; --quiet: #5a6270; --line: #c9ced6; --field: #f6f7f9;
    --accent: #0b66c3; --on-accent: #fff; --bad: #b3261e;
  }
  @media (prefers-color-scheme: dark) {
    :root {
      --back: #14171b; --text: #e6e8eb; --quiet: #9aa4b2; --line: #3a414b; --field: #1d2127;
      --accent: #6cb6ff; --on-accent: #0b1620; --bad: #ffb4ab;
    }
  }
  * { box-sizing: border-box; }
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 0 auto; padding: 2rem 1rem; background: var(--back); color: var(--text); }
  h1 { font-size: 1.5rem; line-height: 1.2; margin: 0; }
  h2, label { display: block; font-size: 1rem; font-weight: 600; margin: 0 0 .3rem; }
  p { margin: .3rem 0 1.5rem; }
  .quiet, #facts { color: var(--quiet); }
  textarea, select, button { font: inherit; color: inherit; padding: .5rem .7rem; border: 1px solid var(--line); border-radius: .4rem; background: var(--field); }
  textarea { display: block; width: 100%; min-height: 6rem; resize: vertical; }
  .row { display: flex; flex-wrap: wrap; gap: .6rem; align-items: end; margin: .8rem 0 1.5rem; }
  .model { flex: 1 1 16rem; min-width: 0; }
  .buttons { display: flex; gap: .6rem; }
  select { width: 100%; text-overflow: ellipsis; }
  select, button { min-height: 2.75rem; }
  button { cursor: pointer; min-width: 5rem; }
  button.go { background: var(--accent); border-color: var(--accent); color: var(--on-accent); font-weight: 600; }
  button:disabled { opacity: .45; cursor: default; }
  :focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
  #answer { white-space: pre-wrap; overflow-wrap: anywhere; border: 1px solid var(--line); border-radius: .4rem; padding: .8rem; min-height: 8rem; }
  #facts { min-height: 1.5rem; margin: .5rem 0 1.5rem; font-variant-numeric: tabular-nums; }
  #facts.error { color: var(--bad); }
  summary { cursor: pointer; color: var(--quiet); }
  a { color: var(--accent); }
  pre { overflow-x: auto; margin: .5rem 0 0; padding: .8rem; background: var(--field); border-radius: .4rem; font-size: .85rem; }
</style>
</head>
<body>
<main>
<h1>LMStack</h1>
<p class="quiet">A router in front of simulated engines, all on this machine. Send a prompt and watch the answer stream.</p>
<form id="form">
  <label for="prompt">Prompt</label>
  <textarea id="prompt" required>Write a short story about a router that explained every choice.</textarea>
  <div class="row">
    <div class="model"><label for="model">Model</label><select id="model"></select></div>
    <div class="buttons">
      <button class="go" id="send" title="Ctrl+Enter" disabled>Send</button>
      <button type="button" id="stop" disabled>Stop</button>
    </div>
  </div>
</form>
<h2 id="answer-title">Answer</h2>
<div id="answer" role="log" aria-labelledby="answer-title" tabindex="0"></div>
<p id="facts" role="status"></p>
<details><summary>The same from a terminal</summary><pre id="curl" tabindex="0" aria-label="Command"></pre></details>
<p><a href="console">The console: the fleet live, requests with the reason of each choice, charts</a></p>
</main>
<script>
const byId = (id) => document.getElementById(id);
const answer = byId("answer"), facts = byId("facts"), send = byId("send"), stop = byId("stop");
const prompt = byId("prompt"), model = byId("model");
let controller = null;

function say(text, bad) {
  facts.textContent = text;
  facts.className = bad ? "error" : "";
}

function explain(error) {
  // the browser's own words for a connection that can't be made differ, and help nobody
  return error instanceof TypeError ? "The router can't be reached: does lmstack up still run?" : error.message;
}

function request(stream) {
  return { model: model.value, messages: [{ role: "user", content: prompt.value }], max_tokens: 200, ...stream };
}

function showCommand() {
  const body = JSON.stringify(request({ stream: true })).replaceAll("'", "'\\\\''");
  const path = location.href.replace(/[?#].*/, "") + "v1/chat/completions";
  byId("curl").textContent = "curl -N " + path + " \\\\\\n  -H 'content-type: application/json' \\\\\\n  -d '" + body + "'";
}

async function listModels() {
  try {
    const { data } = await (await fetch("v1/models")).json();
    if (data.length > 0) {
      model.replaceChildren(...data.map(({ id }) => new Option(id, id)));
      send.disabled = false;
      say("");
      showCommand();
      return;
    }
    say("No engine is ready yet: waiting for one.", true);
  } catch (error) {
    say(explain(error), true);
  }
  setTimeout(listModels, 1000);
}

async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const frames = (rest + value).split("\\n\\n");
    rest = frames.pop();
    for (const frame of frames) {
      // comments keep the connection open, and [DONE] is followed by the end
      if (frame.startsWith("data: {")) yield JSON.parse(frame.slice(6));
    }
  }
}

async function ask(signal) {
  const started = performance.now();
  const response = await fetch("v1/chat/completions", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(request({ stream: true, stream_options: { include_usage: true } })),
    signal,
  });
  if (!response.ok) {
    const body = await response.json().catch(() => ({}));
    throw new Error(body.error?.message ?? body.detail ?? "The answer has status " + response.status + ".");
  }
  let first = 0, usage = null;
  for await (const event of events(response)) {
    if (event.error) throw new Error(event.error.message);
    usage = event.usage ?? usage;
    const text = event.choices[0]?.delta.content ?? "";
    if (text !== "" && first === 0) {
      first = performance.now();
      say("");
    }
    answer.append(text);
  }
  const parts = ["First token after " + Math.round(first - started) + " ms"];
  if (usage !== null) {
    const rate = usage.completion_tokens / Math.max(0.001, (performance.now() - first) / 1000);
    parts.push(usage.completion_tokens + " tokens at " + (rate < 100 ? rate.toFixed(1) : Math.round(rate)) + "/s");
    parts.push((usage.prompt_tokens_details?.cached_tokens ?? 0) + " of " + usage.prompt_tokens + " prompt tokens cached");
  }
  say(parts.join(" \u00b7 "));
}

byId("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (controller || send.disabled) return;
  controller = new AbortController();
  send.disabled = true;
  stop.disabled = false;
  answer.textContent = "";
  say("Waiting for the first token");
  try {
    await ask(controller.signal);
  } catch (error) {
    if (error.name === "AbortError") say("Stopped");
    else say(explain(error), true);
  } finally {
    controller = null;
    send.disabled = false;
    stop.disabled = true;
  }
});
stop.addEventListener("click", () => controller?.abort());
byId("form").addEventListener("input", showCommand);
prompt.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) byId("form").requestSubmit();
});
listModels();
</script>
</body>
</html>
`;
