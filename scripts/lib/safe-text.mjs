// @ts-check
// Texts that strangers wrote, made safe to print at a terminal, and how many columns a text fills there.
//
// It hides nothing and forbids nothing: what a terminal would obey, or not show, becomes visible as an
// escape. It does not look for letters of different scripts that look alike.

// Control characters, which move the cursor or worse; direction and format characters, which show a text in
// another order than it has; and whatever is not shown at all, so that two texts may look the same.
const UNSAFE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu;

// What the East Asian Width property calls wide, by block. JavaScript does not know that property, and
// terminals disagree on the rest of it anyway.
const WIDE =
  /[\u{1100}-\u{115f}\u{2e80}-\u{303e}\u{3041}-\u{a4cf}\u{a960}-\u{a97c}\u{ac00}-\u{d7a3}\u{f900}-\u{faff}\u{fe30}-\u{fe6f}\u{ff01}-\u{ff60}\u{ffe0}-\u{ffe6}\u{16fe0}-\u{1b2ff}\u{20000}-\u{3fffd}\p{Emoji_Presentation}]/u;

// Marks that are drawn onto the letter before them.
const MARK = /[\p{Mn}\p{Me}]/u;

/**
 * One line without anything that a terminal would obey. Safe text stays as it is, so it may pass through
 * here again.
 *
 * @param {string} text
 */
export function safeText(text) {
  return text.replace(UNSAFE, (found) => `\\u{${found.codePointAt(0)?.toString(16)}}`);
}

/**
 * JSON that is safe as well, and that every parser reads as the same value.
 *
 * @param {unknown} value
 */
export function safeJson(value) {
  // The only such character outside of its strings is the line break of this layout.
  return JSON.stringify(value, null, 2).replace(UNSAFE, (found) =>
    found === "\n" ? found : found.replace(/[^]/g, escapeUnit),
  );
}

/** @param {string} unit - Of UTF-16: JSON has no other escapes. */
function escapeUnit(unit) {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

/**
 * @param {string} text - Safe text.
 * @returns {number} The columns that it fills.
 */
export function columns(text) {
  let sum = 0;
  for (const character of text) sum += columnsOf(character);
  return sum;
}

/**
 * The text, or as much of its beginning as fits, with an ellipsis.
 *
 * @param {string} text - Safe text.
 * @param {number} most - Columns.
 */
export function shorten(text, most) {
  if (columns(text) <= most) return text;
  let kept = "";
  let filled = 1;
  for (const character of text) {
    filled += columnsOf(character);
    if (filled > most) break;
    kept += character;
  }
  return `${kept}…`;
}

/** @param {string} character */
function columnsOf(character) {
  return MARK.test(character) ? 0 : WIDE.test(character) ? 2 : 1;
}
