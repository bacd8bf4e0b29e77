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
 * Show and tell; a press on it does what it offers, if anything.
 * @param {string} text
 * @param {() => void} [offer]
 */
export function toast(text, offer) {
	put(text, "toast", offer);
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
 * @param {() => void} [offer]
 */
function put(text, kind, offer) {
	const line = document.createElement("p");
	line.className = kind;
	if (offer) {
		const button = document.createElement("button");
		button.type = "button";
		button.textContent = text;
		button.addEventListener("click", () => {
			line.remove();
			offer();
		});
		line.append(button);
	} else line.textContent = text;
	const region = place();
	while (region.childElementCount > 2) region.firstElementChild?.remove();
	region.append(line);
	setTimeout(() => line.remove(), SHOWN_MS + 30 * text.length);
}

words(document.body);
