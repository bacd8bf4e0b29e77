// @ts-check
// What the form says when the page goes away. Gradio keeps it in the browser too, but a while after each change.

import { keep, kept } from "./keep.js";

const STORE = "darkroom.left"; // page_head.html reads it

/** @type {Record<string, unknown>} as Gradio last kept it; empty while the form is not filled yet */
let form = {};

export function watchDraft() {
	window.addEventListener("darkroom:kept", (event) => {
		if (!isFilled()) keep(STORE, {}, "sessionStorage"); // it is back in the form; later ones may follow on `pagehide`
		form = /** @type {CustomEvent} */ (event).detail;
	});
	window.addEventListener("pagehide", () => {
		keep(STORE, isFilled() ? { ...form, ...shown(Object.keys(form)) } : { ...left(), ...typed() }, "sessionStorage");
	});
}

const isFilled = () => Object.keys(form).length > 0;

export function left() {
	return kept(STORE, {}, "sessionStorage");
}

/** Nothing but the prompt can be typed before the form is filled. */
function typed() {
	const { prompt } = shown(["prompt"]);
	return prompt ? { prompt } : {};
}

/**
 * Read what controls show, but those lists whose boxes show other words than their values.
 * @param {string[]} fields
 */
function shown(fields) {
	/** @type {Record<string, unknown>} */
	const said = {};
	for (const field of fields) {
		/** @type {NodeListOf<HTMLInputElement>} */
		const boxes = document.querySelectorAll(`#${field} :is(textarea, input:not([type=range], [role]))`);
		const box = [...boxes].find(({ type, checked }) => type !== "radio" || checked);
		if (!box) continue;
		if (box.type === "number") said[field] = Number.isNaN(box.valueAsNumber) ? null : box.valueAsNumber;
		else said[field] = box.type === "checkbox" ? box.checked : box.value;
	}
	return said;
}
