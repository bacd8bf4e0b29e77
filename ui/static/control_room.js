// @ts-check
// The operators' boards: brought up to date with what Python says; presses are told to it. Beside `studio.js`, and
// loaded only by who may see them.

import { newDialog, part } from "./dialog.js";
import { patch } from "./patch.js";

/**
 * @typedef {object} Wire
 * @property {(what: object) => void} say to Python
 * @property {(property: string, then: () => void) => void} watch
 * @property {() => Record<string, string> | null} news sections that have changed, as HTML
 */

/** @type {HTMLDialogElement | undefined} */
let dialog;

/**
 * @param {Element} element
 * @param {Wire} wire
 */
export function connect(element, { say, watch, news }) {
	watch("value", () => apply(element, news()));
	element.addEventListener("click", async (event) => {
		const button = /** @type {Element} */ (event.target).closest("button");
		if (!button) return;
		const { order, worker, resend, minutes } = button.dataset;
		if (minutes) say({ do: "span", minutes: Number(minutes) });
		if (resend) say({ do: "resend", job: resend });
		if (order && (order !== "drain" || (await meant(worker)))) say({ do: order, worker });
	});
	say({ do: "open" });
}

/**
 * @param {Element} element
 * @param {Record<string, string> | null} news
 */
function apply(element, news) {
	for (const [name, html] of Object.entries(news ?? {})) {
		const section = element.querySelector(`#board-${CSS.escape(name)}`);
		if (!section) continue;
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
