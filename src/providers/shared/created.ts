/** Unix seconds (wire C3): the upstream's where it has them, else now. */
export function createdOf(value: unknown, wallNowMs: number): number {
  return typeof value === "number" && Number.isFinite(value) && value >= 1
    ? Math.floor(value)
    : Math.floor(wallNowMs / 1_000);
}
