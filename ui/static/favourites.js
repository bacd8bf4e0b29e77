// @ts-check
// Favourites: kept in this browser, as a list of "JOB/INDEX".

import { kept, keep } from "./keep.js";
import { search } from "./search.js";
import { say } from "./toast.js";

const STORE = "darkroom.favourites";

/** @returns {Set<string>} */
function favourites() {
	const list = kept(STORE, []);
	return new Set(Array.isArray(list) ? list : []);
}

/** @param {import("./pictures.js").Picture} picture */
export function isFavourite(picture) {
	return favourites().has(picture.key);
}

/** @param {import("./pictures.js").Picture} picture */
export function toggleFavourite(picture) {
	const all = favourites();
	const isNow = !all.delete(picture.key);
	if (isNow) all.add(picture.key);
	keep(STORE, [...all]);
	const star = document.activeElement;
	markFavourites();
	search();
	if (star && !star.checkVisibility()) focusNear(star);
	say(isNow ? "Added to favourites." : "Removed from favourites.");
}

/**
 * Give the focus of a star that is hidden now to the next one that is seen, else to the one before it; where there is
 * none any more, to what shows all pictures again.
 * @param {Element} star
 */
function focusNear(star) {
	const stars = /** @type {HTMLElement[]} */ ([...document.querySelectorAll('#feed [data-do="favourite"]')]);
	const at = stars.indexOf(/** @type {HTMLElement} */ (star));
	const near = [...stars.slice(at + 1), ...stars.slice(0, Math.max(at, 0)).reverse()];
	const all = /** @type {HTMLElement | null} */ (document.querySelector('[data-do="only-favourites"]'));
	(near.find((other) => other.checkVisibility()) ?? all)?.focus();
}

/**
 * Forget the favourites of a job that the gateway has deleted.
 * @param {string} job
 */
export function forget(job) {
	keep(
		STORE,
		[...favourites()].filter((key) => !key.startsWith(`${job}/`)),
	);
}

/** Mark what the feed shows, and the full view's star. */
export function markFavourites() {
	const all = favourites();
	for (const card of document.querySelectorAll("#feed > .card")) {
		let any = false;
		for (const figure of /** @type {NodeListOf<HTMLElement>} */ (card.querySelectorAll("figure.done"))) {
			const is = all.has(`${figure.dataset.job}/${figure.dataset.index}`);
			any ||= is;
			figure.toggleAttribute("data-favourite", is);
			figure.querySelector('[data-do="favourite"]')?.setAttribute("aria-pressed", String(is));
		}
		card.toggleAttribute("data-favourite", any);
	}
	const star = /** @type {HTMLElement | null} */ (document.querySelector('dialog [data-do="favourite"]'));
	star?.setAttribute("aria-pressed", String(all.has(`${star.dataset.job}/${star.dataset.index}`)));
}

/**
 * Show only the favourites, or all again.
 * @param {boolean} only
 * @returns {string[] | null} them; null for all
 */
export function showOnlyFavourites(only) {
	document.getElementById("feed")?.classList.toggle("only-favourites", only);
	document.querySelector('[data-do="only-favourites"]')?.setAttribute("aria-pressed", String(only));
	search();
	return only ? [...favourites()] : null;
}

/** Follow what other tabs of this browser do. */
export function watchFavourites() {
	window.addEventListener("storage", ({ key }) => {
		if (key !== STORE) return;
		markFavourites();
		search();
	});
}
