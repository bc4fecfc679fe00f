import { digitsOf, isDayAndMonth, passesLuhn, passesMod11By10, passesVerhoeff, weightedSum } from "./checksums.js";

/** A number by which a country knows a person. */
export interface NationalId {
  readonly name: string;
  /** Of its written forms. */
  readonly pattern: string;
  readonly ignoreCase?: boolean | undefined;
  readonly isReal: (text: string) => boolean;
}

const isCheckDigit = (digits: readonly number[], expected: number) => digits.at(-1) === expected;
const compact = (text: string) => text.replace(/[^0-9A-Za-z]/g, "").toUpperCase();
const numberIn = (text: string, from: number, to: number) => Number(text.slice(from, to));

/**
 * By ISO 3166 code of the country. Where a number has a checksum, it is verified; where it is nothing but digits, it is
 * found without separators, too, so that the rate of chance hits is that of its checksum.
 */
export const NATIONAL_IDS = {
  at: [{ name: "Sozialversicherungsnummer", pattern: "\\d{4}[ /-]?\\d{6}", isReal: isAustrian }],
  au: [{ name: "TFN", pattern: "\\d{3}[ -]?\\d{3}[ -]?\\d{3}", isReal: isAustralian }],
  be: [
    { name: "rijksregisternummer", pattern: "\\d{2}[. ]?\\d{2}[. ]?\\d{2}[- ]?\\d{3}[. ]?\\d{2}", isReal: isBelgian },
  ],
  br: [{ name: "CPF", pattern: "\\d{3}\\.?\\d{3}\\.?\\d{3}-?\\d{2}", isReal: isBrazilian }],
  ca: [{ name: "SIN", pattern: "\\d{3}[ -]?\\d{3}[ -]?\\d{3}", isReal: isCanadian }],
  ch: [{ name: "AHV number", pattern: "756[. ]?\\d{4}[. ]?\\d{4}[. ]?\\d{2}", isReal: isSwiss }],
  cn: [{ name: "resident identity number", pattern: "\\d{17}[\\dXx]", isReal: isChinese }],
  de: [{ name: "Steuer-ID", pattern: "[1-9]\\d ?\\d{3} ?\\d{3} ?\\d{3}", isReal: isGerman }],
  dk: [{ name: "CPR number", pattern: "\\d{6}-\\d{4}", isReal: (text) => isDate(text) }],
  es: [{ name: "DNI or NIE", pattern: "(?:[XYZ][ -]?\\d{7}|\\d{8})[ -]?[A-Z]", ignoreCase: true, isReal: isSpanish }],
  fi: [{ name: "henkilötunnus", pattern: "\\d{6}[-+A-FU-Y]\\d{3}[0-9A-Y]", ignoreCase: true, isReal: isFinnish }],
  fr: [
    {
      name: "NIR",
      pattern: "[12] ?\\d{2} ?\\d{2} ?(?:\\d{2}|2[AB]) ?\\d{3} ?\\d{3} ?\\d{2}",
      ignoreCase: true,
      isReal: isFrench,
    },
  ],
  gb: [
    {
      name: "National Insurance number",
      // Small letters only without spaces: "is 12 34 56 a" is a sentence.
      pattern: "[A-Z]{2} ?\\d{2} ?\\d{2} ?\\d{2} ?[A-D]|[a-z]{2}\\d{6}[a-d]",
      isReal: isBritish,
    },
    { name: "NHS number", pattern: "\\d{3}[ -]?\\d{3}[ -]?\\d{4}", isReal: isNhs },
  ],
  in: [
    { name: "Aadhaar", pattern: "[2-9]\\d{3}[ -]?\\d{4}[ -]?\\d{4}", isReal: (text) => passesVerhoeff(digitsOf(text)) },
  ],
  it: [
    {
      name: "codice fiscale",
      pattern: "[A-Z]{6}[0-9LMNP-V]{2}[ABCDEHLMPRST][0-9LMNP-V]{2}[A-Z][0-9LMNP-V]{3}[A-Z]",
      ignoreCase: true,
      isReal: isItalian,
    },
  ],
  nl: [{ name: "BSN", pattern: "\\d{9}|\\d{4}\\.\\d{2}\\.\\d{3}", isReal: isDutch }],
  no: [{ name: "fødselsnummer", pattern: "\\d{6} ?\\d{5}", isReal: isNorwegian }],
  pl: [{ name: "PESEL", pattern: "\\d{11}", isReal: isPolish }],
  pt: [{ name: "NIF", pattern: "\\d{3} ?\\d{3} ?\\d{3}", isReal: isPortuguese }],
  se: [{ name: "personnummer", pattern: "(?:\\d{2})?\\d{6}[-+]\\d{4}", isReal: isSwedish }],
  us: [{ name: "SSN or ITIN", pattern: "\\d{3}-\\d{2}-\\d{4}|\\d{3} \\d{2} \\d{4}", isReal: isAmerican }],
} as const satisfies Readonly<Record<string, readonly NationalId[]>>;

