// @ts-check
// The boxes beside sliders. Gradio 6.31 puts a number within its bounds as one leaves the box, without a word: here it
// stays as it was typed, and the form says under it what is wrong. A box that is left empty says again what it said.

const BOX = '[data-testid="number-input"]';

/** @type {string} in the box as somebody came to it */
let before = "";

export function watchNumbers() {
	document.addEventListener("focus", come, true);
	document.addEventListener("blur", leave, true); // before Gradio hears of it
}

/** @param {FocusEvent} event */
function come({ target }) {
	if (isBox(target)) before = target.value;
}

/** @param {FocusEvent} event */
function leave(event) {
	const box = event.target;
	if (!isBox(box)) return;
	if (box.value === "") {
		box.value = before;
		box.dispatchEvent(new Event("input", { bubbles: true }));
	}
	if (box.validity.rangeOverflow || box.validity.rangeUnderflow) event.stopPropagation();
}

/**
 * @param {EventTarget | null} target
 * @returns {target is HTMLInputElement}
 */
function isBox(target) {
	return target instanceof HTMLInputElement && target.matches(BOX);
}
