// @ts-check
// Which of the feed's cards are seen: those that a search finds, and of them the favourites where only those are wanted.

import { wishes } from "./wishes.js";

/** What Python has searched for: it looks further back than the feed. */
let found = "";

/** @param {string} text */
export function noteFound(text) {
	found = text;
}

/** Show only the cards that have all words of the search in them, until Python has looked for them everywhere. */
export function search() {
	const { search: text } = wishes();
	const words = text === found ? [] : text.toLowerCase().split(/\s+/).filter(Boolean);
	/** @type {HTMLOListElement | null} */
	const feed = document.querySelector("ol#feed");
	if (!feed) return;
	for (const card of /** @type {NodeListOf<HTMLElement>} */ (feed.querySelectorAll(":scope > .card"))) {
		card.hidden = !words.every((word) => word === card.dataset.job || says(card.dataset.words ?? "", word));
	}
	const none = /** @type {HTMLElement | null} */ (document.querySelector(".no-match"));
	const hasCards = feed.children.length > 0 || feed.hasAttribute("data-filtered");
	const hidden = feed.classList.contains("only-favourites") ? ":not([hidden])[data-favourite]" : ":not([hidden])";
	if (none) none.hidden = !hasCards || feed.querySelector(`:scope > .card${hidden}`) !== null;
}

/**
 * Find a word, or a part of one; but a number as a whole. As `ui/feed.py` does.
 * @param {string} said
 * @param {string} word
 */
function says(said, word) {
	return /^[0-9]+$/.test(word) ? new RegExp(`(?<![0-9])${word}(?![0-9])`).test(said) : said.includes(word);
}
