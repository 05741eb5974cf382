// Requests that two readers could take for different ones: the classes of attack that are known by name, and the
// oddities that each of them starts from. Strings are latin1. What a case expects is what RFC 9112 allows and our
// strictness leaves.

export interface EngineRequest {
  readonly method: string;
  /** Path and query as the engine sees them. */
  readonly target: string;
  readonly body: string;
}

export interface SmugglingCase {
  readonly name: string;
  readonly bytes: string;
  /** Statuses of the answers, in order. */
  readonly answers: readonly number[];
  /** The router ends the connection by itself; if not, it must be fit for another request. */
  readonly closes: boolean;
  /** What may reach an engine: exactly this. */
  readonly engine: readonly EngineRequest[];
  /** The request is not complete: no answer, nothing at the engine. */
  readonly waits?: true;
  /** Fields that the engine must not see in any request, lower case. */
  readonly stripped?: readonly string[];
}

const json = '{"model":"m","prompt":"Hello"}';
const length = json.length;
const path = "/v1/completions";
const relayed: EngineRequest = { method: "POST", target: path, body: json };
/** What an attacker wants to get through. */
const hidden = "GET /v1/responses/resp_stolen HTTP/1.1\r\nHost: a\r\n\r\n";

/** A head of ours with these field lines, then bytes. */
function post(fields: readonly string[], body: string, version = "HTTP/1.1"): string {
  return `POST ${path} ${version}\r\nHost: router\r\n${fields.map((field) => `${field}\r\n`).join("")}\r\n${body}`;
}

function chunked(text: string): string {
  return `${text.length.toString(16)}\r\n${text}\r\n0\r\n\r\n`;
}

const good = post([`Content-Length: ${length}`], json);
const prompt = `{"model":"m","prompt":"${hidden}"}`;

/** 400 and the end of the connection; nothing reaches the engine. */
function refused(name: string, bytes: string): SmugglingCase {
  return { name, bytes, answers: [400], closes: true, engine: [] };
}

/** One request gets through, as it should. */
function accepted(name: string, bytes: string, extra: Partial<SmugglingCase> = {}): SmugglingCase {
  return { name, bytes, answers: [200], closes: false, engine: [relayed], ...extra };
}

const withLength = (value: string): string => post([`Content-Length: ${value}`], json);
const withCoding = (line: string): string => post([line], chunked(json));
const withChunks = (body: string): string => post(["Transfer-Encoding: chunked"], body);
/** Content-Length wins for one reader, the coding for another: the second request is hidden from one of them. */
const both = (...coding: string[]): string =>
  post([`Content-Length: ${chunked(json).length + hidden.length}`, ...coding], chunked(json) + hidden);

const lengths: SmugglingCase[] = [
  refused("CL.CL: two lengths that differ", post([`Content-Length: ${length}`, "Content-Length: 0"], json)),
  refused("CL.CL: two lengths that are alike", post([`Content-Length: ${length}`, `Content-Length: ${length}`], json)),
  refused("CL.CL: two lengths in other cases", post([`Content-Length: ${length}`, "content-length: 0"], json)),
  refused("a list of lengths that differ", withLength(`${length}, 0`)),
  refused("a list of lengths that are alike", withLength(`${length}, ${length}`)),
  refused("a negative length", withLength("-1")),
  refused("a length with a plus sign", withLength(`+${length}`)),
  refused("a hexadecimal length", withLength("0x1e")),
  refused("a length in other digits", withLength("\xb9\xb2")),
  refused("a length with a fraction", withLength(`${length}.0`)),
  refused("a length with an exponent", withLength("3e1")),
  refused("an empty length", withLength("")),
  refused("a length with a space inside", withLength("3 0")),
  refused("a length in quotes", withLength(`"${length}"`)),
  refused("a length with an underscore, as Python's int() takes it", withLength("3_0")),
  refused("a length that overflows 64 bits", withLength("18446744073709551646")),
  refused("a length that is no exact double", withLength("9007199254740993")),
  refused("a length behind a NUL", withLength(`\0${length}`)),
  refused("a length behind a form feed", withLength(`\f${length}`)),
  refused("a length behind a no-break space", withLength(`\xa0${length}`)),
  accepted("a length with zeros before it", withLength(`000${length}`)),
  accepted("a length between blanks", withLength(`\t ${length} \t`)),
  accepted("Content_Length is just another field", post([`Content-Length: ${length}`, "Content_Length: 0"], json)),
  {
    name: "Content_Length alone frames nothing: the body is taken for the next request and refused",
    bytes: post([`Content_Length: ${length}`], `${json}\r\n\r\n`),
    answers: [400, 400],
    closes: true,
    engine: [],
  },
  {
    name: "a length beyond the limit is answered before it comes",
    bytes: post(["Content-Length: 9007199254740991"], hidden),
    answers: [413],
    closes: true,
    engine: [],
  },
  {
    name: "a length that is longer than what came",
    bytes: withLength("1000"),
    answers: [],
    closes: false,
    engine: [],
    waits: true,
  },
];

