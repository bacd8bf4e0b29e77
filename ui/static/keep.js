// @ts-check
// What this browser keeps, or this tab alone. Where it may keep nothing (private windows, blocked storage) the page works
// without.

/** @typedef {"localStorage" | "sessionStorage"} Place of this browser, or of this tab */

/**
 * What the browser would not keep: kept for as long as the page is open.
 * @type {Map<string, unknown>}
 */
const held = new Map();

/**
 * @param {string} name
 * @param {unknown} otherwise
 * @param {Place} [place]
 */
export function kept(name, otherwise, place = "localStorage") {
	if (held.has(name)) return held.get(name);
	try {
		return JSON.parse(window[place].getItem(name) ?? "null") ?? otherwise;
	} catch {
		return otherwise;
	}
}

/**
 * @param {string} name
 * @param {unknown} value
 * @param {Place} [place]
 */
export function keep(name, value, place = "localStorage") {
	try {
		window[place].setItem(name, JSON.stringify(value));
		held.delete(name);
	} catch {
		held.set(name, value);
	}
}
