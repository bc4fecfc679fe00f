/** Doubles for tests: a virtual clock, upstreams on real sockets that can be told to fail, simulated models. */

export type { Clock, Timer } from "../internal/clock.js";
export { type Random, seededRandom } from "../internal/random.js";
export type { SimulatedOptions } from "../providers/simulated/options.js";
export {
  type AnswerBehaviour,
  type BadFramingBehaviour,
  type Behaviour,
  type BodyPiece,
  badFraming,
  type CloseEarlyBehaviour,
  closeEarly,
  type DelayOptions,
  type ErrorOptions,
  error,
  type FramingFault,
  gzip,
  hugeBody,
  hugeHeaders,
  type InformationalBehaviour,
  informational,
  invalidJson,
  type RawBehaviour,
  type RawOptions,
  type ReplyOptions,
  type ResetBehaviour,
  type ResponseBehaviour,
  type ResponseOptions,
  raw,
  redirect,
  reply,
  resetAfterHeaders,
  resetBeforeHeaders,
  respond,
  type ScriptedToolCall,
  type SilenceBehaviour,
  type SlowHeadersBehaviour,
  type StreamOptions,
  type SurplusBytesBehaviour,
  silence,
  slowHeaders,
  stream,
  surplusBytes,
  wrongType,
} from "./behaviours.js";
export { type FakeUpstream, type FakeUpstreamOptions, startFakeUpstream } from "./fake-upstream.js";
export type { ReceivedRequest } from "./received-request.js";
export {
  type SimulatedConditions,
  type SimulatedUpstream,
  type SimulatedUpstreamOptions,
  startSimulatedUpstream,
} from "./simulated-upstream.js";
export { type VirtualClock, type VirtualClockOptions, virtualClock } from "./virtual-clock.js";