const codings: SmugglingCase[] = [
  refused("CL.TE: both, the coding last", both("Transfer-Encoding: chunked")),
  refused(
    "TE.CL: both, the coding first",
    post(["Transfer-Encoding: chunked", "Content-Length: 4"], `1e\r\n${json}\r\n0\r\n\r\n`),
  ),
  refused("CL.TE with a length of 0", post(["Content-Length: 0", "Transfer-Encoding: chunked"], chunked(json))),
  refused("TE.TE: chunked and another", both("Transfer-Encoding: chunked", "Transfer-Encoding: x")),
  refused("TE.TE: twice chunked", withCoding("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked")),
  refused("a list of codings that ends with chunked", withCoding("Transfer-Encoding: gzip, chunked")),
  refused("a list of codings that does not end with chunked", withCoding("Transfer-Encoding: chunked, identity")),
  refused("chunked twice in a list", withCoding("Transfer-Encoding: chunked, chunked")),
  refused("identity", withCoding("Transfer-Encoding: identity")),
  refused("a coding with a letter before it", withCoding("Transfer-Encoding: xchunked")),
  refused("a coding with a parameter", withCoding("Transfer-Encoding: chunked;q=0")),
  refused("a coding in quotes", withCoding('Transfer-Encoding: "chunked"')),
  refused("a coding with a comma behind it", withCoding("Transfer-Encoding: chunked,")),
  refused("an empty coding", withCoding("Transfer-Encoding:")),
  refused("a coding behind a vertical tab", withCoding("Transfer-Encoding: \vchunked")),
  refused("a coding behind a no-break space", withCoding("Transfer-Encoding: \xa0chunked")),
  refused("a coding before a tab", withCoding("Transfer-Encoding: chunked\t")),
  refused("a space before the colon", withCoding("Transfer-Encoding : chunked")),
  refused("a tab before the colon", withCoding("Transfer-Encoding\t: chunked")),
  refused("a space before the name", withCoding(" Transfer-Encoding: chunked")),
  refused("the value on a folded line", withCoding("Transfer-Encoding:\r\n chunked")),
  refused("a coding folded into another field", withCoding("X: y\r\n Transfer-Encoding: chunked")),
  refused("a name with a NUL", withCoding("Transfer\0-Encoding: chunked")),
  refused("a name with a control character", withCoding("Transfer-Encoding\x0b: chunked")),
  refused("a name with a byte above 127", withCoding("Transfer-Encod\xefng: chunked")),
  refused("a coding hidden behind a bare CR", withCoding("X: y\rTransfer-Encoding: chunked")),
  refused("a coding hidden behind a bare LF", withCoding("X: y\nTransfer-Encoding: chunked")),
  refused("chunked in HTTP/1.0", post(["Transfer-Encoding: chunked"], chunked(json), "HTTP/1.0")),
  accepted("chunked in capitals", withCoding("TRANSFER-ENCODING: CHUNKED")),
  accepted("chunked without a space", withCoding("Transfer-Encoding:chunked")),
  {
    name: "Transfer_Encoding alone frames nothing: the chunks are taken for the next request and refused",
    bytes: withCoding("Transfer_Encoding: chunked"),
    answers: [400, 400],
    closes: true,
    engine: [],
  },
];

