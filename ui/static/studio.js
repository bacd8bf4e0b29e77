// @ts-check
// What the page does in the browser alone, and what it hands on to Python. Gradio loads this once (page_head.html).
//
// `window.darkroom`: `connect(element, trigger)` says where presses that Python answers go, `apply(told)` brings the
// feed up to date, `showing()` says what the page shows and is wanted, `restore(settings)` hands settings on as the event
// `darkroom:restore`, `left()` says what the form said when the page last went away, `sent()` is said when Generate was
// answered.

import { pickForCompare, stopComparing } from "./compare.js";
import { confirmed } from "./confirm.js";
import { copy } from "./copy.js";
import { left, watchDraft } from "./draft.js";
import { watchDrops, chooseFile } from "./drop.js";
import { watchFavourites, toggleFavourite, showOnlyFavourites } from "./favourites.js";
import { apply, lastShown } from "./feed.js";
import { watchLine } from "./line.js";
import { watchNumbers } from "./numbers.js";
import { pictureOf, linkTo } from "./pictures.js";
import { search } from "./search.js";
import { sent, watchGenerate } from "./sent.js";
import { watchTheme, switchTheme } from "./theme.js";
import { openSignIn, closeSignIn, watchSignIn } from "./sign_in.js";
import { open, watchLinks } from "./view.js";
import { showing, wish, wishes } from "./wishes.js";

/** @typedef {(event: string, detail: object) => void} Trigger */

/** @type {Trigger | undefined} */
let trigger;

/** @type {ReturnType<typeof setTimeout> | undefined} */
let typing;

/**
 * What a press on `data-do` does. Any other word goes to Python.
 * @type {Record<string, (button: HTMLElement) => unknown>}
 */
const HERE = {
	open: (button) => withPicture(button, (picture) => pickForCompare(picture, false) || open(picture)),
	compare: (button) => withPicture(button, (picture) => pickForCompare(picture, true)),
	favourite: (button) => withPicture(button, toggleFavourite),
	"copy-seed": (button) => withPicture(button, (picture) => copy(picture.seed, `Seed ${picture.seed} copied.`)),
	"copy-link": (button) => withPicture(button, (picture) => copy(linkTo(picture), "Link copied.")),
	"only-favourites": () => choose({ favourites: showOnlyFavourites(!wishes().favourites), ...FROM_THE_TOP }),
	more: () => choose({ pages: wishes().pages + 1 }),
	"sign-in": openSignIn,
	close: closeSignIn,
	theme: switchTheme,
	"choose-settings": chooseFile,
	"stop-comparing": stopComparing,
};

/**
 * @param {HTMLElement} button
 * @param {(picture: import("./pictures.js").Picture) => unknown} verb
 */
function withPicture(button, verb) {
	const picture = pictureOf(button);
	if (picture) verb(picture);
}

/** Have Python look at once, for the wishes have changed. */
function look() {
	trigger?.("input", {});
}

/** Whoever searches or filters begins with the latest, and has left the job of a link. */
const FROM_THE_TOP = { pages: 1, linked: null };

/**
 * Have Python look at once for what is wanted now.
 * @param {Partial<import("./wishes.js").Wishes>} change
 */
function choose(change) {
	wish(change);
	look();
}

/** Have the feed's tools say what is wanted: it may have been said before the page was loaded again. */
function showWishes() {
	const { search: text, favourites } = wishes();
	const field = /** @type {HTMLInputElement | null} */ (document.querySelector("input[data-do=search]"));
	if (field) field.value ||= text;
	wish({ favourites: showOnlyFavourites(favourites !== null) }); // other tabs may have marked some meanwhile
}

/** @param {HTMLElement} button */
async function askPython(button) {
	const { do: verb, job, index } = button.dataset;
	if (!verb || !job) return;
	if (verb === "delete" && !(await confirmed(job))) return;
	trigger?.("select", { do: verb, job, ...(index === undefined ? {} : { index: Number(index) }) });
}

document.addEventListener("click", (event) => {
	const target = /** @type {Element} */ (event.target);
	closeMenus(target);
	const button = /** @type {HTMLElement | null} */ (target.closest("[data-do]"));
	const verb = button?.dataset.do;
	if (!button || !verb || verb === "download" || verb === "search") return;
	if (button instanceof HTMLAnchorElement) {
		if (event.ctrlKey || event.metaKey || event.shiftKey) return; // a tab of its own, as for any link
		event.preventDefault();
	}
	if (verb in HERE) HERE[verb](button);
	// The second press of a double click may meet what the first one has put in the button's place.
	else if (event.detail <= 1) void askPython(button);
});

document.addEventListener("input", (event) => {
	const target = /** @type {HTMLElement} */ (event.target);
	if (!(target instanceof HTMLInputElement) || target.dataset.do !== "search") return;
	wish({ search: target.value, ...FROM_THE_TOP });
	search();
	clearTimeout(typing);
	typing = setTimeout(look, 300); // older ones are found there
});

document.addEventListener("keydown", (event) => {
	if (event.key === "Escape" && !document.querySelector("dialog[open]")) {
		const menu = /** @type {HTMLDetailsElement | null} */ (document.querySelector("details.menu[open]"));
		if (menu) {
			menu.open = false;
			menu.querySelector("summary")?.focus();
		} else stopComparing();
	}
	if (event.key !== "Enter" || event.repeat || !(event.ctrlKey || event.metaKey)) return;
	if (document.querySelector("dialog[open]")) return; // which asks for something else
	const button = /** @type {HTMLButtonElement | null} */ (document.querySelector("#generate"));
	if (button && !button.disabled) {
		event.preventDefault();
		button.click();
	}
});

/**
 * Close every open menu but the one that was pressed in; a press on what it offers closes it too.
 * @param {Element} target
 */
function closeMenus(target) {
	for (const menu of /** @type {NodeListOf<HTMLDetailsElement>} */ (document.querySelectorAll("details.menu[open]"))) {
		if (!menu.contains(target) || target.closest("[data-do]")) menu.open = false;
	}
}

// Who wakes up, or is back on the line, needn't wait for a look that was lost in sleep.
window.addEventListener("online", look);
document.addEventListener("visibilitychange", () => {
	if (document.visibilityState === "visible") look();
});

const early = window.darkroom;
window.darkroom = {
	waiting: [],
	connect: (_element, itsTrigger) => {
		trigger = itsTrigger;
		showWishes();
		for (const [, [told]] of window.darkroom.waiting.splice(0)) window.darkroom.apply(told);
	},
	apply: (told) => {
		if (document.getElementById("feed")) apply(told);
		else window.darkroom.waiting.push(["apply", [told]]); // the feed is still to be placed
	},
	showing: () => showing(lastShown()),
	restore: (settings) => {
		window.dispatchEvent(new CustomEvent("darkroom:restore", { detail: settings }));
	},
	left,
	sent,
};
watchLine();
watchTheme();
watchDraft();
watchNumbers();
watchFavourites();
watchDrops();
watchGenerate();
watchLinks((job) => choose({ linked: job }));
watchSignIn();

for (const [name, args] of early?.waiting ?? []) window.darkroom[name](...args);
