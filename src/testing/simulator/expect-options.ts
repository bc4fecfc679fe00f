import { InvalidOptionsError } from "../../errors/router-error.js";

/** What a number may be, ends included; `isInteger`: whole ones only. */
export interface NumberBounds {
  readonly least: number;
  readonly most: number;
  readonly isInteger?: boolean | undefined;
}

/** From just above nothing to more than anybody simulates: for durations, rates and factors that must not be 0. */
export const ABOVE_ZERO: NumberBounds = { least: 1e-6, most: 1e9 };
export const FROM_ZERO: NumberBounds = { least: 0, most: 1e9 };
export const SHARE: NumberBounds = { least: 0, most: 1 };
export const COUNT: NumberBounds = { least: 1, most: 1e9, isInteger: true };

/**
 * Refuses what a model or a workload cannot be: one wrong number would give a simulation that never ends, or nonsense.
 *
 * @param of - The function whose options they are, for the message.
 * @param numbers - Options that are numbers, each of which may be left out.
 * @param others - The names of all other options.
 * @throws {InvalidOptionsError} with everything that is wrong.
 */
export function expectOptions<Options extends object>(
  of: string,
  options: Options,
  numbers: Readonly<Partial<Record<keyof Options & string, NumberBounds>>>,
  others: readonly (keyof Options & string)[] = [],
): void {
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    throw new InvalidOptionsError([{ path: of, message: "expected an object" }]);
  }
  const issues: { path: string; message: string }[] = [];
  const known = [...Object.keys(numbers), ...others];
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined) continue;
    const path = `${of}.${name}`;
    // Own names alone: `constructor` is no option.
    const bounds = Object.hasOwn(numbers, name) ? numbers[name as keyof Options & string] : undefined;
    if (bounds) {
      if (!isWithin(value, bounds))
        issues.push({
          path,
          message: `expected ${textOf(bounds)}, received ${typeof value === "string" ? JSON.stringify(value) : String(value)}`,
        });
    } else if (!(others as readonly string[]).includes(name)) {
      issues.push({ path, message: `is no option: there are ${known.join(", ")}` });
    }
  }
  if (issues.length > 0) throw new InvalidOptionsError(issues);
}

function isWithin(value: unknown, { least, most, isInteger = false }: NumberBounds): boolean {
  return typeof value === "number" && value >= least && value <= most && (!isInteger || Number.isInteger(value));
}

function textOf({ least, most, isInteger = false }: NumberBounds): string {
  return `${isInteger ? "an integer" : "a number"} from ${least} to ${most}`;
}
