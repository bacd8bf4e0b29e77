// @ts-check
// The second step before a job is deleted.

import { newDialog, part } from "./dialog.js";

/** @type {HTMLDialogElement | undefined} */
let dialog;

/**
 * Ask whether to delete a job.
 * @param {string} job
 * @returns {Promise<boolean>}
 */
export function confirmed(job) {
	dialog ??= newDialog(
		"confirm",
		"Delete?",
		`<form method="dialog"><h2>Delete for good?</h2><p class="what"></p><p class="prompt"></p><menu>
		<button class="act" value="keep" autofocus>Keep</button><button class="act main" value="delete">Delete</button>
		</menu></form>`,
	);
	const asked = dialog;
	const card = document.getElementById(`job-${job}`);
	const count = card?.querySelectorAll("figure.done").length ?? 0;
	const what = count === 0 ? "This job" : count === 1 ? "This job and its picture" : `This job and its ${count} pictures`;
	part(asked, ".what").textContent = `${what} will be gone from here and from the server. It can't be undone.`;
	part(asked, ".prompt").textContent = card?.querySelector(".prompt")?.textContent ?? "";
	asked.returnValue = "keep";
	asked.showModal();
	return new Promise((resolve) => {
		asked.addEventListener("close", () => resolve(asked.returnValue === "delete"), { once: true });
	});
}
