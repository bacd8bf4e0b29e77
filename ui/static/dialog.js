// @ts-check
import { words } from "./toast.js";

/**
 * Place a dialog; a press beside it closes it, as Escape does.
 * @param {string} name its class
 * @param {string} label
 * @param {string} html ours alone: never what people wrote
 */
export function newDialog(name, label, html) {
	const dialog = document.createElement("dialog");
	dialog.className = `darkroom ${name}`;
	dialog.setAttribute("aria-label", label);
	dialog.innerHTML = html;
	dialog.addEventListener("click", (event) => {
		const target = /** @type {Element} */ (event.target);
		if (target === dialog || target.closest("[data-close]")) dialog.close();
	});
	words(dialog);
	document.body.append(dialog);
	return dialog;
}

/**
 * @template {Element} [T=HTMLElement]
 * @param {ParentNode} within
 * @param {string} selector
 * @returns {T}
 */
export function part(within, selector) {
	return /** @type {T} */ (/** @type {unknown} */ (within.querySelector(selector)));
}