const chunks: SmugglingCase[] = [
  refused("a chunk size with 0x", withChunks(`0x1e\r\n${json}\r\n0\r\n\r\n`)),
  refused("a chunk size with a plus sign", withChunks(`+1e\r\n${json}\r\n0\r\n\r\n`)),
  refused("a negative chunk size", withChunks(`-1\r\n${json}\r\n0\r\n\r\n`)),
  refused("a space before a chunk size", withChunks(` 1e\r\n${json}\r\n0\r\n\r\n`)),
  refused("a space behind a chunk size", withChunks(`1e \r\n${json}\r\n0\r\n\r\n`)),
  refused("an underscore in a chunk size", withChunks(`1_e\r\n${json}\r\n0\r\n\r\n`)),
  refused("an empty chunk size", withChunks(`\r\n${json}\r\n0\r\n\r\n`)),
  refused("a chunk size that overflows 32 bits and 64 bits", withChunks(`1000000000000001e\r\n${json}\r\n0\r\n\r\n`)),
  refused("a chunk line that ends with a bare LF", withChunks(`1e\n${json}\r\n0\r\n\r\n`)),
  refused("a chunk line that ends with a bare CR", withChunks(`1e\r${json}\r\n0\r\n\r\n`)),
  refused("chunk data that ends with a bare LF", withChunks(`1e\r\n${json}\n0\r\n\r\n`)),
  refused("chunk data without an end of line", withChunks(`1e\r\n${json}0\r\n\r\n`)),
  refused("chunk data that is longer than its size", withChunks(`1d\r\n${json}\r\n0\r\n\r\n`)),
  refused("an extension with a bare LF, as in CVE-2025-22871", withChunks(`1e;a\n${json}\r\n0\r\n\r\n`)),
  refused("an extension that hides a second size behind a bare LF", withChunks(`1e;\n1\r\n${json}\r\n0\r\n\r\n`)),
  refused("an extension in quotes with a line end", withChunks(`1e;a="\r\n${json}\r\n0\r\n\r\n`)),
  refused("an extension in quotes", withChunks(`1e;a="b"\r\n${json}\r\n0\r\n\r\n`)),
  refused("an extension with a NUL", withChunks(`1e;a\0\r\n${json}\r\n0\r\n\r\n`)),
  refused("a last chunk that ends with a bare LF", withChunks(`1e\r\n${json}\r\n0\r\n\n`)),
  refused("a last chunk that ends with a bare CR", withChunks(`1e\r\n${json}\r\n0\r\n\rX`)),
  refused("a last chunk with a request in place of its empty line", withChunks(`1e\r\n${json}\r\n0\r\n${hidden}`)),
  refused("a folded trailer", withChunks(`1e\r\n${json}\r\n0\r\nX: y\r\n Content-Length: 5\r\n\r\n`)),
  refused("a trailer with a space before the colon", withChunks(`1e\r\n${json}\r\n0\r\nX : y\r\n\r\n`)),
  refused("a trailer with a bare LF", withChunks(`1e\r\n${json}\r\n0\r\nX: y\nContent-Length: 5\r\n\r\n`)),
  accepted("a plain extension", withChunks(`1e;a=b;c\r\n${json}\r\n0;d\r\n\r\n`)),
  accepted("a size in capitals with zeros before it", withChunks(`001E\r\n${json}\r\n000\r\n\r\n`)),
  accepted(
    "trailers that try to set framing",
    withChunks(`1e\r\n${json}\r\n0\r\nContent-Length: 5\r\nTransfer-Encoding: x\r\n\r\n`),
    {
      stripped: ["transfer-encoding"],
    },
  ),
  accepted(
    "trailers that try to set a credential and a host",
    withChunks(`1e\r\n${json}\r\n0\r\nAuthorization: stolen\r\nHost: evil\r\n\r\n`),
    {
      stripped: ["authorization"],
    },
  ),
  {
    name: "a chunk that is longer than what came",
    bytes: withChunks(`fffffffffffff\r\n${json}`),
    answers: [],
    closes: false,
    engine: [],
    waits: true,
  },
  {
    name: "a last chunk without its empty line",
    bytes: withChunks(`1e\r\n${json}\r\n0\r\n`),
    answers: [],
    closes: false,
    engine: [],
    waits: true,
  },
];

