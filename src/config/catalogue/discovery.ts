// Options of engines that are found and not listed: by DNS, in Kubernetes. Part of the catalogue; nothing but definitions.

import { z } from "zod";

import { choice, integer, list, optionalText, seconds, text, file } from "../option.ts";

const commands = ["router"] as const;
const dns = { commands, group: "DNS" } as const;
const kubernetes = { commands, group: "Kubernetes" } as const;

/** `engines.example:8000`, or `_http._tcp.engines.example`, whose records hold the port. */
const dnsName = z
  .string()
  .regex(/^(_[\w-]+\._(tcp|udp)\.[\w.-]*\w\.?|(?!_)[\w.-]*\w\.?(:\d{1,5})?)$/, "not a DNS name");

const dnsServer = z
  .string()
  .regex(/^(\d+\.\d+\.\d+\.\d+|\[[\da-fA-F:]+\])(:\d{1,5})?$|^[\da-fA-F]*:[\da-fA-F:]*$/, "not an address");

const namespace = z.string().regex(/^(\*|[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)$/, "not the name of a namespace");

export const discoveryOptions = {
  "dns-names": list({
    ...dns,
    default: [],
    item: dnsName,
    placeholder: "NAME[:PORT],...",
    expects:
      "names with commas between them, as in engines.default.svc.cluster.local:8000 or _http._tcp.engines.example",
    help: "Names whose addresses (A, AAAA) are engines, on the given port or 8000; of names that begin with `_`, SRV records say host and port.",
  }),
  "dns-servers": list({
    ...dns,
    default: [],
    item: dnsServer,
    placeholder: "ADDRESS[:PORT],...",
    expects: "addresses with commas between them, as in 10.96.0.10 or 10.96.0.10:53",
    help: "DNS servers to ask; else the system's.",
  }),
  "dns-refresh-seconds": seconds({
    ...dns,
    default: 30,
    min: 1,
    help: "Longest time between two looks at a name; records that live shorter are looked up when they end, at most once a second. 30, since a changed fleet should not wait for a long TTL.",
  }),

  "k8s-service-discovery-type": choice({
    ...kubernetes,
    default: null,
    values: ["pod-ip", "service-name"],
    help: "Whether pods or Services are addressed. Pods, unless said otherwise: behind a Service nobody can choose the pod whose cache holds a prompt.",
  }),
  "k8s-port": integer({
    ...kubernetes,
    default: 8000,
    min: 1,
    max: 65535,
    help: "Port of engines whose pod names none: neither by annotation `lmstack/port` nor by a container port called `container-port` or `http`.",
  }),
  "k8s-namespace": list({
    ...kubernetes,
    default: ["default"],
    item: namespace,
    placeholder: "NAME,...",
    expects: "names with commas between them, or * for all namespaces",
    help: "Namespaces of engines; `*` for all.",
  }),
  "k8s-label-selector": text({
    ...kubernetes,
    default: "",
    placeholder: "SELECTOR",
    help: "Label selector of engine pods or Services, as `kubectl get -l` takes it.",
  }),
  "k8s-watcher-timeout-seconds": seconds({
    ...kubernetes,
    default: 0,
    help: "Time limit of one watch, after which the next one takes over. 0 draws one of 5 to 10 minutes, so that routers do not all come back at once.",
  }),
  kubeconfig: file({
    ...kubernetes,
    default: null,
    help: "How to reach the API server. Without it the service account of the router's pod, else what kubectl would use: KUBECONFIG, then ~/.kube/config.",
  }),
  "k8s-context": optionalText({
    ...kubernetes,
    default: null,
    placeholder: "NAME",
    help: "Context of the kubeconfig; else its current one.",
  }),
};
