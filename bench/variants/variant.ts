/** One way to do what the scenarios measure. Each runs in a process of its own. */
export interface Variant {
  /** Version of what is measured, for the report. */
  readonly version: string;
  /** A chat completion that is not streamed. */
  readonly completion?: ((origin: string) => Operation | Promise<Operation>) | undefined;
  /** A streamed one, read to its end as parsed chunks. */
  readonly stream?: ((origin: string) => Operation | Promise<Operation>) | undefined;
  /** An HTTP server in front of the upstream; answers its own port. */
  readonly serve?: ((origin: string) => Promise<number>) | undefined;
  /** What is left of a completion where provider and transport answer in no time. */
  readonly decision?: (() => Operation) | undefined;
}

/** Does the thing once. Returns the length of the text that came, by which the harness sees that all of it came. */
export type Operation = () => Promise<number>;