export type NationalIdLocale = keyof typeof NATIONAL_IDS;

/** Day, month and year in this order, two digits each. */
function isDate(text: string): boolean {
  return isDayAndMonth(numberIn(text, 0, 2), numberIn(text, 2, 4));
}

function isAmerican(text: string): boolean {
  const [area = "", group = "", serial = ""] = text.split(/[- ]/);
  if (area === "000" || area === "666" || group === "00" || serial === "0000") return false;
  // From 900 on these are tax numbers, whose groups are known.
  return area < "900" || /^(?:5\d|6[0-5]|7\d|8[0-8]|9[0-24-9])$/.test(group);
}

function isBritish(text: string): boolean {
  const number = compact(text);
  return /^(?!BG|GB|KN|NK|NT|TN|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]/.test(number);
}

function isNhs(text: string): boolean {
  const digits = digitsOf(text);
  const check = 11 - (weightedSum(digits, [10, 9, 8, 7, 6, 5, 4, 3, 2]) % 11);
  return isCheckDigit(digits, check === 11 ? 0 : check);
}

function isGerman(text: string): boolean {
  const digits = digitsOf(text);
  const counts = new Map<number, number>();
  for (const digit of digits.slice(0, 10)) counts.set(digit, (counts.get(digit) ?? 0) + 1);
  // One digit stands two or three times in the first ten, all others once at most.
  const repeated = [...counts.values()].filter((count) => count > 1);
  return repeated.length === 1 && (repeated[0] ?? 0) <= 3 && passesMod11By10(digits);
}

function isFrench(text: string): boolean {
  const number = compact(text);
  const month = numberIn(number, 3, 5);
  const isMonth = (month >= 1 && month <= 12) || (month >= 20 && month <= 42) || month >= 50;
  // Corsica has letters, which count as numbers of their own.
  const digits = number.slice(0, 13).replace("2A", "19").replace("2B", "18");
  return isMonth && 97 - Number(BigInt(digits) % 97n) === numberIn(number, 13, 15);
}

function isSpanish(text: string): boolean {
  const number = compact(text);
  const digits = number.slice(0, -1).replace(/^[XYZ]/, (letter) => String("XYZ".indexOf(letter)));
  return "TRWAGMYFPDXBNJZSQVHLCKE"[Number(digits) % 23] === number.at(-1);
}

function isDutch(text: string): boolean {
  const digits = digitsOf(text);
  return digits.some(Boolean) && weightedSum(digits, [9, 8, 7, 6, 5, 4, 3, 2, -1]) % 11 === 0;
}

const ITALIAN_ODD: Readonly<Record<string, number>> = Object.fromEntries(
  [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23].flatMap(
    (value, place) => [[String.fromCharCode(65 + place), value], ...(place < 10 ? [[String(place), value]] : [])],
  ),
);

function isItalian(text: string): boolean {
  const code = text.toUpperCase();
  let sum = 0;
  for (let place = 0; place < 15; place++) {
    const character = code[place] ?? "";
    const even = /\d/.test(character) ? Number(character) : character.charCodeAt(0) - 65;
    sum += place % 2 === 0 ? (ITALIAN_ODD[character] ?? 0) : even;
  }
  return String.fromCharCode(65 + (sum % 26)) === code[15];
}

