/** Why a deployment cannot be picked now. */
export type Exclusion =
  | "operation-unsupported"
  | "feature-unsupported"
  | "context-window-too-small"
  | "tag-missing"
  | "region-mismatch"
  | "cooling-down"
  | "probing"
  | "rate-limited"
  | "parked"
  | "at-max-parallel"
  | "already-tried"
  | "higher-tier";
