// @ts-check
// What the visitor wants to see of their jobs. The browser alone keeps it: each look tells Python all of it, so that nothing
// that is lost on the way stays lost. The tab keeps it too, for a page that is loaded again.

import { keep, kept } from "./keep.js";

const STORE = "darkroom.wishes";

/**
 * @typedef {object} Wishes
 * @property {number} choice how often something was chosen
 * @property {number} pages how far back
 * @property {string} search
 * @property {string[] | null} favourites "JOB/INDEX" each, the last one starred at the end; null: all jobs
 * @property {string | null} linked a job that is shown however old it is
 */

/** @type {Wishes} */
const NONE = { choice: 0, pages: 1, search: "", favourites: null, linked: null };

/** @type {Wishes} a link's job is said by the address */
let wanted = { ...NONE, ...kept(STORE, NONE, "sessionStorage"), choice: 0, linked: null };

let looks = 0;

export const wishes = () => wanted;

/** @param {Partial<Wishes>} change */
export function wish(change) {
	wanted = { ...wanted, ...change, choice: wanted.choice + 1 };
	keep(STORE, wanted, "sessionStorage");
}

/** Begin with all of them the next time: whoever comes then may be somebody else. */
export const forgetWishes = () => keep(STORE, NONE, "sessionStorage");

/**
 * Say what a look begins with.
 * @param {number} number of the last answer that is shown
 */
export function showing(number) {
	looks += 1;
	return { ...wanted, look: looks, number };
}
