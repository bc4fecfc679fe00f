/** The rates of a run as bars: one block per scenario, each scaled to its fastest variant. */
import { count, type Report } from "./report.js";

const WIDTH = 760;
const BAR_LEFT = 130;
const BAR_WIDTH = 400;
const ROW = 24;

/** The library's own bars stand out; the floor is what they are measured against. */
const COLORS: Readonly<Record<string, string>> = { switchyard: "#2563eb", floor: "#94a3b8" };
const PEER_COLOR = "#d6a34a";

export function chartOf(report: Report): string {
  const parts: string[] = [];
  let y = 20;
  const text = (x: number, content: string, attributes = "") =>
    parts.push(`<text x="${x}" y="${y}" ${attributes}>${escapeXml(content)}</text>`);

  for (const scenario of report.scenarios) {
    // What comes on a schedule has the schedule's rate.
    if (scenario.variants.some(({ latency }) => latency)) continue;
    text(10, `${scenario.title}: ${scenario.unit}/s`, 'font-weight="bold"');
    y += ROW;
    const fastest = Math.max(...scenario.variants.map(({ rate }) => rate.median));
    for (const { name, rate, ofFloor } of scenario.variants) {
      const width = Math.max(1, (rate.median / fastest) * BAR_WIDTH);
      text(10, name);
      parts.push(
        `<rect x="${BAR_LEFT}" y="${y - 13}" width="${width.toFixed(1)}" height="17" rx="2" fill="${COLORS[name] ?? PEER_COLOR}"/>`,
      );
      text(BAR_LEFT + width + 8, `${count(rate.median * scenario.perOperation)} · ${ofFloor.median.toFixed(2)} ×`);
      y += ROW;
    }
    y += ROW / 2;
  }
  const { machine, settings } = report;
  text(
    10,
    `Node ${machine.node}, ${machine.cpus} CPUs, concurrency ${settings.concurrency}, median of ${settings.rounds} rounds; × is the rate over the floor's`,
    'fill="#64748b" font-size="11"',
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y + 14}" font-family="system-ui, sans-serif" font-size="13" fill="#0f172a">`,
    "<title>Rates of each variant</title>",
    `<rect width="100%" height="100%" fill="#ffffff"/>`,
    ...parts,
    "</svg>",
    "",
  ].join("\n");
}

function escapeXml(content: string): string {
  return content.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}
