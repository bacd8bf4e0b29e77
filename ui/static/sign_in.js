// @ts-check
// The dialog for a key; the form in it is sent as any form is.

/** @returns {HTMLDialogElement | null} */
const theDialog = () => document.querySelector("dialog#sign-in");

export function openSignIn() {
	theDialog()?.showModal();
}

/** @param {HTMLElement} button */
export function closeSignIn(button) {
	button.closest("dialog")?.close();
}

/** Say that a key was refused, once the page is there to say it. */
export function watchSignIn() {
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
