// Finds the frames in the bytes of one stream, however a proxy cut or merged them, and notes when each was sent. One
// scanner per stream, one tally for all of them. Runs once per read, 30,000 times a second: it copies only where a
// frame's mark or send time was cut in two.
import { DelayHistogram } from "./delay-histogram.ts";
import { SENT_DIGITS, readSentNs } from "./sse-marks.ts";

/** What all streams of a run have seen; counts only while `measuring`. */
export class FrameTally {
  measuring = false;
  frames = 0;
  readonly delays = new DelayHistogram();
}

export class FrameScanner {
  readonly #mark: Buffer;
  readonly #timed: boolean;
  readonly #tally: FrameTally;
  #carried: Buffer | undefined;

  /** `timed`: the mark is followed by a send time. */
  constructor(mark: Buffer, timed: boolean, tally: FrameTally) {
    this.#mark = mark;
    this.#timed = timed;
    this.#tally = tally;
  }

  /** Takes the next bytes, which may be overwritten afterwards; how many frames became whole. */
  push(bytes: Buffer): number {
    let data = bytes;
    if (this.#carried !== undefined) {
      data = Buffer.concat([this.#carried, bytes]);
      this.#carried = undefined;
    }
    const tally = this.#tally;
    const nowNs = this.#timed && tally.measuring ? Number(process.hrtime.bigint()) : 0;
    const tail = this.#timed ? SENT_DIGITS : 0;
    let frames = 0;
    let at = 0;
    for (;;) {
      const found = data.indexOf(this.#mark, at);
      const after = found + this.#mark.length;
      if (found < 0 || after + tail > data.length) {
        const rest = found < 0 ? this.#partialMark(data, at) : found;
        if (rest < data.length) this.#carried = Buffer.from(data.subarray(rest));
        return frames;
      }
      frames++;
      if (tally.measuring) {
        tally.frames++;
        if (this.#timed) tally.delays.add((nowNs - readSentNs(data, after)) / 1e6);
      }
      at = after + tail;
    }
  }

  /** Where a mark begins that the end of `data` cuts in two; `data.length` where none does. */
  #partialMark(data: Buffer, from: number): number {
    const mark = this.#mark;
    for (let start = Math.max(from, data.length - mark.length + 1); start < data.length; start++) {
      let same = 0;
      while (start + same < data.length && data[start + same] === mark[same]) same++;
      if (start + same === data.length) return start;
    }
    return data.length;
  }
}
