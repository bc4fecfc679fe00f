import type { DroppedFields } from "../../providers/shared/encoded-body.js";
import { isJsonObject } from "../../providers/shared/json-object.js";
import { fieldOfSetting } from "./parameters.js";

/**
 * The settings that a model says it left out, as fields of the request. Other warnings are for whoever chose the model.
 *
 * @param warnings - Version 2: `{ type: "unsupported-setting", setting }`. Later versions: `{ type: "unsupported", feature }`.
 */
export function reportWarnings(warnings: unknown, report: DroppedFields): void {
  if (!Array.isArray(warnings)) return;
  for (const warning of warnings) {
    if (!isJsonObject(warning)) continue;
    const { type } = warning;
    const setting = type === "unsupported-tool" ? "tools" : (warning.setting ?? warning.feature);
    const field = String(type).startsWith("unsupported") ? fieldOfSetting.get(String(setting)) : undefined;
    if (field !== undefined) report.add(field);
  }
}
