// @ts-check
// Makes untrusted text safe to print at a terminal.
//
// Nothing is removed: a character that the terminal would interpret, or not show, becomes a visible escape.
// Look-alike letters of different scripts are not detected.

// Control characters, which move the cursor or worse; direction and format characters, which change the order in
// which a text is shown; and invisible characters, which make different texts look the same.
const UNSAFE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu;

/**
 * One line without characters that a terminal would interpret. Safe text is returned unchanged.
 *
 * @param {string} text
 */
export function safeText(text) {
  return text.replace(UNSAFE, (found) => `\\u{${found.codePointAt(0)?.toString(16)}}`);
}

/**
 * Safe JSON, which every parser reads as the same value.
 *
 * @param {unknown} value
 */
export function safeJson(value) {
  // Outside of strings, line breaks are the only such characters.
  return JSON.stringify(value, null, 2).replace(UNSAFE, (found) =>
    found === "\n" ? found : found.replace(/[^]/g, escapeUnit),
  );
}

/** @param {string} unit - A UTF-16 code unit: JSON has no other escapes. */
function escapeUnit(unit) {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
