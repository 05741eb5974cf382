// Turns one message into another that is nearly one: line by line, token by token and byte by byte, so that a good part
// of what comes out is still accepted and the rest is wrong in one place only.
import type { Random } from "./random.ts";

/** Bytes on which parsers disagree. */
const nasty = "\0\t\n\v\f\r !\"#%&'()+,-./0:;<=>?@[\\]^_`{|}~\x7f\x80\x85\xa0\xffaAzZ09".split("") as [
  string,
  ...string[],
];

const fields = [
  "Content-Length: 0",
  "Content-Length: 3",
  "content-length:5",
  "Content-Length: 05",
  "Content-Length: +5",
  "Content-Length: -1",
  "Content-Length: 5, 5",
  "Content-Length: 5 ",
  "Content-Length:\t5",
  "Content-Length: 0x5",
  "Content-Length: 5a",
  "Content-Length:",
  "Content-Length: 99999999999999999999",
  "Content-Length : 5",
  "Content_Length: 5",
  "Transfer-Encoding: chunked",
  "transfer-encoding:chunked",
  "Transfer-Encoding: CHUNKED",
  "Transfer-Encoding: identity",
  "Transfer-Encoding: gzip, chunked",
  "Transfer-Encoding: chunked, identity",
  "Transfer-Encoding: xchunked",
  "Transfer-Encoding: chunked;q=1",
  "Transfer-Encoding : chunked",
  "Transfer-Encoding:\tchunked",
  "Transfer-Encoding: chunked\t",
  "Connection: close\t, x",
  'Transfer-Encoding: "chunked"',
  "Transfer-Encoding:",
  "X: a\r\n Transfer-Encoding: chunked",
  "Connection: close",
  "Connection: keep-alive",
  "Connection: Keep-Alive, Upgrade",
  "Connection: close, keep-alive",
  "Connection: content-length",
  "Connection: transfer-encoding",
  "Connection: xclose",
  "Connection: close ,",
  "Connection: ,close",
  "Connection: \xa0close",
  "Connection:close\t",
  "Connection: clos",
  "Connection:",
  "Proxy-Connection: close",
  "Upgrade: websocket",
  "Upgrade: h2c",
  "Expect: 100-continue",
  "Expect: 200-ok",
  "Host: a",
  "Host: b",
  "Host:",
  "Host: a, b",
  "Host: u@a",
  "Host: [::1]:80",
  "TE: trailers",
  "Trailer: Content-Length",
  "X: \xe9",
  "X: a\tb",
  "X:",
  "X:  a  ",
  ": a",
  "X",
  "Keep-Alive: timeout=5",
  'X-A: "q\\"uoted"',
  "Cookie: a=b; c=d",
  "X: y\r",
  "\r",
  " X: y",
  "X\t: y",
] as const;

const pieces = [
  "\r\n",
  "\r\n\r\n",
  "\n",
  "\r",
  "\n\n",
  "\r\r\n",
  "0\r\n\r\n",
  "0\r\n",
  "3\r\nabc\r\n",
  "a\r\n0123456789\r\n",
  "0x3",
  "00000000",
  "3;a",
  "3;a=b",
  "3 ;a",
  '3;a="b"',
  "3; a",
  "-1",
  "+3",
  "FFFFFFFFFFFFF",
  "ffffffffffffffff",
  "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
  "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
  "HTTP/1.0",
  "HTTP/1.1",
  "HTTP/2.0",
  "HTTP/0.9",
  "HTTP/1.2",
  "http/1.1",
  "HTTP/1.10",
  "GET",
  "POST",
  "PRI",
  "OPTIONS",
  "HEAD",
  "CONNECT",
  "M-SEARCH",
  "http://h/p",
  "http://h",
  "https://u@h/",
  "HTTP://H?q",
  "//h/p",
  "*",
  "/%00",
  "/a#b",
  "/\xe9",
  "chunked",
  "close",
  "keep-alive",
  "Content-Length",
  "Transfer-Encoding",
  ": ",
  " ",
  "\t",
  ";",
  ",",
  "X-T: y\r\n",
  "Content-Length: 5\r\n",
  "Transfer-Encoding: chunked\r\n",
  "200 ",
  "204 ",
  "304 ",
  "100 Continue",
  "101 ",
  "HTTP/1.1 100 Continue\r\n\r\n",
] as const;

/** One to four changes, most often one or two. */
export function mutate(seed: string, others: readonly [string, ...string[]], random: Random): string {
  let text = seed;
  const changes = random.pick([1, 1, 1, 2, 2, 3, 4]);
  for (let i = 0; i < changes; i++) text = change(text, others, random);
  // a message is small: nothing is learnt from long ones
  return text.length > 4096 ? text.slice(0, 4096) : text;
}

function change(text: string, others: readonly [string, ...string[]], random: Random): string {
  const at = random.below(text.length + 1);
  switch (random.below(14)) {
    case 0: // another byte
      return text.slice(0, at) + random.pick(nasty) + text.slice(at + 1);
    case 1: // a byte more
      return text.slice(0, at) + random.pick(nasty) + text.slice(at);
    case 2: // a byte less
      return text.slice(0, at) + text.slice(at + 1);
    case 3: // a run less
      return text.slice(0, at) + text.slice(at + 1 + random.below(12));
    case 4: // a run twice
      return text.slice(0, at + random.below(24)) + text.slice(at);
    case 5: // another field
    case 6:
    case 7: {
      const lines = text.split("\r\n");
      const last = Math.max(1, lines.indexOf(""));
      lines.splice(1 + random.below(last), 0, fields[random.below(fields.length)] ?? "");
      return lines.join("\r\n");
    }
    case 8: // a line twice, less, or in another's place
    case 9: {
      const lines = text.split("\r\n");
      const from = random.below(lines.length);
      const line = lines[from] ?? "";
      const how = random.below(3);
      if (how !== 0) lines.splice(from, 1);
      if (how !== 1) lines.splice(random.below(lines.length + 1), 0, line);
      return lines.join("\r\n");
    }
    case 10: // a token
      return text.slice(0, at) + (pieces[random.below(pieces.length)] ?? "") + text.slice(at);
    case 11: {
      // a token in place of a word
      const words = [...text.matchAll(/[^\s:,;]+/g)];
      const word = words[random.below(Math.max(1, words.length))];
      if (word === undefined) return text;
      return (
        text.slice(0, word.index) +
        (pieces[random.below(pieces.length)] ?? "") +
        text.slice(word.index + word[0].length)
      );
    }
    case 12: // the head of one and the tail of another
      return text.slice(0, at) + random.pick(others).slice(-random.below(64));
    default: // one behind the other
      return text + random.pick(others);
  }
}