const lines: SmugglingCase[] = [
  refused("HTTP/0.9", `GET ${path}\r\n\r\n`),
  refused("HTTP/2 as text", post([`Content-Length: ${length}`], json, "HTTP/2.0")),
  refused("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"),
  refused("a version that does not exist", post([`Content-Length: ${length}`], json, "HTTP/1.2")),
  refused("a version in small letters", post([`Content-Length: ${length}`], json, "http/1.1")),
  refused("a version with zeros before it", post([`Content-Length: ${length}`], json, "HTTP/1.01")),
  refused("a version with a space behind it", post([`Content-Length: ${length}`], json, "HTTP/1.1 ")),
  refused("lines that end with bare LFs", good.replaceAll("\r\n", "\n")),
  refused("a bare LF behind the request line", good.replace("HTTP/1.1\r\n", "HTTP/1.1\n")),
  refused("a bare CR behind the request line", good.replace("HTTP/1.1\r\n", "HTTP/1.1\r")),
  refused("an empty line that is a bare LF", good.replace("\r\n\r\n", "\r\n\n")),
  refused("an empty line that is LF CR", good.replace("\r\n\r\n", "\n\r\n\r")),
  refused("a tab in the request line", good.replace(" HTTP/1.1", "\tHTTP/1.1")),
  refused("two spaces in the request line", good.replace("POST ", "POST  ")),
  refused("a space before the method", ` ${good}`),
  refused("a method in small letters", good.replace("POST", "post")),
  refused("a method that is no token", good.replace("POST", "PO(ST")),
  refused("TRACE", good.replace("POST", "TRACE")),
  refused("CONNECT", `CONNECT engine:8000 HTTP/1.1\r\nHost: engine:8000\r\n\r\n${hidden}`),
  refused("a target with bytes above 127", good.replace(path, `${path}\xe9`)),
  refused("a target with a NUL", good.replace(path, `${path}\0`)),
  refused("a target with a fragment", good.replace(path, `${path}#x`)),
  refused("a target with a bare CR", good.replace(path, `${path}\r`)),
  refused("a target that is no path", good.replace(path, "v1/completions")),
  refused("a target with another scheme", good.replace(path, `file://${path}`)),
  refused("a field without a colon", post([`Content-Length: ${length}`, "X"], json)),
  refused("a field without a name", post([": x", `Content-Length: ${length}`], json)),
  refused("a value with a NUL", post(["X: a\0b", `Content-Length: ${length}`], json)),
  refused("a value with a bare CR", post(["X: a\rb", `Content-Length: ${length}`], json)),
  refused("a value with a delete character", post(["X: a\x7fb", `Content-Length: ${length}`], json)),
  refused("a folded value", post(["X: a\r\n\tb", `Content-Length: ${length}`], json)),
  accepted("empty lines before a request", `\r\n\r\n${good}`),
  accepted("a value with bytes above 127 and a tab", post(["X: \xe9\tb", `Content-Length: ${length}`], json)),
  accepted("a query with an escaped NUL and line end", good.replace(path, `${path}?x=%00%0d%0aHost:%20evil`), {
    engine: [{ ...relayed, target: `${path}?x=%00%0d%0aHost:%20evil` }],
  }),
  {
    name: "a path with an escaped NUL exists nowhere",
    bytes: good.replace(path, `${path}%00`),
    answers: [404],
    closes: true,
    engine: [],
  },
  {
    name: "a path with dots exists nowhere",
    bytes: good.replace(path, "/v1/../collective_rpc"),
    answers: [404],
    closes: true,
    engine: [],
  },
  {
    name: "a path with an escaped slash exists nowhere",
    bytes: good.replace(path, "/v1%2fcompletions"),
    answers: [404],
    closes: true,
    engine: [],
  },
];

const hosts: SmugglingCase[] = [
  refused("no Host", good.replace("Host: router\r\n", "")),
  refused("two Hosts that differ", post(["Host: evil", `Content-Length: ${length}`], json)),
  refused("two Hosts that are alike", post(["Host: router", `Content-Length: ${length}`], json)),
  refused("a Host with user information", good.replace("Host: router", "Host: router@evil")),
  refused("a Host with a path", good.replace("Host: router", "Host: router/evil")),
  refused("a Host that is a list", good.replace("Host: router", "Host: router, evil")),
  refused("a Host with a space", good.replace("Host: router", "Host: router evil")),
  refused("an absolute target with user information", good.replace(path, `http://router@evil${path}`)),
  refused("an absolute target without a host", good.replace(path, `http://${path}`)),
  accepted("an empty Host", good.replace("Host: router", "Host:")),
  accepted("an absolute target with another Host", good.replace(path, `http://router:8001${path}`)),
  accepted("an absolute target with a query without a path is no inference", good.replace(path, "http://router?x"), {
    answers: [405],
    closes: true,
    engine: [],
  }),
];

