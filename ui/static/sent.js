// @ts-check
// Generate, from the press to what came of it: one picture for one press, and the answer brought into sight.

const WIDE = "(min-width: 901px)"; // where the form stands beside the feed; as in page.css
const WRONG = ".problem p, .problems";
const PRESSING = new Set(["Enter", " "]);

export function watchGenerate() {
	document.addEventListener("click", (event) => onPress(event, event.detail > 1), true);
	document.addEventListener("keydown", (event) => onPress(event, event.repeat && PRESSING.has(event.key)), true);
}

/**
 * Show that it was pressed; have a double click, or a key that is held down, be one press.
 * @param {Event} event
 * @param {boolean} isAgain
 */
function onPress(event, isAgain) {
	const button = /** @type {Element} */ (event.target).closest("#generate");
	if (isAgain && button) {
		event.preventDefault();
		event.stopImmediatePropagation();
	} else if (event.type === "click") button?.setAttribute("aria-busy", "true");
}

/** Python has answered; what it says is drawn by the next frame. */
export function sent() {
	document.querySelector("#generate")?.removeAttribute("aria-busy");
	requestAnimationFrame(() => requestAnimationFrame(showAnswer));
}

function showAnswer() {
	const wrong = [...document.querySelectorAll(WRONG)].find((word) => word.checkVisibility());
	if (!wrong) return showCard();
	wrong.scrollIntoView({ block: "center" });
	if (document.activeElement?.matches("input, textarea, select")) return; // who types on is left to it
	const slot = wrong.closest("[id^=problem-]")?.id;
	const control = document.querySelector(`[aria-invalid="true"][aria-describedby="${slot}"]`);
	if (control instanceof HTMLElement) control.focus({ preventScroll: true });
}

function showCard() {
	if (matchMedia(WIDE).matches) document.querySelector("#feed > .card")?.scrollIntoView({ block: "nearest" });
	else document.querySelector("#room")?.scrollIntoView({ block: "start" });
}
