// A request body as it lies in memory: pieces as they came, small ones joined, never one copy of the whole unless somebody
// must see it whole.
import { ByteAccumulator } from "../http/bytes.ts";

/** Pieces below this are joined: a body in chunks of one byte must not cost an object a byte. */
const joinBelowBytes = 4096;

export class Body {
  readonly #pieces: Buffer[] = [];
  #small: ByteAccumulator | null = null;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  add(piece: Buffer): void {
    this.#length += piece.length;
    if (piece.length >= joinBelowBytes || (this.#pieces.length === 0 && this.#small === null)) {
      this.#settle();
      this.#pieces.push(piece);
      return;
    }
    this.#small ??= new ByteAccumulator();
    this.#small.append(piece, 0, piece.length);
    if (this.#small.length >= 16 * joinBelowBytes) this.#settle();
  }

  #settle(): void {
    if (this.#small === null) return;
    this.#pieces.push(this.#small.view());
    this.#small = null;
  }

  /** The pieces in order. */
  get pieces(): readonly Buffer[] {
    this.#settle();
    return this.#pieces;
  }

  /** Bytes [start, end), copied only where they cross pieces. */
  slice(start: number, end: number): Buffer {
    const parts: Buffer[] = [];
    let offset = 0;
    for (const piece of this.pieces) {
      const from = Math.max(0, start - offset);
      const to = Math.min(piece.length, end - offset);
      if (from < to) parts.push(piece.subarray(from, to));
      offset += piece.length;
      if (offset >= end) break;
    }
    const only = parts[0];
    return parts.length === 1 && only !== undefined ? only : Buffer.concat(parts);
  }

  /** Bytes [start, end) as text. */
  text(start: number, end: number): string {
    const { pieces } = this;
    const only = pieces[0];
    return pieces.length === 1 && only !== undefined ? only.toString("utf8", start, end) : this.slice(start, end).toString("utf8");
  }

  /** The pieces with bytes [start, end) replaced, the others as they are. */
  splice(start: number, end: number, replacement: Buffer): Buffer[] {
    const out: Buffer[] = [];
    let offset = 0;
    let placed = false;
    for (const piece of this.pieces) {
      const pieceEnd = offset + piece.length;
      if (offset < start) out.push(piece.subarray(0, Math.min(piece.length, start - offset)));
      if (!placed && pieceEnd >= start) {
        out.push(replacement);
        placed = true;
      }
      if (pieceEnd > end) out.push(piece.subarray(Math.max(0, end - offset)));
      offset = pieceEnd;
    }
    if (!placed) out.push(replacement);
    return out.filter((piece) => piece.length > 0);
  }
}