const connections: SmugglingCase[] = [
  accepted(
    "Connection that names Content-Length",
    post(["Connection: content-length", `Content-Length: ${length}`], json),
  ),
  accepted(
    "Connection that names Transfer-Encoding",
    post(["Connection: transfer-encoding", "Transfer-Encoding: chunked"], chunked(json)),
  ),
  accepted("Connection that names Host", post(["Connection: host", `Content-Length: ${length}`], json)),
  accepted(
    "Connection that names Authorization",
    post(["Connection: authorization", "Authorization: k", `Content-Length: ${length}`], json),
    {
      stripped: ["authorization"],
    },
  ),
  accepted(
    "Connection that names a field of ours",
    post(["Connection: x-forwarded-for, via, x-request-id", `Content-Length: ${length}`], json),
  ),
  accepted(
    "fields that Connection names in other cases",
    post(["Connection: X-Hop", "x-hOp: 1", `Content-Length: ${length}`], json),
    {
      stripped: ["x-hop"],
    },
  ),
  accepted(
    "Upgrade to a WebSocket",
    post(["Connection: upgrade", "Upgrade: websocket", `Content-Length: ${length}`], json),
    {
      stripped: ["upgrade"],
    },
  ),
  accepted(
    "Upgrade to HTTP/2, as in the h2c attacks",
    post(
      [
        "Connection: Upgrade, HTTP2-Settings",
        "Upgrade: h2c",
        "HTTP2-Settings: AAMAAABkAAQAAP__",
        `Content-Length: ${length}`,
      ],
      json,
    ),
    { stripped: ["upgrade", "http2-settings"] },
  ),
  accepted("Proxy-Connection means nothing", post(["Proxy-Connection: close", `Content-Length: ${length}`], json), {
    stripped: ["proxy-connection"],
  }),
  accepted(
    "TE and Trailer stay here",
    post(["TE: trailers", "Trailer: Content-Length", `Content-Length: ${length}`], json),
    { stripped: ["te", "trailer"] },
  ),
  accepted(
    "Expect with a body that is there already",
    post(["Expect: 100-continue", `Content-Length: ${length}`], json),
    { stripped: ["expect"] },
  ),
  accepted(
    "Expect without a body to wait for is not answered",
    post(["Expect: 100-Continue", "Transfer-Encoding: chunked"], chunked(json)),
  ),
  {
    ...refused("Expect with something else", post(["Expect: 200-ok", `Content-Length: ${length}`], json)),
    answers: [417],
  },
  {
    ...refused("Expect twice", post(["Expect: 100-continue, 100-continue", `Content-Length: ${length}`], json)),
    answers: [417],
  },
];

const pipelines: SmugglingCase[] = [
  accepted("a request hidden in a body stays a body", post([`Content-Length: ${json.length + 2}`], `${json}\r\n`), {
    engine: [{ ...relayed, body: `${json}\r\n` }],
  }),
  accepted("a prompt that is a request, line ends and all", post([`Content-Length: ${prompt.length}`], prompt), {
    engine: [{ ...relayed, body: prompt }],
  }),
  accepted("two requests behind each other are two", good + good, { answers: [200, 200], engine: [relayed, relayed] }),
  accepted("chunked and counted behind each other", withCoding("Transfer-Encoding: chunked") + good, {
    answers: [200, 200],
    engine: [relayed, relayed],
  }),
  accepted("a malformed request behind a good one", `${good}GET / HTTP/1.1\nHost: a\n\n`, {
    answers: [200, 400],
    closes: true,
  }),
  accepted("bytes behind a good request", `${good}${json}\r\n\r\n`, { answers: [200, 400], closes: true }),
  accepted(
    "a request behind Connection: close is not read",
    post(["Connection: close", `Content-Length: ${length}`], json) + good,
    { closes: true },
  ),
  accepted("a request behind HTTP/1.0 is not read", post([`Content-Length: ${length}`], json, "HTTP/1.0") + good, {
    closes: true,
  }),
  {
    name: "a GET whose body is a request",
    bytes: `GET /health HTTP/1.1\r\nHost: a\r\nContent-Length: ${hidden.length}\r\n\r\n${hidden}`,
    answers: [200],
    closes: true,
    engine: [],
  },
  {
    name: "a HEAD whose body is a request",
    bytes: `HEAD /health HTTP/1.1\r\nHost: a\r\nContent-Length: ${good.length}\r\n\r\n${good}`,
    answers: [200],
    closes: true,
    engine: [],
  },
  {
    name: "a refused path whose body is a request",
    bytes: `POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: ${good.length}\r\n\r\n${good}`,
    answers: [404],
    closes: true,
    engine: [],
  },
  {
    name: "JSON that ends early, with a request behind it",
    bytes: post([`Content-Length: ${length + good.length}`], json + good),
    answers: [400],
    closes: true,
    engine: [],
  },
];

export const smugglingCases: readonly SmugglingCase[] = [
  ...lengths,
  ...codings,
  ...chunks,
  ...lines,
  ...hosts,
  ...connections,
  ...pipelines,
];
