/** How long each wait of an attempt may take, in milliseconds (routing §7). */
export interface TimeoutSettings {
  /** Until there is a connection. @default 5000 */
  readonly connectMs: number;
  /** Until the first content of a stream. Without it: learned, 10–60 s. */
  readonly firstTokenMs: number | undefined;
  /** Between two bytes of a stream, once it has begun. @default 15000, 30000 while reasoning */
  readonly idleMs: number | undefined;
  /** Bytes but no content. @default 60000 */
  readonly stallMs: number;
  /** The whole request, attempts and waits included. @default 600000 */
  readonly totalMs: number;
}
