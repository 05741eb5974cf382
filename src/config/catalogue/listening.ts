// Options of the side that clients see: address, TLS, keys, limits. Part of the catalogue; nothing but definitions.

import { isIP } from "node:net";

import { z } from "zod";

import { boolean, file, integer, list, optionalInteger, text } from "../option.ts";

const commands = ["router", "up"] as const;
const everywhere = ["router", "up", "engine"] as const;

/** An address or a network in CIDR form. */
const network = z.string().refine((value) => {
  const [address = "", bits, ...rest] = value.split("/");
  const family = isIP(address);
  if (family === 0 || rest.length > 0) return false;
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128));
}, "an entry is no IP address and no network");

export const listeningOptions = {
  host: text({
    group: "Listening",
    commands: everywhere,
    default: "0.0.0.0",
    defaultFor: { up: "127.0.0.1" },
    placeholder: "ADDRESS",
    check: /^\S+$/,
    expects: "an address or host name",
    help: "Address to listen on.",
  }),
  port: integer({
    group: "Listening",
    commands: everywhere,
    default: 8001,
    defaultFor: { up: 30080, engine: 8000 },
    min: 0,
    max: 65535,
    help: "Port to listen on; 0 takes any free one.",
  }),
  "listen-fd": optionalInteger({
    group: "Listening",
    commands: ["router"],
    default: null,
    min: 3,
    max: 65535,
    help: "File descriptor of a listening socket that this process inherits, instead of --host and --port. Set by itself where systemd passes one (LISTEN_FDS), and for the successor that SIGUSR2 starts.",
  }),
  "root-path": text({
    group: "Listening",
    commands,
    default: "",
    placeholder: "/PATH",
    check: /^(\/[^\s?#]*)?$/,
    expects: "a path that begins with a slash, as in /llm",
    help: "Prefix under which all paths are served, behind a proxy that does not strip it.",
  }),
  "tls-cert-file": file({
    group: "Listening",
    commands,
    default: null,
    help: "Certificate chain (PEM): serve HTTPS. Needs --tls-key-file.",
  }),
  "tls-key-file": file({ group: "Listening", commands, default: null, help: "Private key (PEM) of the certificate." }),
  "trusted-proxies": list({
    group: "Listening",
    commands,
    default: [],
    item: network,
    placeholder: "CIDR,...",
    expects: "addresses or networks with commas between them, as in 10.0.0.0/8,192.168.1.7",
    help: "Proxies whose X-Forwarded-For is kept and appended to. None, since anybody can send that header.",
  }),

  "api-key-file": file({
    group: "Keys",
    commands,
    default: null,
    help: "Keys that clients must send, one a line; read anew when the file changes. Without it everybody may call.",
  }),
  "admin-key-file": file({
    group: "Keys",
    commands,
    default: null,
    help: "Keys for administration: `/engines`, the console. Without it everybody may look.",
  }),
  console: boolean({
    group: "Keys",
    commands: ["router"],
    default: false,
    help: "Serve the console at `/console`, for those with a key of --admin-key-file.",
  }),
  "engine-api-key-file": file({
    group: "Keys",
    commands: ["router"],
    default: null,
    help: "Key that the router sends to engines.",
  }),

  "max-queued-requests": integer({
    group: "Limits",
    commands,
    default: 2048,
    min: 0,
    max: 1_000_000,
    unit: "requests",
    help: "Requests of a model that may wait in the router while all of its engines have their fill; over it 429. 0: none waits, each goes to an engine at once.",
  }),
  "max-queued-tokens": integer({
    group: "Limits",
    commands,
    default: 50_000_000,
    min: 1,
    max: 1_000_000_000_000,
    unit: "tokens",
    help: "Prompt tokens that those may have to compute, all together; over it 429. 50 million are about ten minutes of eight large engines: nobody waits for longer.",
  }),
  "max-body-bytes": integer({
    group: "Limits",
    commands,
    default: 67_108_864,
    min: 1024,
    max: 2_147_483_647,
    unit: "bytes",
    help: "Largest request body; over it 413. 64 MiB, since prompts carry images.",
  }),
  "max-head-bytes": integer({
    group: "Limits",
    commands,
    default: 65_536,
    min: 1024,
    max: 16_777_216,
    unit: "bytes",
    help: "Largest request line and headers together; over it 431.",
  }),
  "max-buffered-bytes": integer({
    group: "Limits",
    commands,
    default: 1_073_741_824,
    min: 65_536,
    unit: "bytes",
    help: "Request bodies held at one time, all together; over it 503. 1 GiB; keep it well below the memory limit.",
  }),
  "inject-stream-usage": boolean({
    group: "Connections to engines",
    commands,
    default: false,
    help: "Ask engines for the usage of completions and chats that are streamed, so that their tokens are counted, and take the extra event out again. Off, since it changes the request's body, and vLLM's `system_fingerprint` goes with that event.",
  }),
  "load-reports": boolean({
    group: "Connections to engines",
    commands,
    default: false,
    help: "Ask engines to report their load with each completion and chat (`endpoint-load-metrics-format: TEXT`, ORCA), which corrects what the router believes of it between two looks at their metrics. Off: vLLM reports with whole answers only, never with streams, and for each one goes through all of its metrics and writes a line into its log. A report that comes unasked is read all the same.",
  }),
  "engine-tls-ca-file": file({
    group: "Connections to engines",
    commands: ["router"],
    default: null,
    help: "Certificates (PEM) that engines with https URLs are checked against, instead of the system's.",
  }),
  "engine-tls-insecure-skip-verify": boolean({
    group: "Connections to engines",
    commands: ["router"],
    default: false,
    help: "Do not check the certificates of engines. For tests: anybody in between can read everything.",
  }),
  config: file({
    group: "Start and stop",
    commands: ["router", "up"],
    default: null,
    help: "YAML file with options: keys are flag names. Flags win over the environment, the environment over the file.",
  }),
};
