// @ts-check
import { toast } from "./toast.js";

/**
 * @param {string} text
 * @param {string} done
 */
export async function copy(text, done) {
	try {
		await navigator.clipboard.writeText(text);
		toast(done);
	} catch {
		toast(copiedByHand(text) ? done : `Copy it yourself: ${text}`);
	}
}

/**
 * The clipboard's interface is there only over HTTPS, and a studio at home often is not.
 * @param {string} text
 */
function copiedByHand(text) {
	const before = /** @type {HTMLElement | null} */ (document.activeElement);
	const field = document.createElement("textarea");
	field.value = text;
	field.className = "unseen";
	(before?.closest("dialog") ?? document.body).append(field);
	field.select();
	const isDone = document.execCommand("copy");
	field.remove();
	before?.focus({ preventScroll: true });
	return isDone;
}
