/** Where a variant's own time went: a CPU profile, told in terms of the source. */
import { readdirSync, readFileSync } from "node:fs";
import { SourceMap, type SourceMapPayload } from "node:module";
import { fileURLToPath } from "node:url";

interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: {
      readonly functionName: string;
      readonly url: string;
      readonly lineNumber: number;
      readonly columnNumber: number;
    };
  }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

/**
 * The functions with the most self time of the profiles in `folder`, one line each.
 *
 * @param limit - How many.
 */
export function profileText(folder: string, limit = 40): string {
  const selfUs = new Map<string, number>();
  let totalUs = 0;
  for (const file of readdirSync(folder).filter((name) => name.endsWith(".cpuprofile"))) {
    const profile = JSON.parse(readFileSync(`${folder}/${file}`, "utf8")) as CpuProfile; // as Node writes them
    const places = new Map(profile.nodes.map(({ id, callFrame }) => [id, placeOf(callFrame)]));
    profile.samples.forEach((node, index) => {
      const place = places.get(node) ?? "?";
      const us = profile.timeDeltas[index] ?? 0;
      if (place === "(idle)") return;
      totalUs += us;
      selfUs.set(place, (selfUs.get(place) ?? 0) + us);
    });
  }
  return [...selfUs]
    .sort(([, a], [, b]) => b - a)
    .slice(0, limit)
    .map(([place, us]) => `${((us / totalUs) * 100).toFixed(1).padStart(5)} %  ${place}`)
    .join("\n");
}

const maps = new Map<string, SourceMap | undefined>();

function placeOf({ functionName, url, lineNumber, columnNumber }: CpuProfile["nodes"][number]["callFrame"]): string {
  const name = functionName || "(anonymous)";
  if (!url) return name;
  if (!url.startsWith("file:")) return `${name} ${url}:${lineNumber + 1}`;
  if (!maps.has(url)) maps.set(url, sourceMapOf(fileURLToPath(url)));
  const entry = maps.get(url)?.findEntry(lineNumber, columnNumber);
  if (entry && "originalSource" in entry) {
    return `${name} ${entry.originalSource.replace(/^(\.\.\/)+/, "")}:${entry.originalLine + 1}`;
  }
  return `${name} ${url.replace(/^.*\/node_modules\//, "")}:${lineNumber + 1}`;
}

function sourceMapOf(file: string): SourceMap | undefined {
  try {
    return new SourceMap(JSON.parse(readFileSync(`${file}.map`, "utf8")) as SourceMapPayload); // the bundler's own
  } catch {
    return undefined; // dependencies have none
  }
}
