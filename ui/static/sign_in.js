// @ts-check
// The dialog for a key; the form in it is sent as any form is.

import { keep, kept } from "./keep.js";

/** @returns {HTMLDialogElement | null} */
const theDialog = () => document.querySelector("dialog#sign-in");

export function openSignIn() {
	theDialog()?.showModal();
}

/** @param {HTMLElement} button */
export function closeSignIn(button) {
	button.closest("dialog")?.close();
}

const STORE = "darkroom.who";

/** Who the page says one is, as its head words it; empty while that is not known. */
const who = () => document.querySelector("#who")?.textContent?.trim() ?? "";

/** Begin anew when somebody signs in or out in another tab: this one would act for them, and not say so. */
function watchOtherTabs() {
	const waiting = setInterval(() => {
		if (!who()) return;
		clearInterval(waiting);
		keep(STORE, who());
	}, 200);
	window.addEventListener("storage", ({ key }) => {
		if (key === STORE && who() && kept(STORE, who()) !== who()) location.reload();
	});
}

/** Say that a key was refused, once the page is there to say it; and follow other tabs. */
export function watchSignIn() {
	watchOtherTabs();
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
