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
 * The functions with the most self time of the profiles in `folder`, one line each, and what they make together by
 * origin.
 *
 * @param cpuUs - CPU time per operation, which the shares are parts of.
 * @param limit - How many.
 */
export function profileText(folder: string, cpuUs: number, limit = 40): string {
  const selfUs = new Map<string, number>();
  const originUs = new Map<string, number>();
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
      const origin = originOf(place);
      originUs.set(origin, (originUs.get(origin) ?? 0) + us);
    });
  }
  const lines = (parts: Map<string, number>) =>
    [...parts]
      .sort(([, a], [, b]) => b - a)
      .slice(0, limit)
      .map(([name, us]) => {
        const share = us / totalUs;
        return `${(share * 100).toFixed(1).padStart(5)} % ${(share * cpuUs).toFixed(2).padStart(8)} µs  ${name}`;
      });
  return [...lines(originUs), "", ...lines(selfUs)].join("\n");
}

/** Whose code it is: the first folders of the library's own, a package, Node, or the engine. */
function originOf(place: string): string {
  const path = place.split(" ").at(-1) ?? "";
  const own = /^src\/\w+\/(\w+(?=\/))?/.exec(path);
  if (own && !path.startsWith("src/parse.ts")) return own[0];
  if (path.startsWith("bench/")) return "bench";
  if (path.startsWith("node:")) return "Node";
  const name = /^[@\w-]+(?=\/)/.exec(path)?.[0];
  if (name) return name;
  return place.startsWith("(garbage") ? "garbage collector" : "engine and system calls";
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
