/** A sign that a text tries to take over a model. */
export interface InjectionSign {
  readonly category: "instruction-override" | "prompt-extraction" | "role-change" | "chat-markup" | "hidden-text";
  /** 1 is enough for the middle of the road; 2 leaves no doubt. */
  readonly weight: number;
}

interface WordRule extends InjectionSign {
  /** Words of which one from each list must come, in this order. */
  readonly steps: readonly ReadonlySet<string>[];
  /** How many words may stand between two of them. */
  readonly within: number;
}

const words = (text: string): ReadonlySet<string> => new Set(text.split(" "));

const OVERRIDE = words(
  "ignore disregard forget override bypass neglect skip ignoriere ignorieren vergiss vergesse missachte ignorez ignore " +
    "ignorer oublie oubliez ignora ignorar ignore olvida olvide olvidar dimentica ignora",
);
const EARLIER = words(
  "previous prior above earlier preceding all any your former initial original system safety everything vorherigen " +
    "bisherigen obigen alle vorigen précédentes précédents antérieures toutes anteriores previas todas precedenti tutte",
);
const INSTRUCTIONS = words(
  "instruction instructions prompt prompts rules rule guidelines guideline directives directive commands constraints " +
    "restrictions context messages policy policies anweisungen anweisung regeln vorgaben consignes règles instrucciones " +
    "reglas indicaciones istruzioni regole",
);
const REVEAL = words(
  "reveal show print repeat output display leak tell expose give dump recite zeige verrate wiederhole affiche révèle " +
    "répète muestra revela repite mostra rivela ripeti",
);
const OWN = words("system hidden initial secret developer original systemprompt internal");
const PROMPT = words("prompt instructions message prompts systemprompt configuration rules");

const RULES: readonly WordRule[] = [
  { category: "instruction-override", weight: 1, steps: [OVERRIDE, EARLIER, INSTRUCTIONS], within: 4 },
  { category: "prompt-extraction", weight: 1, steps: [REVEAL, OWN, PROMPT], within: 4 },
  {
    category: "instruction-override",
    weight: 0.5,
    steps: [
      words("new updated real actual neue nouvelles nuevas"),
      words("instructions instruction task anweisungen consignes instrucciones"),
    ],
    within: 1,
  },
  {
    category: "instruction-override",
    weight: 0.5,
    steps: [words("do don't dont never must"), words("follow obey comply"), INSTRUCTIONS],
    within: 4,
  },
  { category: "role-change", weight: 0.5, steps: [words("you"), words("are"), words("now")], within: 0 },
  {
    category: "role-change",
    weight: 0.5,
    steps: [
      words("pretend act behave roleplay"),
      words("as to like"),
      words("unrestricted uncensored unfiltered jailbroken evil admin administrator developer root"),
    ],
    within: 4,
  },
  {
    category: "role-change",
    weight: 1,
    steps: [words("developer dan god debug sudo admin jailbreak"), words("mode"), words("enabled activated on active")],
    within: 2,
  },
  { category: "role-change", weight: 1, steps: [words("do"), words("anything"), words("now")], within: 0 },
  {
    category: "role-change",
    weight: 1,
    steps: [words("without no"), words("any"), words("restrictions filters limitations guidelines censorship")],
    within: 1,
  },
];

/** Markup by which chat templates tell who speaks: no user has a reason to write it. */
const MARKUP = [
  "<|im_start|>",
  "<|im_end|>",
  "<|endoftext|>",
  "<|system|>",
  "<|start_header_id|>",
  "<|eot_id|>",
  "<<sys>>",
  "[/inst]",
  "<start_of_turn>",
  "</system>",
  "[system](",
];
/** Characters that say ASCII text invisibly. @see https://www.unicode.org/charts/PDF/UE0000.pdf */
const TAGS = /[\u{e0020}-\u{e007e}]{4}/u;

/** All signs in a text, each rule once. Takes time linear in its length. */
export function findInjections(text: string): InjectionSign[] {
  const signs: InjectionSign[] = [];
  const plain = text
    .normalize("NFKC")
    .replace(/[\u00ad\u200b-\u200f\u2060\ufeff]/g, "")
    .toLowerCase();
  if (TAGS.test(text)) signs.push({ category: "hidden-text", weight: 2 });
  if (MARKUP.some((mark) => plain.includes(mark))) signs.push({ category: "chat-markup", weight: 1 });
  const found = plain.match(/[\p{L}\p{N}_'’]+/gu) ?? [];
  for (const { category, weight, steps, within } of RULES) {
    if (follows(found, steps, within)) signs.push({ category, weight });
  }
  return signs;
}

/** Whether words of each step follow each other closely enough. */
function follows(found: readonly string[], steps: readonly ReadonlySet<string>[], within: number): boolean {
  /** Per step: behind which word it was last reached. */
  const reachedAt = new Array<number>(steps.length).fill(Number.NEGATIVE_INFINITY);
  for (const [place, word] of found.entries()) {
    // From the last step on, so that one word takes no two of them.
    for (let step = steps.length - 1; step >= 0; step--) {
      if (!steps[step]?.has(word)) continue;
      if (step > 0 && place - (reachedAt[step - 1] ?? 0) > within + 1) continue;
      if (step === steps.length - 1) return true;
      reachedAt[step] = place;
    }
  }
  return false;
}
