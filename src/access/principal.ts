/** Whoever is charged. Its outermost level is the tenant. */
export interface Principal {
  readonly key?: string | undefined;
  readonly user?: string | undefined;
  readonly team?: string | undefined;
  readonly organization?: string | undefined;
}

const LEVELS: ReadonlySet<string> = new Set(["key", "user", "team", "organization"] satisfies (keyof Principal)[]);
export const MAX_PRINCIPAL_NAME_LENGTH = 512;

/**
 * Is it a principal? It names at least one level: whoever names nobody must not be taken for the host itself, whom no limit
 * binds.
 */
export function isPrincipal(value: unknown): value is Principal {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  let isSomebody = false;
  for (const level in value) {
    const name: unknown = (value as Readonly<Record<string, unknown>>)[level]; // a key of the object
    if (!LEVELS.has(level)) return false;
    if (name === undefined) continue;
    if (typeof name !== "string" || name === "" || name.length > MAX_PRINCIPAL_NAME_LENGTH) return false;
    isSomebody = true;
  }
  return isSomebody;
}
