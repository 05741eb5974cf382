// What parsed JSON is, where it comes from somebody else.

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Absent or null. */
export function isUnset(value: unknown): boolean {
  return value === undefined || value === null;
}
