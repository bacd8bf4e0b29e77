// @ts-check
// The full view: one picture as large as the window, with everything that can be done with it.

import { CHOOSING } from "./compare.js";
import { newDialog, part } from "./dialog.js";
import { isFavourite } from "./favourites.js";
import { find, linked, linkTo, shown } from "./pictures.js";
import { toast } from "./toast.js";

/** @typedef {import("./pictures.js").Picture} Picture */

const SWIPE_PX = 50;

/** @type {HTMLDialogElement | undefined} */
let dialog;
/** @type {Picture | undefined} */
let now;

const HTML = `
<div class="stage" tabindex="-1">
	<div class="easel"><img class="large" alt="" draggable="false"></div>
	<button type="button" class="turn icon-back" data-turn="-1" aria-label="The picture before"></button>
	<button type="button" class="turn icon-on" data-turn="1" aria-label="The next picture"></button>
</div>
<aside>
	<header><p class="place" aria-live="polite"></p>
		<button type="button" class="icon icon-zoom" data-zoom aria-pressed="false" title="Original size (Z)"
			aria-label="Original size"></button>
		<button type="button" class="icon icon-close" data-close autofocus title="Close (Escape)" aria-label="Close"></button>
	</header>
	${CHOOSING}
	<h2 class="prompt"></h2>
	<div class="actions">
		<a class="act main icon-download" data-do="download" download>Download</a>
		<button type="button" class="act icon-star" data-do="favourite" aria-pressed="false">Favourite</button>
		<button type="button" class="act icon-vary" data-do="vary-subtle">Vary a little</button>
		<button type="button" class="act icon-vary" data-do="vary-strong">Vary a lot</button>
		<button type="button" class="act icon-again" data-do="again">Draw again</button>
		<button type="button" class="act icon-reuse" data-do="reuse">Reuse settings</button>
		<button type="button" class="act icon-compare" data-do="compare" data-leaves>Compare</button>
		<button type="button" class="act icon-copy" data-do="copy-seed">Copy seed</button>
		<button type="button" class="act icon-link" data-do="copy-link">Copy link</button>
		<button type="button" class="act icon-delete" data-do="delete">Delete</button>
	</div>
	<dl class="parameters"></dl>
</aside>`;

/** @param {Picture} picture */
export function open(picture) {
	const view = (dialog ??= build());
	if (!view.open) {
		if (!linked(location.hash)) history.pushState({ darkroom: "view" }, "", linkTo(picture)); // "Back" closes it
		view.showModal();
	}
	show(picture);
}

/**
 * Open what the address names, now and whenever it changes; "Back" closes the view.
 * @param {(job: string) => void} seek has Python look for a job that the feed does not show; its news say `linked`
 */
export function watchLinks(seek) {
	window.addEventListener("darkroom:applied", (event) => {
		const { isFirst, linked: answered, gone } = /** @type {CustomEvent} */ (event).detail;
		if (isFirst) follow(seek);
		else if (sought && answered === sought) arrive();
		if (!dialog?.open || !now) return;
		const { job, index } = now;
		const same = find(job, index);
		if (!same) {
			// Newer jobs may only have pushed it out of the feed: then it stays, and its card is asked for.
			if (gone.includes(job) || answered === job) turnAfterLoss();
			else seek(job);
			return;
		}
		now = same;
		notePlace();
		nameDelete(dialog);
	});
	window.addEventListener("popstate", () => follow(seek));
}

/** How many pictures the feed shows before the job of this one. */
let place = 0;

function notePlace() {
	place = now ? around(now).before.filter(({ job }) => job !== now?.job).length : 0;
}

/**
 * The pictures that the feed shows before and after this one, which a filter may hide.
 * @param {Picture} picture
 */
function around({ figure }) {
	/** @param {number} side */
	const on = (side) => shown().filter((one) => figure.compareDocumentPosition(one.figure) & side);
	return { before: on(Node.DOCUMENT_POSITION_PRECEDING), after: on(Node.DOCUMENT_POSITION_FOLLOWING) };
}

/** The job of the address, while Python looks for it. */
let sought = "";

/** @param {(job: string) => void} seek */
function follow(seek) {
	sought = "";
	const named = linked(location.hash);
	if (!named) return dialog?.close();
	if (reached(named)) return;
	sought = named.job;
	seek(named.job);
}

/** Python has looked for the job: open it, unless one has gone elsewhere meanwhile. */
function arrive() {
	const named = linked(location.hash);
	if (named?.job === sought && !reached(named)) {
		toast("The picture of this link is not among yours, or it was deleted.");
	}
	sought = "";
}

/** @param {{job: string, index: number}} named */
function reached({ job, index }) {
	const picture = find(job, index) ?? find(job, 0);
	if (picture) open(picture);
	const card = document.getElementById(`job-${job}`);
	if (!picture) card?.scrollIntoView({ block: "center" });
	return card !== null;
}

