// @ts-check
// What this browser keeps. Where it may keep nothing (private windows, blocked storage) the page works without.

/**
 * @param {string} name
 * @param {unknown} otherwise
 */
export function kept(name, otherwise) {
	try {
		return JSON.parse(localStorage.getItem(name) ?? "null") ?? otherwise;
	} catch {
		return otherwise;
	}
}

/**
 * @param {string} name
 * @param {unknown} value
 */
export function keep(name, value) {
	try {
		localStorage.setItem(name, JSON.stringify(value));
	} catch {
		// Kept for as long as the page is open, then.
	}
}
