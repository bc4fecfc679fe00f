import type { Socket } from "node:net";

const DIGIT_1 = 0x31;
const CONTINUE = "HTTP/1.1 100";
const MAX_INTERIM_BYTES = 16 * 1024;

/**
 * Takes `100 Continue` replies out of what a connection receives. A client must skip them also where it did not ask
 * (RFC 9110 §15.2); undici breaks the connection instead (`Parser.onHeadersComplete` in lib/dispatcher/client-h1.js).
 * All other 1xx replies it skips itself.
 */
export class InterimResponses {
  #isAwaited = false;
  #held: Buffer | undefined;

  /** @param socket - Whoever reads from it from now on does not see the replies. */
  constructor(socket: Socket) {
    const read = socket.read.bind(socket);
    // `read` of a socket without encoding gives buffers.
    socket.read = (size?: number): Buffer | null => {
      const bytes: Buffer | null = read(size);
      return bytes === null || !this.#isAwaited ? bytes : this.#rest(bytes);
    };
  }

  /** A request is being written: the next bytes start its answer. */
  expect(): void {
    this.#isAwaited = true;
    this.#held = undefined;
  }

  /** @returns what is left of the bytes; `null`: nothing yet. */
  #rest(received: Buffer): Buffer | null {
    let bytes = this.#held === undefined ? received : Buffer.concat([this.#held, received]);
    this.#held = undefined;
    for (;;) {
      const isContinue = startsWithContinue(bytes);
      if (isContinue === false) break;
      const end = isContinue ? bytes.indexOf("\r\n\r\n") : -1;
      if (end === -1) {
        // Without an end in sight it is garbage, which the parser refuses.
        if (bytes.length > MAX_INTERIM_BYTES) break;
        this.#held = bytes;
        return null;
      }
      bytes = bytes.subarray(end + 4);
      if (bytes.length === 0) return null;
    }
    this.#isAwaited = false;
    return bytes;
  }
}

/** @returns `undefined`: too short to tell. */
function startsWithContinue(bytes: Buffer): boolean | undefined {
  // One byte tells the usual answer apart.
  if (bytes.length > 9 && bytes[9] !== DIGIT_1) return false;
  const start = bytes.toString("latin1", 0, CONTINUE.length).replace("HTTP/1.0", "HTTP/1.1");
  if (start === CONTINUE) return true;
  return CONTINUE.startsWith(start) ? undefined : false;
}
