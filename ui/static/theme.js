// @ts-check
// Darkroom or daylight. page_head.html puts the class on before anything is drawn.

const STORE = "darkroom.theme";

export function watchTheme() {
	tellBrowser();
	window.addEventListener("storage", ({ key, newValue }) => {
		if (key !== STORE) return;
		document.documentElement.classList.toggle("light", newValue === "light");
		tellBrowser();
	});
}

export function switchTheme() {
	const isLight = document.documentElement.classList.toggle("light");
	try {
		localStorage.setItem(STORE, isLight ? "light" : "dark");
	} catch {
		// Kept for as long as the page is open, then.
	}
	tellBrowser();
}

/** A phone's browser has its own bars around the page. */
function tellBrowser() {
	const colour = getComputedStyle(document.documentElement).getPropertyValue("--tone-950").trim();
	if (colour) document.querySelector('meta[name="theme-color"]')?.setAttribute("content", colour);
}
