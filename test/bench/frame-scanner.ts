// Finds the frames in the bytes of one stream, however a proxy cut or merged them, and notes when each was sent. One
// scanner per stream, one tally for all of them. Runs once per read, 30,000 times a second: it copies only where a
// frame's mark or send time was cut in two.
import { DelayHistogram } from "./delay-histogram.ts";
import { SENT_DIGITS, monotonicNs, readSentNs } from "./sse-marks.ts";

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
  /**
   * A read that held one frame, and where its mark was: nearly all are like it. Frames with a send time all have one length, so
   * that there is none beside it in another read of this length with a mark at this place.
   */
  #usualLength = -1;
  #usualAt = 0;

  /** `timed`: the mark is followed by a send time. */
  constructor(mark: Buffer, timed: boolean, tally: FrameTally) {
    this.#mark = mark;
    this.#timed = timed;
    this.#tally = tally;
  }

  /** Takes the next bytes, [0, length) of `buf`, which may be overwritten afterwards; how many frames became whole. */
  push(buf: Buffer, length = buf.length): number {
    if (length === this.#usualLength && this.#carried === undefined && this.#isMark(buf, this.#usualAt)) {
      this.#count(buf, this.#usualAt + this.#mark.length);
      return 1;
    }
    let data = buf.subarray(0, length);
    if (this.#carried !== undefined) {
      data = Buffer.concat([this.#carried, data]);
      this.#carried = undefined;
    }
    const tail = this.#timed ? SENT_DIGITS : 0;
    let frames = 0;
    let at = 0;
    for (;;) {
      const found = data.indexOf(this.#mark, at);
      const after = found + this.#mark.length;
      if (found < 0 || after + tail > data.length) {
        const rest = found < 0 ? this.#partialMark(data, at) : found;
        if (rest < data.length) this.#carried = Buffer.from(data.subarray(rest));
        else if (frames === 1 && this.#timed && data.length === length) {
          this.#usualLength = length;
          this.#usualAt = at - tail - this.#mark.length;
        }
        return frames;
      }
      frames++;
      this.#count(data, after);
      at = after + tail;
    }
  }

  #isMark(buf: Buffer, at: number): boolean {
    const mark = this.#mark;
    for (let i = 0; i < mark.length; i++) if (buf[at + i] !== mark[i]) return false;
    return true;
  }

  /** @param after where the send time is */
  #count(data: Buffer, after: number): void {
    const tally = this.#tally;
    if (!tally.measuring) return;
    tally.frames++;
    if (this.#timed) tally.delays.add((monotonicNs() - readSentNs(data, after)) / 1e6);
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
