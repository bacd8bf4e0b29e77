// @ts-check
// What the page does in the browser alone, and what it hands on to Python. Gradio loads this once (page_head.html).
//
// `window.darkroom`: `connect(element, trigger)` says where presses that Python answers go, `apply(news)` brings the
// feed up to date, `restore(settings)` hands settings on as the event `darkroom:restore`, `left()` says what the form said
// when the page last went away.

import { pickForCompare, stopComparing } from "./compare.js";
import { confirmed } from "./confirm.js";
import { copy } from "./copy.js";
import { left, watchDraft } from "./draft.js";
import { watchDrops, chooseFile } from "./drop.js";
import { watchFavourites, toggleFavourite, showOnlyFavourites } from "./favourites.js";
import { apply, isNext, isOld, search } from "./feed.js";
import { watchNumbers } from "./numbers.js";
import { pictureOf, linkTo } from "./pictures.js";
import { watchTheme, switchTheme } from "./theme.js";
import { openSignIn, closeSignIn, watchSignIn } from "./sign_in.js";
import { open, watchLinks } from "./view.js";

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
	"only-favourites": (button) => tell({ do: "favourites", favourites: showOnlyFavourites(button) }),
	more: () => tell({ do: "more" }),
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

/**
 * Tell Python what was pressed, or what is to be shown.
 * @param {object} what
 */
function tell(what) {
	trigger?.("select", what);
}

/** @param {HTMLElement} button */
async function askPython(button) {
	const { do: verb, job, index } = button.dataset;
	if (!verb || !job) return;
	if (verb === "delete" && !(await confirmed(job))) return;
	tell({ do: verb, job, ...(index === undefined ? {} : { index: Number(index) }) });
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
	else void askPython(button);
});

document.addEventListener("input", (event) => {
	const target = /** @type {HTMLElement} */ (event.target);
	if (!(target instanceof HTMLInputElement) || target.dataset.do !== "search") return;
	search(target.value);
	clearTimeout(typing);
	typing = setTimeout(() => tell({ do: "search", text: target.value }), 300); // older ones are found there
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

const early = window.darkroom;
window.darkroom = {
	waiting: [],
	connect: (_element, itsTrigger) => {
		trigger = itsTrigger;
		for (const [, [news]] of window.darkroom.waiting.splice(0)) window.darkroom.apply(news);
	},
	apply: (news) => {
		if (!document.getElementById("feed")) window.darkroom.waiting.push(["apply", [news]]); // the feed is still to be placed
		else if (isNext(news)) apply(news);
		else if (!isOld(news)) tell({ do: "resend" }); // something got lost on the way
	},
	restore: (settings) => {
		window.dispatchEvent(new CustomEvent("darkroom:restore", { detail: settings }));
	},
	left,
};
watchTheme();
watchDraft();
watchNumbers();
watchFavourites();
watchDrops();
watchLinks((job) => tell({ do: "link", job }));
watchSignIn();

for (const [name, args] of early?.waiting ?? []) window.darkroom[name](...args);
