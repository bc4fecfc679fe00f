/** What `process.emitWarning` calls warnings of this package: `--disable-warning=SwitchyardWarning` silences them. */
export const WARNING_TYPE = "SwitchyardWarning";
export const WARNING_CODE = "SWITCHYARD_WARNING";

const INTERVAL_MS = 60_000;
/** Different warnings of one minute; what is beyond them is counted. */
const MAX_TOLD = 10;

/**
 * Warnings that nobody listens to, as warnings of the process: on stderr, unless the host handles the event `warning`. At
 * most ten a minute, and each text once a minute.
 */
export class ProcessWarnings {
  #told = new Set<string>();
  #since = Number.NEGATIVE_INFINITY;
  #untold = 0;

  /** @param nowMs - On a monotonic scale: the machine's, for people read this, whatever clock a router has. */
  tell(message: string, nowMs = performance.now()): void {
    if (nowMs - this.#since >= INTERVAL_MS) {
      this.#since = nowMs;
      this.#told = new Set();
      const untold = this.#untold;
      this.#untold = 0;
      if (untold > 0) emit(`${untold} more warnings were not shown: a plugin with \`onWarning\` gets them all.`);
    }
    if (this.#told.has(message)) return;
    if (this.#told.size >= MAX_TOLD) {
      this.#untold++;
      return;
    }
    this.#told.add(message);
    emit(message);
  }
}

/** Those of all routers of this process together. */
export const processWarnings = new ProcessWarnings();

function emit(message: string): void {
  // Absent outside Node and what resembles it: nobody reads a warning there.
  if (typeof process === "undefined" || typeof process.emitWarning !== "function") return;
  process.emitWarning(message, { type: WARNING_TYPE, code: WARNING_CODE });
}
