// @ts-check
// The dialog for a key; the form in it is sent as any form is.

import { keep, kept } from "./keep.js";
import { forgetWishes } from "./wishes.js";

/** @returns {HTMLDialogElement | null} */
const theDialog = () => document.querySelector("dialog#sign-in");

export function openSignIn() {
	theDialog()?.showModal();
}

/** @param {HTMLElement} button */
export function closeSignIn(button) {
	button.closest("dialog")?.close();
}

/** What tabs of this page share; another Darkroom may live under another path of the same host. */
const STORE = `darkroom.who ${location.pathname}`;

/** Who the page says one is, "" for a visitor; undefined while that is not known. */
const who = () => /** @type {HTMLElement | null} */ (document.querySelector("#who [data-who]"))?.dataset.who;

/** Begin anew when somebody signs in or out in another tab: this one would act for them, and not say so. */
function watchOtherTabs() {
	const waiting = setInterval(() => {
		if (who() === undefined) return;
		clearInterval(waiting);
		keep(STORE, who());
	}, 200);
	window.addEventListener("storage", ({ key }) => {
		if (key !== STORE || who() === undefined || kept(STORE, who()) === who()) return;
		forgetWishes();
		location.reload();
	});
}

/** Say that a key was refused, once the page is there to say it; and follow other tabs. */
export function watchSignIn() {
	watchOtherTabs();
	document.addEventListener("submit", ({ target }) => {
		if (/** @type {Element} */ (target).matches('form[action^="sign-"]')) forgetWishes();
	});
	if (location.search !== "?key-refused") return;
	history.replaceState(null, "", location.pathname + location.hash);
	const waiting = setInterval(() => {
		const dialog = theDialog();
		if (!dialog) return;
		clearInterval(waiting);
		const problem = dialog.querySelector(".refused");
		dialog.showModal();
		problem?.removeAttribute("hidden");
	}, 100);
}
