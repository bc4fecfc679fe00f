import type { Operation } from "../protocol/operations.js";
import { foreignExtensions } from "./openai/facts/openai.js";
import type { JsonObject } from "./openai/json-object.js";
import { isNeutral, missingFeature } from "./openai/request.js";
import type { ProviderSettings } from "./provider.js";

/**
 * What a translating dialect does with one field of a request: sends it under its own name, says it in the upstream's
 * words, leaves it out and reports it, or refuses the request. Values that change nothing, such as `n: 1`, are left out
 * without a word where the field is dropped or refused.
 */
export type ParameterTreatment = "forwarded" | "translated" | "dropped" | "refused";

/** Field → treatment. Fields that are missing here are unknown: the deployment's `unknownFields` decides. */
export type ParameterTable = Readonly<Record<string, ParameterTreatment>>;

/** The tables of a dialect. */
export type DialectParameters = Readonly<Partial<Record<Operation, ParameterTable>>>;

/** The fields of a request that were left out or approximated. */
export class DroppedFields {
  fields: string[] | undefined;

  add(field: string): void {
    if (!this.fields) this.fields = [field];
    else if (!this.fields.includes(field)) this.fields.push(field);
  }
}

/** Fields of other servers: a body may serve a group of mixed deployments. */
const FOREIGN: ReadonlySet<string> = new Set(foreignExtensions);

/** Decides about the fields of one operation's requests, as its table says. */
export class ParameterRules {
  readonly #table: ReadonlyMap<string, ParameterTreatment>;

  constructor(
    table: ParameterTable,
    private readonly unknownFields: ProviderSettings["unknownFields"],
  ) {
    this.#table = new Map(Object.entries(table));
  }

  /**
   * The fields that go out as they are. What is dropped is reported; what is translated is for the dialect to do.
   * @throws {UpstreamError} class `invalid_request` with `lacksFeature`: a field is refused.
   */
  forwarded(body: JsonObject, report: DroppedFields): JsonObject {
    const wire: JsonObject = {};
    for (const field of Object.keys(body)) {
      const value = body[field];
      if (value === null || value === undefined || field === "__proto__") continue;
      switch (this.#table.get(field) ?? this.#unknown(field)) {
        case "forwarded":
          wire[field] = value;
          break;
        case "dropped":
          if (!isNeutral(field, value)) report.add(field);
          break;
        case "refused":
          if (!isNeutral(field, value)) throw missingFeature(`this deployment cannot serve \`${field}\``, field);
      }
    }
    return wire;
  }

  #unknown(field: string): ParameterTreatment {
    if (FOREIGN.has(field)) return "dropped";
    switch (this.unknownFields) {
      case "forward":
        return "forwarded";
      case "drop":
        return "dropped";
      case "reject":
        return "refused";
    }
  }
}
