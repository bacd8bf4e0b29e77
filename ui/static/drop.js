// @ts-check
// A picture that is dropped, pasted or chosen gives its settings back; it is read by this page's server and not kept.

import { toast } from "./toast.js";

const MOST_BYTES = 32 * 1024 * 1024;
const TYPES = ["image/png", "image/jpeg", "image/webp"];

/** @type {HTMLInputElement | undefined} */
let field;

export function watchDrops() {
	const overlay = document.createElement("div");
	overlay.className = "drop-here";
	overlay.innerHTML = "<p><strong>Drop the picture</strong> Its settings go into the form.</p>";
	overlay.setAttribute("aria-hidden", "true");
	document.body.append(overlay);
	let depth = 0;
	/** @param {DragEvent} event */
	const hasFiles = (event) => event.dataTransfer?.types.includes("Files") ?? false;
	const show = () => overlay.classList.toggle("shown", depth > 0);
	document.addEventListener("dragenter", (event) => {
		if (hasFiles(event)) depth += 1;
		show();
	});
	document.addEventListener("dragleave", (event) => {
		if (hasFiles(event)) depth = Math.max(0, depth - 1);
		show();
	});
	document.addEventListener("dragover", (event) => {
		if (hasFiles(event)) event.preventDefault();
	});
	document.addEventListener("drop", (event) => {
		depth = 0;
		show();
		if (!hasFiles(event)) return;
		event.preventDefault();
		void restoreFrom(event.dataTransfer?.files);
	});
	document.addEventListener("paste", (event) => {
		if (!event.clipboardData?.files.length || event.clipboardData.types.includes("text/plain")) return;
		event.preventDefault();
		void restoreFrom(event.clipboardData.files);
	});
}

export function chooseFile() {
	if (!field) {
		field = document.createElement("input");
		field.type = "file";
		field.accept = TYPES.join(",");
		field.hidden = true;
		field.addEventListener("change", () => restoreFrom(field?.files));
		document.body.append(field);
	}
	field.value = "";
	field.click();
}

/** @param {FileList | null | undefined} files */
async function restoreFrom(files) {
	showNotes(false);
	const file = [...(files ?? [])].find(({ type }) => TYPES.includes(type));
	if (!file) return toast("This is no PNG, JPEG or WebP picture.");
	if (file.size > MOST_BYTES) return toast("This picture is larger than 32 MB.");
	try {
		const answer = await fetch("settings", {
			method: "POST",
			body: file,
			headers: { "Content-Type": file.type },
		});
		if (!answer.ok) return toast(await refusal(answer));
		window.darkroom.restore(await answer.json());
		showNotes(true);
		toast("The picture's settings were read.");
	} catch {
		toast("The page's server does not answer. Try again in a moment.");
	}
}

/**
 * Read why a picture was refused, in the page's words; what stands before its server has others.
 * @param {Response} answer
 */
async function refusal(answer) {
	if (answer.headers.get("Content-Type")?.startsWith("text/plain")) return answer.text();
	if (answer.status === 413) return "This picture is larger than the proxy before this page lets through.";
	return "Its settings could not be read. Try again in a moment.";
}

/**
 * Show what was said of the last picture's settings, or no longer.
 * @param {boolean} isShown
 */
function showNotes(isShown) {
	const notes = /** @type {HTMLElement | null} */ (document.querySelector("#restored"));
	notes?.toggleAttribute("data-over", !isShown);
}
