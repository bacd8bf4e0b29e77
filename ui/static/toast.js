// @ts-check
// Short words to whoever looks, or listens. A dialog has a place for them of its own: the rest is inert while it is open.

const SHOWN_MS = 4000;

/** @returns {HTMLElement} */
function place() {
	const dialogs = document.querySelectorAll("dialog[open]");
	const host = dialogs[dialogs.length - 1] ?? document.body;
	return /** @type {HTMLElement | null} */ (host.querySelector(":scope > .toasts")) ?? words(host);
}

/**
 * Make the place for words in `host`; there before the first word, else it is not read out.
 * @param {Element} host
 */
export function words(host) {
	const region = document.createElement("div");
	region.className = "toasts";
	region.setAttribute("role", "status");
	region.setAttribute("aria-live", "polite");
	host.append(region);
	return region;
}

/**
 * Show and tell.
 * @param {string} text
 */
export function toast(text) {
	put(text, "toast");
}

/**
 * Tell those who listen; others see it anyway.
 * @param {string} text
 */
export function say(text) {
	put(text, "unseen");
}

/**
 * @param {string} text
 * @param {string} kind
 */
function put(text, kind) {
	const line = document.createElement("p");
	line.className = kind;
	line.textContent = text;
	const region = place();
	while (region.childElementCount > 2) region.firstElementChild?.remove();
	region.append(line);
	setTimeout(() => line.remove(), SHOWN_MS + 30 * text.length);
}

words(document.body);
