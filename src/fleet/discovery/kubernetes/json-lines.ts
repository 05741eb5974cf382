// Bytes of a watch -> its lines. A line may come in any number of pieces, cut inside a character too.

const newline = 0x0a;

/** A pod of a megabyte is none: etcd takes 1.5 MB at most. */
const maxLineBytes = 16 * 1024 * 1024;

export class JsonLines {
  #held: Buffer[] = [];
  #heldBytes = 0;

  /**
   * Takes the next bytes.
   * @returns the lines that are whole now, without their end, empty ones left out
   * @throws Error when a line grows beyond all measure
   */
  push(bytes: Buffer): string[] {
    const lines: string[] = [];
    let start = 0;
    for (let end = bytes.indexOf(newline); end >= 0; end = bytes.indexOf(newline, start)) {
      const line = this.#take(bytes.subarray(start, end));
      if (line.trim() !== "") lines.push(line);
      start = end + 1;
    }
    if (start < bytes.length) {
      const rest = bytes.subarray(start);
      this.#held.push(rest);
      this.#heldBytes += rest.length;
      if (this.#heldBytes > maxLineBytes) throw new Error(`a line of more than ${maxLineBytes} bytes`);
    }
    return lines;
  }

  #take(end: Buffer): string {
    if (this.#held.length === 0) return end.toString("utf8");
    const whole = Buffer.concat([...this.#held, end]).toString("utf8");
    this.#held = [];
    this.#heldBytes = 0;
    return whole;
  }
}
