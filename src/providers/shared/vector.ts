import { badResponse } from "../../errors/upstream-error.js";

/** An embedding as its upstream gives it. @throws {UpstreamError} bad response: it is no list of numbers. */
export function numberVector(value: unknown): readonly number[] {
  if (Array.isArray(value) && value.every((entry): entry is number => typeof entry === "number")) return value;
  throw badResponse("an embedding has no vector");
}
