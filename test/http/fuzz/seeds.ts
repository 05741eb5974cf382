// Where fuzzing starts: well-formed messages of each shape that a client or an engine sends, and the ones next to a
// rule. Strings are latin1. Messages that once told our reading apart from llhttp's are in `regressions.ts`.

function post(fields: string, body: string): string {
  return `POST /v1/chat/completions HTTP/1.1\r\nHost: router:8001\r\n${fields}\r\n${body}`;
}

const json = '{"model":"m","messages":[{"role":"user","content":"Hello"}]}';
const chunkedJson = `10\r\n${json.slice(0, 16)}\r\n${(json.length - 16).toString(16)}\r\n${json.slice(16)}\r\n0\r\n\r\n`;

export const requestSeeds: readonly [string, ...string[]] = [
  "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
  "GET /v1/models?x=1&y=%20 HTTP/1.1\r\nhost: a:80\r\naccept: */*\r\n\r\n",
  "GET /health HTTP/1.0\r\n\r\n",
  "GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
  "HEAD /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
  "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
  "DELETE /v1/responses/resp_1 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
  "GET http://router:8001/v1/models HTTP/1.1\r\nHost: router:8001\r\n\r\n",
  "GET http://router HTTP/1.1\r\nHost: router\r\n\r\n",
  "GET https://router?q=1 HTTP/1.1\r\nHost: router\r\n\r\n",
  "PATCH /x HTTP/1.1\r\nHost:\r\nX-Empty:\r\n\r\n",
  "PUT /x HTTP/1.1\r\nHost: [::1]:8001\r\nContent-Length: 3\r\n\r\nabc",
  "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
  post(`Content-Type: application/json\r\nContent-Length: ${json.length}\r\n`, json),
  post(
    `Authorization: Bearer k\r\nUser-Agent: x\r\nAccept-Encoding: gzip, deflate\r\nContent-Length: ${json.length}\r\nConnection: keep-alive\r\n`,
    json,
  ),
  post(`Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n`, chunkedJson),
  post("Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n", "5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-Other:\r\n\r\n"),
  post("Transfer-Encoding: chunked\r\n", "5;a\r\nhello\r\n3;b=c;d=e\r\nabc\r\n0;z\r\n\r\n"),
  post("Transfer-Encoding: chunked\r\n", "0005\r\nhello\r\n000\r\n\r\n"),
  post("Transfer-Encoding: chunked\r\n", "A\r\n0123456789\r\na\r\n\r\n\r\n\r\n\r\n\r\n\r\n0\r\n\r\n"),
  post("Expect: 100-continue\r\nContent-Length: 5\r\n", "hello"),
  post("Connection: close\r\nContent-Length: 5\r\n", "hello"),
  post("Connection: keep-alive, x-hop\r\nX-Hop: 1\r\nContent-Length: 5\r\n", "hello"),
  post("X-Tab:\ta\t\r\nX-Obs: \xe9\xff\r\nX-Comma: a, b,,c\r\nContent-Length: 1\r\n", "x"),
  post(`X-Request-Id: 5c1f0e6a-9d3b\r\nContent-Length: ${json.length}\r\nConnection: keep-alive\r\n`, json),
  post(`X-Request-Id: 1\r\nx-request-id:2\r\nContent-Length:5\r\nExpect: 100-continue\r\n`, "hello"),
  post("Upgrade: websocket\r\nContent-Length: 2\r\n", "{}"),
  "POST /v1/completions HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}",
  "POST /v1/completions HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n{}",
  `${post("Content-Length: 2\r\n", "{}")}GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n`,
  `${post("Transfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n")}${post("Content-Length: 2\r\n", "{}")}`,
  post("Content-Length: 44\r\n", "GET /hidden HTTP/1.1\r\nHost: a\r\nX-Pad: 12345\r\n\r\n"),
  `GET /many HTTP/1.1\r\nHost: a\r\n${Array.from({ length: 40 }, (_, i) => `x-${i}: ${i}\r\n`).join("")}\r\n`,
];

function ok(fields: string, body: string): string {
  return `HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\nserver: uvicorn\r\n${fields}\r\n${body}`;
}

const frame = 'data: {"choices":[{"text":" a"}]}\n\n';
const chunk = `${frame.length.toString(16)}\r\n${frame}\r\n`;

export const responseSeeds: readonly [string, ...string[]] = [
  ok(`content-type: application/json\r\ncontent-length: ${json.length}\r\n`, json),
  ok(
    "content-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n",
    `${chunk}${chunk}e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n`,
  ),
  ok("transfer-encoding: chunked\r\n", "3;x=y\r\nabc\r\n0\r\nX-T: 1\r\n\r\n"),
  ok("connection: close\r\n", "until the end"),
  ok("connection: close\r\ncontent-length: 3\r\n", "abc"),
  ok("content-length: 0\r\n", ""),
  ok(`content-length: ${json.length}\r\nx-request-id: 5c1f0e6a\r\nx-request-id: 2\r\n`, json),
  "HTTP/1.1 204 No Content\r\n\r\n",
  "HTTP/1.1 304 Not Modified\r\ncontent-length: 10\r\n\r\n",
  "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
  "HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\nHTTP/1.1 404 Not Found\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
  "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}",
  "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\n{}",
  "HTTP/1.0 200 OK\r\n\r\nuntil the end",
  "HTTP/1.1 500 \r\ncontent-length: 3\r\n\r\nbad",
  "HTTP/1.1 503\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n",
  "HTTP/1.1 200 \xe9t\xe9\r\nset-cookie: a\r\nset-cookie: b\r\ncontent-length: 1\r\n\r\nx",
];
