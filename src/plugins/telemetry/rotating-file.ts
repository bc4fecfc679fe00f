import type * as FileSystem from "node:fs/promises";

export interface RotatingFileOptions {
  readonly path: string;
  readonly maxBytes: number;
  /** The current one included. */
  readonly maxFiles: number;
}

const encoder = new TextEncoder();

/** A file of lines that is put aside when it is full. One call at a time. */
export class RotatingFile {
  readonly #options: RotatingFileOptions;
  #files: Promise<typeof FileSystem> | undefined;
  /** Bytes of the current file; `undefined` before it was looked at, and after a failure. */
  #size: number | undefined;

  constructor(options: RotatingFileOptions) {
    this.#options = options;
  }

  /**
   * Appends lines; no line is cut, and no file gets larger than `maxBytes`.
   *
   * @returns how many were written: without those that are larger than a file, and those after a failure.
   * @throws whatever the file system does where not even the first line could be written.
   */
  async append(lines: readonly string[]): Promise<number> {
    // Not a static import: other runtimes have no such module.
    this.#files ??= import("node:fs/promises");
    const files = await this.#files;
    const { path, maxBytes } = this.#options;
    this.#size ??= await sizeOf(files, path);
    let written = 0;
    let pending: Uint8Array[] = [];
    let pendingBytes = 0;
    const flush = async () => {
      if (pending.length === 0) return;
      const size = this.#size ?? 0;
      try {
        // Only its owner may read what may be about people.
        await files.appendFile(path, Buffer.concat(pending), { mode: 0o600 });
      } catch (error) {
        this.#size = undefined;
        // Half a line would spoil the one after it.
        await files.truncate(path, size).catch(() => {});
        throw error;
      }
      written += pending.length;
      this.#size = size + pendingBytes;
      pending = [];
      pendingBytes = 0;
    };
    try {
      for (const line of lines) {
        const bytes = encoder.encode(`${line}\n`);
        if (bytes.length > maxBytes) continue;
        if ((this.#size ?? 0) + pendingBytes + bytes.length > maxBytes) {
          await flush();
          await this.#rotate(files);
        }
        pending.push(bytes);
        pendingBytes += bytes.length;
      }
      await flush();
    } catch (error) {
      if (written === 0) throw error;
    }
    return written;
  }

  /** The oldest goes, the others move on by one. */
  async #rotate(files: typeof FileSystem): Promise<void> {
    const { path, maxFiles } = this.#options;
    const place = (index: number) => (index === 0 ? path : `${path}.${index}`);
    await files.rm(place(maxFiles - 1), { force: true });
    for (let index = maxFiles - 2; index >= 0; index--) {
      await files.rename(place(index), place(index + 1)).catch((error: unknown) => {
        if (!isMissing(error)) throw error;
      });
    }
    this.#size = 0;
  }
}

async function sizeOf(files: typeof FileSystem, path: string): Promise<number> {
  try {
    return (await files.stat(path)).size;
  } catch (error) {
    if (isMissing(error)) return 0;
    throw error;
  }
}

const isMissing = (error: unknown) => error instanceof Error && "code" in error && error.code === "ENOENT";
