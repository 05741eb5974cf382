// Rendezvous hashing (Thaler and Ravishankar, 1996): every router ranks the endpoints for a key alike, and one that joins or
// leaves moves only its own keys.

/** Endpoints' names, hashed once. Bounded: a fleet that is renewed again and again must not fill it. */
const hashed = new Map<string, number>();
const maxNames = 16_384;

/** How high an endpoint ranks for a key; the highest is its home. */
export function rendezvous(key: number, endpoint: string): number {
  let name = hashed.get(endpoint);
  if (name === undefined) {
    if (hashed.size >= maxNames) hashed.clear();
    name = hash32(endpoint);
    hashed.set(endpoint, name);
  }
  let h = Math.imul(key ^ name, 0xcc9e2d51);
  h = Math.imul((h ^ (h >>> 16)) + name, 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** MurmurHash3 x86 32-bit over UTF-16 code units (Appleby, public domain), seed 0. */
export function hash32(text: string): number {
  let h = 0;
  for (let i = 0; i < text.length; i++) {
    let k = Math.imul(text.charCodeAt(i), 0xcc9e2d51);
    k = (k << 15) | (k >>> 17);
    h ^= Math.imul(k, 0x1b873593);
    h = (h << 13) | (h >>> 19);
    h = (Math.imul(h, 5) + 0xe6546b64) | 0;
  }
  h ^= text.length;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
