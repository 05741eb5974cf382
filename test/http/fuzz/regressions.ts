// Messages on which the differential fuzz once found our parsers and llhttp apart, kept for ever: they run first in
// every run. Each tells what was wrong. Strings are latin1. Some are refused now, which is an agreement, too.

export interface Regression {
  readonly story: string;
  readonly bytes: string;
}

export const requestRegressions: readonly Regression[] = [
  {
    story:
      "a no-break space was trimmed off an option of Connection, as String.trim does: what is no `close` for others closed here",
    bytes: "GET / HTTP/1.1\r\nConnection: \xa0close\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
  },
  {
    story: "in HTTP/1.0 `keep-alive` won over `close`",
    bytes: "GET /health HTTP/1.0\r\nConnection: close, keep-alive\r\n\r\n",
  },
  {
    story: "the authority of an absolute form could have characters that no host has",
    bytes: "GET http://r{uter HTTP/1.1\r\nHost: router\r\n\r\n",
  },
  {
    story: "a tab behind `chunked` was taken off; llhttp takes it for a part of the coding's name",
    bytes: "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\t\r\n\r\n0\r\n\r\n",
  },
];

export const responseRegressions: readonly Regression[] = [
  {
    story:
      "a tab behind `chunked` was taken off; llhttp reads such an answer to the end of the connection, chunk sizes and all",
    bytes: "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\t\r\n\r\n1\r\nx\r\n0\r\n\r\n",
  },
  {
    story: "an HTTP/1.0 answer in chunks left its connection open for the next request",
    bytes: "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
  },
];
