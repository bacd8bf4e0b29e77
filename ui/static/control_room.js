// @ts-check
// The operators' boards: brought up to date with what Python says; presses are told to it. Beside `studio.js`, and
// loaded only by who may see them.

import { newDialog, part } from "./dialog.js";
import { patch } from "./patch.js";

/**
 * @typedef {object} Wire
 * @property {(what: object) => void} say to Python
 * @property {(property: string, then: () => void) => void} watch
 * @property {() => Record<string, string> | null} news sections as they are now, as HTML
 */

/** @type {HTMLDialogElement | undefined} */
let dialog;

/**
 * @param {Element} element
 * @param {Wire} wire
 */
export function connect(element, { say, watch, news }) {
	/** @type {Map<string, string>} */
	const shown = new Map();
	watch("value", () => apply(element, news(), shown));
	element.addEventListener("click", async (event) => {
		const button = /** @type {Element} */ (event.target).closest("button");
		if (!button || event.detail > 1) return; // a double click may meet what the first one has put there
		const { order, worker, resend, failed, minutes } = button.dataset;
		if (minutes) say({ do: "span", minutes: Number(minutes) });
		if (failed) say({ do: "failed", most: Number(failed) });
		if (resend) say({ do: "resend", job: resend });
		if (order && (order !== "drain" || (await meant(worker)))) say({ do: order, worker });
	});
	say({ do: "open" });
}

/**
 * @param {Element} element
 * @param {Record<string, string> | null} news
 * @param {Map<string, string>} shown what was put there last
 */
function apply(element, news, shown) {
	for (const [name, html] of Object.entries(news ?? {})) {
		const section = element.querySelector(`#board-${CSS.escape(name)}`);
		if (!section || shown.get(name) === html) continue;
		shown.set(name, html);
		const wanted = /** @type {Element} */ (section.cloneNode(false));
		wanted.innerHTML = html;
		const wasWithin = section.contains(document.activeElement);
		patch(section, wanted);
		// The pressed button is gone: the next one to press is the one in its place.
		if (wasWithin && !section.contains(document.activeElement)) {
			/** @type {HTMLElement | null} */ (section.querySelector("button"))?.focus({ preventScroll: true });
		}
	}
}

/**
 * Ask whether to drain: it takes work from those who wait for it.
 * @param {string | undefined} worker
 * @returns {Promise<boolean>}
 */
function meant(worker) {
	dialog ??= newDialog(
		"confirm",
		"Drain?",
		`<form method="dialog"><h2>Drain?</h2><p class="what"></p><menu>
		<button class="act" value="no" autofocus>Let it work</button><button class="act main" value="drain">Drain</button>
		</menu></form>`,
	);
	const asked = dialog;
	const who = worker ? `Worker ${worker} begins` : "All workers begin";
	part(asked, ".what").textContent =
		`${who} nothing more. What takes long goes back to the queue, uncharged, and is begun anew.`;
	asked.returnValue = "no";
	asked.showModal();
	return new Promise((resolve) => {
		asked.addEventListener("close", () => resolve(asked.returnValue === "drain"), { once: true });
	});
}
