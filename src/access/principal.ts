/** Whoever is charged. Its outermost level is the tenant. */
export interface Principal {
  readonly key?: string | undefined;
  readonly user?: string | undefined;
  readonly team?: string | undefined;
  readonly organization?: string | undefined;
}