function isPolish(text: string): boolean {
  const digits = digitsOf(text);
  const isMonth = isDayAndMonth(numberIn(text, 4, 6), numberIn(text, 2, 4) % 20);
  const sum = weightedSum(digits, [1, 3, 7, 9, 1, 3, 7, 9, 1, 3]);
  return isMonth && isCheckDigit(digits, (10 - (sum % 10)) % 10);
}

function isBelgian(text: string): boolean {
  const digits = compact(text);
  const check = numberIn(digits, 9, 11);
  const number = numberIn(digits, 0, 9);
  // Since 2000 a 2 stands before the number when the check is made.
  const isKnown = 97 - (number % 97) === check || 97 - ((2_000_000_000 + number) % 97) === check;
  // Foreigners have 20 or 40 added to their month.
  return isKnown && numberIn(digits, 2, 4) % 20 <= 12 && numberIn(digits, 4, 6) <= 31;
}

function isSwedish(text: string): boolean {
  const digits = digitsOf(text).slice(-10);
  const [, , month1 = 0, month2 = 0, day1 = 0, day2 = 0] = digits;
  // Coordination numbers have 60 added to their day.
  return isDayAndMonth((day1 * 10 + day2) % 60, month1 * 10 + month2) && passesLuhn(digits);
}

function isFinnish(text: string): boolean {
  const number = Number(text.slice(0, 6) + text.slice(7, 10));
  return isDate(text) && "0123456789ABCDEFHJKLMNPRSTUVWXY"[number % 31] === text.at(-1)?.toUpperCase();
}

function isNorwegian(text: string): boolean {
  const digits = digitsOf(text);
  const first = (11 - (weightedSum(digits, [3, 7, 6, 1, 8, 9, 4, 5, 2]) % 11)) % 11;
  const second = (11 - (weightedSum(digits, [5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11)) % 11;
  const number = digits.join("");
  // D-numbers have 40 added to their day.
  return (
    isDayAndMonth(numberIn(number, 0, 2) % 40, numberIn(number, 2, 4)) && digits[9] === first && digits[10] === second
  );
}

function isPortuguese(text: string): boolean {
  const digits = digitsOf(text);
  const rest = weightedSum(digits, [9, 8, 7, 6, 5, 4, 3, 2]) % 11;
  return /^[1-35689]/.test(text) && isCheckDigit(digits, rest < 2 ? 0 : 11 - rest);
}

function isSwiss(text: string): boolean {
  const digits = digitsOf(text);
  const sum = weightedSum(digits, [1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3]);
  return isCheckDigit(digits, (10 - (sum % 10)) % 10);
}

function isAustrian(text: string): boolean {
  const digits = digitsOf(text);
  const [a = 0, b = 0, c = 0, check, ...birth] = digits;
  const sum = weightedSum([a, b, c, ...birth], [3, 7, 9, 5, 8, 4, 2, 1, 6]);
  const born = birth.join("");
  return a > 0 && sum % 11 === check && isDayAndMonth(numberIn(born, 0, 2), numberIn(born, 2, 4));
}

function isBrazilian(text: string): boolean {
  const digits = digitsOf(text);
  if (digits.every((digit) => digit === digits[0])) return false;
  const check = (length: number) => {
    const weights = Array.from({ length }, (_, place) => length + 1 - place);
    return ((weightedSum(digits, weights) * 10) % 11) % 10;
  };
  return digits[9] === check(9) && digits[10] === check(10);
}

function isCanadian(text: string): boolean {
  return /^[1-79]/.test(text) && passesLuhn(digitsOf(text));
}

function isAustralian(text: string): boolean {
  const digits = digitsOf(text);
  return digits.some(Boolean) && weightedSum(digits, [1, 4, 3, 7, 5, 8, 6, 9, 10]) % 11 === 0;
}

function isChinese(text: string): boolean {
  const digits = digitsOf(text.slice(0, 17));
  const sum = weightedSum(digits, [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2]);
  const isBorn = /^(?:19|20)/.test(text.slice(6)) && isDayAndMonth(numberIn(text, 12, 14), numberIn(text, 10, 12));
  return isBorn && "10X98765432"[sum % 11] === text.at(-1)?.toUpperCase();
}
