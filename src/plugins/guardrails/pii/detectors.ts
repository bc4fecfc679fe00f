import { LinearPattern } from "../linear-pattern.js";
import { type FormRule, isAsciiAlphanumeric, isDigit, isWord } from "../pattern-scanner.js";
import { digitsOf, passesLuhn, passesMod97 } from "./checksums.js";
import { NATIONAL_IDS, type NationalId, type NationalIdLocale } from "./national-ids.js";

/** No number begins or ends inside of another. */
const isNumberOrWord = (unit: number) => isWord(unit);
/** `1.2.3.4` is no address in `1.2.3.4.5`, and a sentence may end behind one: see `isReal`. */
const isAddressPart = (unit: number) => isWord(unit) || unit === 0x2e || unit === 0x3a;

export function phoneRules(): FormRule[] {
  const rule = (source: string, isReal: (text: string) => boolean): FormRule => ({
    category: "phone",
    pattern: new LinearPattern(source, { maxLength: 32 }),
    notAfter: (unit) => isWord(unit) || unit === 0x2b,
    notBefore: isNumberOrWord,
    isReal,
  });
  return [
    // With the country's code. E.164 has at most 15 digits.
    rule("(?:\\+|00)[1-9](?:[ ./()-]{0,2}\\d){6,14}", (text) => countsDigits(text.replace(/^00/, "+"), 8, 15)),
    // North America.
    rule("(?:1[ .-]?)?(?:\\([2-9]\\d{2}\\) ?|[2-9]\\d{2}[ .-])[2-9]\\d{2}[ .-]\\d{4}", () => true),
    // With a trunk zero, as most of Europe writes: one kind of separator, so that dates with times are none.
    rule(
      "0[1-9](?: ?\\d){7,10}|0[1-9](?:-?\\d){7,10}|0[1-9]\\d{0,4}/\\d(?: ?\\d){3,8}|\\(0[1-9]\\d{0,4}\\) ?\\d(?: ?\\d){3,8}",
      (text) => countsDigits(text, 9, 12),
    ),
  ];
}

export function cardRules(): FormRule[] {
  return [
    {
      category: "card",
      pattern: new LinearPattern("[2-6]\\d{3}(?:[ -]?\\d){8,15}", { maxLength: 40 }),
      notAfter: isDigit,
      notBefore: isDigit,
      isReal(text) {
        const digits = digitsOf(text);
        return digits.length >= 13 && digits.length <= 19 && new Set(digits).size > 1 && passesLuhn(digits);
      },
    },
  ];
}

/** Lengths of account numbers by country. @see https://www.swift.com/standards/data-standards/iban-international-bank-account-number */
const IBAN_LENGTHS: ReadonlyMap<string, number> = new Map(
  (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 " +
    "ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 " +
    "LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 " +
    "PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30"
  )
    .split(" ")
    .map((entry) => [entry.slice(0, 2), Number(entry.slice(2))]),
);

export function ibanRules(): FormRule[] {
  return [
    {
      category: "iban",
      pattern: new LinearPattern("[A-Z]{2}\\d{2}(?:[ -]?[A-Z0-9]){11,29}", { maxLength: 64, ignoreCase: true }),
      notAfter: isAsciiAlphanumeric,
      notBefore: isAsciiAlphanumeric,
      isReal(text) {
        const iban = text.replace(/[ -]/g, "").toUpperCase();
        return IBAN_LENGTHS.get(iban.slice(0, 2)) === iban.length && passesMod97(iban);
      },
    },
  ];
}

const OCTET = "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)";

export function ipRules(): FormRule[] {
  return [
    {
      category: "ip",
      pattern: new LinearPattern(`(?:${OCTET}\\.){3}${OCTET}`, { maxLength: 15 }),
      notAfter: isAddressPart,
      notBefore: isWord,
    },
    {
      category: "ip",
      pattern: new LinearPattern("[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:]+(?::\\d{1,3}(?:\\.\\d{1,3}){3})?", { maxLength: 45 }),
      notAfter: isAddressPart,
      notBefore: isWord,
      isReal: isIpv6,
    },
  ];
}

/** @see https://datatracker.ietf.org/doc/html/rfc4291#section-2.2 */
function isIpv6(text: string): boolean {
  if (!/\d/.test(text)) return false;
  const halves = text.split("::");
  if (halves.length > 2) return false;
  const groups = halves.flatMap((half) => (half === "" ? [] : half.split(":")));
  let count = groups.length;
  for (const [place, group] of groups.entries()) {
    if (group.includes(".")) {
      if (place !== groups.length - 1 || group.split(".").some((octet) => Number(octet) > 255)) return false;
      count++;
    } else if (!/^[0-9A-Fa-f]{1,4}$/.test(group)) return false;
  }
  return halves.length === 2 ? count < 8 : count === 8;
}

export function nationalIdRules(locales: readonly NationalIdLocale[]): FormRule[] {
  return locales.flatMap((locale) => {
    const ids: readonly NationalId[] = NATIONAL_IDS[locale];
    return ids.map(
      ({ pattern, ignoreCase, isReal }): FormRule => ({
        category: "national-id",
        pattern: new LinearPattern(pattern, { maxLength: 32, ignoreCase }),
        notAfter: isWord,
        notBefore: isWord,
        isReal,
      }),
    );
  });
}

function countsDigits(text: string, min: number, max: number): boolean {
  const { length } = digitsOf(text);
  return length >= min && length <= max;
}
