// @ts-check
// The feed: brought up to date with what Python says, and told to those who can't see it.

import { forget, markFavourites } from "./favourites.js";
import { patch } from "./patch.js";
import { noteFound, search } from "./search.js";
import { say, toast } from "./toast.js";

const ENDED = new Set(["succeeded", "failed", "canceled", "expired"]);

/** @returns {HTMLOListElement | null} */
const theFeed = () => document.querySelector("ol#feed");

/** The number of the last answer that has arrived. */
let shown = 0;

/** Say what the page shows, for Python to continue. */
export const lastShown = () => shown;

/** @typedef {{base: number, number: number, feed: News | null}} Told */
/** @typedef {{order: string[], cards: Record<string, string>, more: boolean, end: string, search: string, filtered: boolean, linked: string | null, gone: string[]}} News */

/**
 * Bring the feed up to date. What follows on something that never came is left out: the next look says so, and is told
 * both. So is what was overtaken; but the rest of that answer Gradio has put into the page, so all is told anew.
 * @param {Told | null | undefined} told
 */
export function apply(told) {
	if (!told || told.number === shown) return;
	if (told.number < shown) shown = 0;
	else if (told.base <= shown) {
		shown = told.number;
		if (told.feed) show(told.feed);
	}
}

/**
 * Show the jobs of `order`, newest first; `cards` has the HTML of those that changed.
 * @param {News} news
 */
function show(news) {
	const feed = theFeed();
	if (!feed) return;
	const isFirst = !feed.hasAttribute("data-known");
	const focused = document.activeElement?.closest(".card");
	/** @type {Element[]} */
	const came = [];
	/** @type {Element[]} */
	const ended = [];
	for (const card of [...feed.children]) {
		if (!news.order.includes(/** @type {HTMLElement} */ (card).dataset.job ?? "")) leave(card);
	}
	/** @type {Element | null} */
	let at = feed.firstElementChild;
	// What a search brings back, or what is older than the cards that are there, has not just come.
	let isNew = !isFirst && !news.filtered && !feed.hasAttribute("data-filtered");
	for (const id of news.order) {
		const known = /** @type {HTMLElement | null} */ (feed.querySelector(`:scope > [data-job="${CSS.escape(id)}"]`));
		const html = news.cards?.[id];
		const was = known?.dataset.status ?? "";
		const card = html ? update(known, parsed(html), isFirst) : known;
		if (!card) continue;
		if (known && hasEnded(was, card)) ended.push(card);
		if (card === at) at = at.nextElementSibling;
		else feed.insertBefore(card, at);
		if (known) isNew = false;
		else if (isNew) came.push(card);
	}
	if (focused?.isConnected && !focused.contains(document.activeElement)) refocus(focused);
	feed.setAttribute("data-known", "");
	feed.toggleAttribute("data-filtered", news.filtered);
	noteFound(news.search);
	const more = /** @type {HTMLElement | null} */ (document.querySelector("[data-do=more]"));
	if (more) more.hidden = !news.more;
	const end = /** @type {HTMLElement | null} */ (document.querySelector(".feed-end"));
	if (end) {
		end.textContent = news.end;
		end.hidden = !news.end;
	}
	for (const id of news.gone) forget(id);
	markFavourites();
	search();
	tell(came, ended);
	window.dispatchEvent(new CustomEvent("darkroom:applied", { detail: { isFirst, linked: news.linked, gone: news.gone } }));
}

/** @param {string} html */
function parsed(html) {
	const template = document.createElement("template");
	template.innerHTML = html;
	const card = /** @type {HTMLElement} */ (template.content.firstElementChild);
	for (const time of card.querySelectorAll("time")) {
		const at = new Date(time.dateTime);
		const isToday = at.toDateString() === new Date().toDateString();
		time.textContent = at.toLocaleString([], isToday ? { timeStyle: "short" } : { dateStyle: "medium", timeStyle: "short" });
		time.title = at.toLocaleString();
	}
	return card;
}

/**
 * @param {HTMLElement | null} known
 * @param {HTMLElement} card
 * @param {boolean} isFirst
 */
function update(known, card, isFirst) {
	if (!known) {
		if (!isFirst) card.toggleAttribute("data-watched", true);
		return card;
	}
	if (hasEnded(known.dataset.status ?? "", card)) known.toggleAttribute("data-watched", true); // it keeps its height: what is below must not jump
	patch(known, card);
	return known;
}

/**
 * @param {string} was
 * @param {HTMLElement} card
 */
function hasEnded(was, card) {
	return !ENDED.has(was) && ENDED.has(card.dataset.status ?? "");
}

/** @param {Element} card */
function promptIn(card) {
	return card.querySelector(".prompt")?.textContent ?? "";
}

/**
 * Tell of the jobs that came and of those that ended: of each kind once, however many a program has sent.
 * @param {Element[]} came newest first
 * @param {Element[]} ended
 */
function tell(came, ended) {
	const [newest] = came;
	const said = [];
	if (newest) {
		const what = came.length === 1 ? promptIn(newest) : `${came.length} new requests`;
		const { bottom, top } = newest.getBoundingClientRect();
		const isAsked = document.querySelector("#generate[aria-busy]") !== null; // `sent.js` shows what came of that
		if (!isAsked && (bottom < 0 || top > innerHeight)) {
			const show = () => newest.scrollIntoView({ behavior: "smooth", block: "start" });
			toast(`${came.length === 1 ? "Show it" : "Show them"}: ${what}`, show);
		} else said.push(`Accepted: ${what}`);
	}
	const [one] = ended;
	if (ended.length > 1) said.push(`${ended.length} requests have ended`);
	else if (one) said.push(`${one.querySelector(".headline span:not(.dot)")?.textContent}: ${promptIn(one)}`);
	if (said.length) say(said.join(". "));
}

/** @param {Element} card */
function leave(card) {
	const next = card.nextElementSibling ?? card.previousElementSibling;
	const hadFocus = card.contains(document.activeElement);
	card.remove();
	if (hadFocus && next) refocus(next);
}

/** @param {Element} card */
function refocus(card) {
	/** @type {HTMLElement | null} */ (card.querySelector(".actions :is(button, a)"))?.focus({ preventScroll: true });
}

/** Seconds after which a picture that did not come, as in an outage, is asked for again. */
const AGAIN_S = [2, 5, 15, 60, 120];

/** @type {WeakMap<HTMLImageElement, number>} */
const tries = new WeakMap();

/** @param {HTMLImageElement} image */
function askAgain(image) {
	const tried = tries.get(image) ?? 0;
	if (tried >= AGAIN_S.length) return;
	tries.set(image, tried + 1);
	setTimeout(() => {
		if (image.isConnected) image.src = image.getAttribute("src") ?? "";
	}, 1000 * AGAIN_S[tried]);
}

// A preview shows once it has come; before, or if there is none, its paper is blank.
for (const event of ["load", "error"]) {
	document.addEventListener(
		event,
		({ target }) => {
			if (!(target instanceof HTMLImageElement) || !target.matches("#feed img")) return;
			if (event === "load" || !target.matches(".preview")) target.toggleAttribute("data-seen", event === "load");
			if (event === "error" && target.matches(".print")) askAgain(target);
		},
		true,
	);
}
