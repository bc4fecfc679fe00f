const WIDTH = 30;

/** Where a progress bar is drawn: a terminal, or what looks like one. */
export interface ProgressOutput {
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  write(text: string): unknown;
}

/**
 * A progress bar for `onProgress` of a simulation: one line, drawn over itself, and gone at the end. Files and pipes get nothing.
 *
 * @param output - @default standard error
 * @returns draws it: the share that is done, 0–1, and what is being done.
 */
export function progressBar(output: ProgressOutput = process.stderr): (share: number, label?: string) => void {
  if (!output.isTTY) return () => {};
  let shown = "";
  return (share, label = "") => {
    const filled = Math.floor(WIDTH * Math.min(1, Math.max(0, share)));
    const bar = "#".repeat(filled).padEnd(WIDTH, ".");
    const line =
      share >= 1 ? "" : `[${bar}] ${Math.floor(100 * share)} % ${label}`.slice(0, (output.columns ?? 80) - 1);
    if (line === shown) return;
    shown = line;
    output.write(`\r\x1b[K${line}`);
  };
}
