// @ts-check
// Two pictures: one over the other with a line to draw across, or side by side.

import { newDialog, part } from "./dialog.js";
import { say } from "./toast.js";

/** @typedef {import("./pictures.js").Picture} Picture */

/** @type {Picture | undefined} */
let first;
/** @type {HTMLDialogElement | undefined} */
let dialog;

const NOW_CHOOSE = "Now choose the picture to compare it with.";

/** What is said while one chooses, with the way out; the full view has it too, for the page is inert below it. */
export const CHOOSING = `
<section class="choosing" aria-label="Choose what to compare with"><p>${NOW_CHOOSE}</p>
	<button type="button" class="act" data-do="stop-comparing" title="Stop comparing (Escape)">Stop comparing</button>
</section>`;

const HTML = `
<header><h2>Compare</h2>
	<button type="button" class="act" data-beside aria-pressed="false">Side by side</button>
	<button type="button" class="icon icon-close" data-close autofocus title="Close (Escape)" aria-label="Close"></button>
</header>
<div class="both"><figure><img alt=""><figcaption></figcaption></figure>
	<figure><img alt=""><figcaption></figcaption></figure></div>
<input type="range" min="0" max="100" value="50" aria-label="How much of the first picture to show">`;

/**
 * Take a picture for a comparison; the second one opens it. Without `isAsked` only a begun comparison takes it.
 * @param {Picture} picture
 * @param {boolean} isAsked
 * @returns {boolean} whether it was taken
 */
export function pickForCompare(picture, isAsked) {
	if (!first) {
		if (!isAsked) return false;
		first = picture;
		picture.figure.toggleAttribute("data-comparing", true);
		document.documentElement.classList.add("comparing");
		say(`${NOW_CHOOSE} Escape ends this.`);
		return true;
	}
	const one = first;
	stopComparing();
	if (one.key !== picture.key) show(one, picture);
	return true;
}

export function stopComparing() {
	first?.figure.toggleAttribute("data-comparing", false);
	if (document.activeElement?.closest(".choosing")) {
		const inView = document.activeElement.closest("dialog")?.querySelector("[data-close]"); // the page is inert below
		const next = /** @type {HTMLElement | null} */ (inView ?? first?.figure.querySelector("a.sheet") ?? null);
		next?.focus({ preventScroll: true });
	}
	document.documentElement.classList.remove("comparing");
	first = undefined;
}

/**
 * @param {Picture} one
 * @param {Picture} other
 */
function show(one, other) {
	const view = (dialog ??= place());
	const figures = view.querySelectorAll("figure");
	for (const [at, picture] of [one, other].entries()) {
		const image = /** @type {HTMLImageElement} */ (part(figures[at], "img"));
		image.src = picture.file;
		image.alt = picture.alt;
		image.width = picture.width;
		image.height = picture.height;
		const prompt = picture.figure.closest(".card")?.querySelector(".prompt")?.textContent ?? "";
		part(figures[at], "figcaption").textContent = `Seed ${picture.seed}: ${prompt}`;
	}
	view.style.setProperty("--ratio", `${one.width} / ${one.height}`);
	view.showModal();
}

function place() {
	const view = newDialog("compare", "Compare two pictures", HTML);
	const line = /** @type {HTMLInputElement} */ (part(view, "input"));
	const both = part(view, ".both");
	const draw = () => both.style.setProperty("--line", `${line.value}%`);
	line.addEventListener("input", draw);
	both.addEventListener("pointermove", (event) => {
		if (event.buttons !== 1 && event.pointerType === "mouse") return;
		const { left, width } = both.getBoundingClientRect();
		line.value = String((100 * (event.clientX - left)) / width);
		draw();
	});
	draw();
	part(view, "[data-beside]").addEventListener("click", ({ currentTarget }) => {
		const isBeside = view.classList.toggle("beside");
		/** @type {Element} */ (currentTarget).setAttribute("aria-pressed", String(isBeside));
		line.hidden = isBeside;
	});
	return view;
}

document.body.insertAdjacentHTML("beforeend", CHOOSING);