function build() {
	const view = newDialog("view", "Picture in full", HTML);
	view.addEventListener("click", ({ target }) => {
		const button = /** @type {Element} */ (target).closest("button, .large");
		if (!(button instanceof HTMLElement)) return;
		if (button.dataset.turn) turn(Number(button.dataset.turn));
		else if (button.matches("[data-zoom], .large")) zoom();
		else if (button.matches("[data-leaves], [data-do^='vary'], [data-do='again'], [data-do='reuse']")) view.close();
	});
	view.addEventListener("keydown", (event) => {
		if (event.ctrlKey || event.metaKey || event.altKey) return;
		const all = shown().length;
		const turns = { ArrowLeft: -1, ArrowRight: 1, Home: -all, End: all }[event.key];
		if (turns !== undefined && !view.matches(".original")) turn(turns);
		else if (event.key.toLowerCase() === "z") zoom();
		else return;
		event.preventDefault();
	});
	view.addEventListener("close", () => {
		zoom(false);
		if (linked(location.hash)) {
			if (history.state?.darkroom === "view") history.back();
			else history.replaceState(null, "", location.pathname + location.search);
		}
		const link = /** @type {HTMLElement | null} */ (now?.figure.querySelector("a.sheet"));
		link?.focus({ preventScroll: true });
		now?.figure.scrollIntoView({ block: "nearest" });
	});
	watchSwipes(view);
	return view;
}

/** @param {Picture} picture */
function show(picture) {
	const view = dialog;
	if (!view) return;
	now = picture;
	notePlace();
	zoom(false);
	const card = picture.figure.closest(".card");
	const large = /** @type {HTMLImageElement} */ (part(view, ".large"));
	const easel = part(view, ".easel");
	easel.style.setProperty("--ratio", `${picture.width} / ${picture.height}`);
	easel.style.setProperty("--width", `${picture.width}px`);
	easel.style.backgroundImage = `url("${picture.thumbnail}")`; // until the original has come
	large.width = picture.width;
	large.height = picture.height;
	large.alt = picture.alt;
	if (large.getAttribute("src") !== picture.file) {
		large.removeAttribute("src"); // else the last picture stays until this one has come
		large.src = picture.file;
	}
	const { before, after } = around(picture);
	const isHidden = picture.figure.offsetParent === null;
	part(view, ".place").textContent = isHidden ? "" : `${before.length + 1} of ${before.length + 1 + after.length}`;
	part(view, ".prompt").textContent = card?.querySelector(".prompt")?.textContent ?? "";
	part(view, ".parameters").innerHTML = card?.querySelector(".parameters")?.innerHTML ?? "";
	const rows = [...part(view, ".parameters").querySelectorAll("div")];
	const seed = rows.find((row) => row.querySelector("dt")?.textContent === "Seed")?.querySelector("dd");
	if (seed) seed.textContent = picture.seed;
	for (const button of /** @type {NodeListOf<HTMLElement>} */ (view.querySelectorAll("[data-do]"))) {
		button.dataset.job = picture.job;
		button.dataset.index = String(picture.index);
	}
	part(view, '[data-do="favourite"]').setAttribute("aria-pressed", String(isFavourite(picture)));
	nameDelete(view);
	const download = /** @type {HTMLAnchorElement} */ (part(view, '[data-do="download"]'));
	download.href = picture.file;
	download.download = picture.name;
	for (const [step, near] of [[-1, before.at(-1)], [1, after[0]]]) {
		/** @type {HTMLButtonElement} */ (part(view, `[data-turn="${step}"]`)).disabled = !near;
		if (near) new Image().src = /** @type {Picture} */ (near).file; // it is there at once when turned to
	}
	history.replaceState(history.state, "", linkTo(picture));
}

/** @param {HTMLDialogElement} view */
function nameDelete(view) {
	const count = now?.figure.closest(".card")?.querySelectorAll("figure.done").length ?? 1;
	part(view, '[data-do="delete"]').textContent = count > 1 ? `Delete all ${count}` : "Delete";
}

/** @param {number} steps */
function turn(steps) {
	if (!now?.figure.isConnected) return; // its card is on its way back
	const { before, after } = around(now);
	const way = steps < 0 ? before.reverse() : after;
	const next = way[Math.min(Math.abs(steps), way.length) - 1];
	if (next) show(next);
}

/** The picture is gone: show the one that stands in its job's place now, or none. */
function turnAfterLoss() {
	const next = shown().slice(0, place + 1).at(-1);
	if (next) show(next);
	else dialog?.close();
}

/** @param {boolean} [isWanted] */
function zoom(isWanted) {
	const isOriginal = dialog?.classList.toggle("original", isWanted === false ? false : undefined) ?? false;
	dialog?.querySelector("[data-zoom]")?.setAttribute("aria-pressed", String(isOriginal));
	const stage = dialog?.querySelector(".stage");
	if (isOriginal && stage) {
		stage.scrollLeft = (stage.scrollWidth - stage.clientWidth) / 2;
		stage.scrollTop = (stage.scrollHeight - stage.clientHeight) / 2;
	}
}

/** @param {HTMLDialogElement} view */
function watchSwipes(view) {
	/** @type {Touch | undefined} */
	let start;
	const stage = part(view, ".stage");
	stage.addEventListener("touchstart", ({ touches }) => (start = touches.length === 1 ? touches[0] : undefined), {
		passive: true,
	});
	stage.addEventListener("touchend", ({ changedTouches }) => {
		if (!start || view.matches(".original")) return;
		const x = changedTouches[0].clientX - start.clientX;
		const y = changedTouches[0].clientY - start.clientY;
		if (Math.abs(x) > SWIPE_PX && Math.abs(x) > 2 * Math.abs(y)) turn(x < 0 ? 1 : -1);
		else if (y > 2 * SWIPE_PX && y > 2 * Math.abs(x)) view.close();
	});
}
