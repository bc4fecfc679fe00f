/**
 * The packages of AWS that this dialect uses. They are optional peers of this library: loaded with the first request
 * that needs one, and never by importing the library.
 */
import type { EventStreamCodec } from "@smithy/eventstream-codec";
import type { SignatureV4 } from "@smithy/signature-v4";
import { UpstreamError } from "../../errors/upstream-error.js";
import { decodePiece } from "../../transport/bytes.js";

let signer: Promise<typeof SignatureV4> | undefined;
let codecLoading: Promise<void> | undefined;
let codec: EventStreamCodec | undefined;

/** What signs requests. @throws {UpstreamError} class `permission`: the package is not installed. */
export function loadSigner(): Promise<typeof SignatureV4> {
  signer ??= import("@smithy/signature-v4").then(
    (module) => module.SignatureV4,
    () => {
      signer = undefined;
      throw notInstalled("@smithy/signature-v4", "signs requests to AWS");
    },
  );
  return signer;
}

/**
 * Makes {@link eventStreamCodec} ready.
 * @returns `undefined` where it is.
 * @throws {UpstreamError} class `permission`: the package is not installed.
 */
export function loadEventStreamCodec(): Promise<void> | undefined {
  if (codec) return undefined;
  codecLoading ??= import("@smithy/eventstream-codec").then(
    (module) => {
      const utf8 = new TextEncoder();
      codec = new module.EventStreamCodec(toText, (text) => utf8.encode(text));
    },
    () => {
      codecLoading = undefined;
      throw notInstalled("@smithy/eventstream-codec", "reads the streams of AWS");
    },
  );
  return codecLoading;
}

/** What reads the frames of a stream; ready once a streaming request was authorized. */
export function eventStreamCodec(): EventStreamCodec {
  if (!codec) throw new Error("the codec is loaded when a streaming request is authorized");
  return codec;
}

function toText(bytes: Uint8Array | string): string {
  return typeof bytes === "string" ? bytes : decodePiece(bytes);
}

/** Nothing of the error itself: it names paths of the machine. */
function notInstalled(name: string, what: string): UpstreamError {
  return new UpstreamError(`the package ${name}, which ${what}, is missing: npm install ${name}`, {
    errorClass: "permission",
  });
}
