// Names every block of every prompt of a workload by a small whole number, once, for all runs. A block is known by all
// that stands before it; segments that follow one another are a path in a tree, so a block is a node and a place in it,
// and no token ever has to be made or hashed. Pure.

import type { Segment, Workload } from "../bench/workload/workload.ts";

interface Node {
  readonly number: number;
  readonly children: Map<number, Node>;
  readonly fromToken: number;
  readonly toToken: number;
}

/** Paths of all requests of a workload, answers included. */
export class PrefixTree {
  /** First and last token of each node's segment, counted from the prompt's beginning; by the node's number. */
  readonly #fromToken: number[] = [];
  readonly #toToken: number[] = [];
  readonly #paths: Int32Array[] = [];

  constructor(workload: Workload) {
    const root: Node = { number: -1, children: new Map(), fromToken: 0, toToken: 0 };
    for (const { prompt, answer } of workload.requests) {
      const path = new Int32Array(prompt.length + 1);
      let node = root;
      for (let i = 0; i < prompt.length; i++) {
        const segment = prompt[i];
        if (segment === undefined) break;
        node = this.#child(node, segment);
        path[i] = node.number;
      }
      path[prompt.length] = this.#child(node, answer).number;
      this.#paths.push(path);
    }
  }

  /** Blocks of so many tokens, as an engine or an index cuts them. */
  blocksOf(blockTokens: number): BlockNames {
    return new BlockNames(this.#paths, this.#fromToken, this.#toToken, blockTokens);
  }

  /** A number that all requests share whose first segments are the same so far, and no others; -1 for none. */
  nodeAt(request: number, segments: number): number {
    return segments === 0 ? -1 : (this.#paths[request]?.[segments - 1] ?? -1);
  }

  /** Tokens up to the end of a node's segment. */
  tokensTo(node: number): number {
    return this.#toToken[node] ?? 0;
  }

  #child(parent: Node, { id, tokens }: Segment): Node {
    const known = parent.children.get(id);
    // Equal ids of different lengths are one text, cut short in one of the prompts: told apart to be safe.
    if (known !== undefined && known.toToken - known.fromToken === tokens) return known;
    const node: Node = {
      number: this.#fromToken.length,
      children: new Map(),
      fromToken: parent.toToken,
      toToken: parent.toToken + tokens,
    };
    this.#fromToken.push(node.fromToken);
    this.#toToken.push(node.toToken);
    parent.children.set(id, node);
    return node;
  }
}

/** The names of the blocks of a workload's requests, for one block size. */
export class BlockNames {
  /** How many different blocks there are; names are from 0 to below this. */
  readonly distinct: number;
  readonly #paths: readonly Int32Array[];
  /** Name of the first block that ends in a node, and how many do. */
  readonly #firstName: Int32Array;
  readonly #count: Int32Array;

  constructor(paths: readonly Int32Array[], from: readonly number[], to: readonly number[], blockTokens: number) {
    this.#paths = paths;
    this.#firstName = new Int32Array(from.length);
    this.#count = new Int32Array(from.length);
    let next = 0;
    for (let node = 0; node < from.length; node++) {
      const count = Math.floor((to[node] ?? 0) / blockTokens) - Math.floor((from[node] ?? 0) / blockTokens);
      this.#firstName[node] = next;
      this.#count[node] = count;
      next += count;
    }
    this.distinct = next;
  }

  /** How many blocks of a request's prompt, from its beginning, are held or expected: above 0 at their names. */
  matched(request: number, held: Uint8Array, expected: ArrayLike<number> = held): number {
    const path = this.#paths[request] ?? new Int32Array(0);
    let matched = 0;
    for (let i = 0; i < path.length - 1; i++) {
      const node = path[i] ?? 0;
      const first = this.#firstName[node] ?? 0;
      const end = first + (this.#count[node] ?? 0);
      for (let name = first; name < end; name++) {
        if (held[name] === 0 && expected[name] === 0) return matched;
        matched++;
      }
    }
    return matched;
  }

  /** Full blocks of a request's prompt and, if wanted, of its answer, in order. */
  of(request: number, withAnswer: boolean): number[] {
    const path = this.#paths[request] ?? new Int32Array(0);
    const names: number[] = [];
    const nodes = withAnswer ? path.length : path.length - 1;
    for (let i = 0; i < nodes; i++) {
      const node = path[i] ?? 0;
      const first = this.#firstName[node] ?? 0;
      const count = this.#count[node] ?? 0;
      for (let k = 0; k < count; k++) names.push(first + k);
    }
    return names;
  }
}
