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
  :root { color-scheme: light dark; --line: #8886; --accent: #0b66c3; --quiet: #667; }
  @media (prefers-color-scheme: dark) { :root { --accent: #6cb6ff; --quiet: #9aa; } }
  * { box-sizing: border-box; }
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 0 auto; padding: 2rem 1rem; }
  h1 { font-size: 1.4rem; margin: 0; }
  p.lead { color: var(--quiet); margin: .25rem 0 1.5rem; }
  label { display: block; font-weight: 600; margin: 0 0 .25rem; }
  textarea, select, button { font: inherit; padding: .5rem .6rem; border: 1px solid var(--line); border-radius: .4rem; }
  textarea { width: 100%; min-height: 6rem; resize: vertical; }
  .row { display: flex; flex-wrap: wrap; gap: .6rem; align-items: center; margin: .6rem 0 1.2rem; }
  button { cursor: pointer; }
  button.go { background: var(--accent); border-color: var(--accent); color: Canvas; font-weight: 600; }
  button:disabled { opacity: .5; cursor: default; }
  :focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
  #answer { white-space: pre-wrap; overflow-wrap: anywhere; border: 1px solid var(--line); border-radius: .4rem; padding: .8rem; min-height: 8rem; margin: 0; }
  #facts { color: var(--quiet); min-height: 1.5rem; font-variant-numeric: tabular-nums; }
  .error { color: #b3261e; }
  @media (prefers-color-scheme: dark) { .error { color: #ffb4ab; } }
</style>
</head>
<body>
<main>
<h1>LMStack</h1>
<p class="lead">A router and simulated engines run on this machine. Send a prompt and watch it stream.</p>
<form id="form">
  <label for="prompt">Prompt</label>
  <textarea id="prompt" required>Write a short story about a router that explained every choice.</textarea>
  <div class="row">
    <label for="model" style="margin:0">Model</label>
    <select id="model"></select>
    <button class="go" id="send">Send</button>
    <button type="button" id="stop" disabled>Stop</button>
  </div>
</form>
<label id="answer-label" for="answer">Answer</label>
<div id="answer" role="log" aria-live="polite" aria-labelledby="answer-label" tabindex="0"></div>
<p id="facts" role="status"></p>
</main>
<script>
const byId = (id) => document.getElementById(id);
const answer = byId("answer"), facts = byId("facts"), send = byId("send"), stop = byId("stop");
let controller = null;

function say(text, bad) {
  facts.textContent = text;
  facts.className = bad ? "error" : "";
}

fetch("v1/models").then((r) => r.json()).then(({ data }) => {
  for (const { id } of data) byId("model").append(new Option(id, id));
  if (data.length === 0) say("No engine is ready yet: reload in a moment.", true);
}).catch((error) => say("The list of models can't be had: " + error.message, true));

byId("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (controller) return;
  controller = new AbortController();
  send.disabled = true;
  stop.disabled = false;
  answer.textContent = "";
  say("waiting for the first token");
  const started = performance.now();
  let first = 0, usage = null;
  try {
    const response = await fetch("v1/chat/completions", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({
        model: byId("model").value,
        messages: [{ role: "user", content: byId("prompt").value }],
        max_tokens: 200,
        stream: true,
        stream_options: { include_usage: true },
      }),
      signal: controller.signal,
    });
    if (!response.ok) throw new Error((await response.json()).error.message);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      const frames = (rest + value).split("\\n\\n");
      rest = frames.pop();
      for (const frame of frames) {
        const data = frame.startsWith("data: ") ? frame.slice(6) : "";
        if (data === "" || data === "[DONE]") continue;
        const event = JSON.parse(data);
        if (event.error) throw new Error(event.error.message);
        if (event.usage) usage = event.usage;
        const text = event.choices[0]?.delta.content ?? "";
        if (text && !first) first = performance.now();
        answer.append(text);
      }
    }
    const seconds = (performance.now() - first) / 1000;
    say("first token after " + Math.round(first - started) + " ms" + (usage === null ? "" :
      ", " + usage.completion_tokens + " tokens at " + (usage.completion_tokens / seconds).toFixed(1) + "/s, " +
      (usage.prompt_tokens_details?.cached_tokens ?? 0) + " of " + usage.prompt_tokens + " prompt tokens cached"));
  } catch (error) {
    if (error.name === "AbortError") say("stopped");
    else say(error.message, true);
  } finally {
    controller = null;
    send.disabled = false;
    stop.disabled = true;
  }
});
stop.addEventListener("click", () => controller?.abort());
</script>
</body>
</html>
`;
