// @ts-check
// The line to this page's server. Gradio 6.31 takes one request that gets lost for the end: it says so in red, answers
// nothing more and loads the page anew. A look that is lost is asked again by the next one.

const LOOK = "/gradio_api/run/predict";
const MOST_LOST = 1; // in a row without a word: a phone that wakes up loses one

const words = document.createElement("p");
words.className = "notice line";
words.setAttribute("role", "status");

let lost = 0;

export function watchLine() {
	document.body.append(words);
	const send = window.fetch.bind(window);
	window.fetch = async (input, init) => {
		const url = new URL(input instanceof Request ? input.url : input, location.href);
		if (!url.pathname.endsWith(LOOK)) return send(input, init);
		const answer = await send(input, init).catch(() => null);
		if (!answer || (answer.status >= 500 && !isJson(answer))) {
			tell(lost + 1);
			return Response.json({ error: "This page's server does not answer." }, { status: 503 });
		}
		if (lost) await hear(send, url);
		return answer;
	};
}

/** @param {number} now */
function tell(now) {
	lost = now;
	const text = lost > MOST_LOST ? "This page's server does not answer. The page tries again by itself." : "";
	if (words.textContent !== text) words.textContent = text;
}

/**
 * The server answers again. If it was restarted meanwhile, what it serves now may be another page.
 * @param {typeof fetch} send
 * @param {URL} look
 */
async function hear(send, look) {
	const url = new URL(look);
	url.pathname = look.pathname.replace("run/predict", "app_id");
	try {
		const { app_id } = await (await send(url)).json();
		if (app_id !== /** @type {any} */ (window).gradio_config.app_id) location.reload();
		tell(0);
	} catch {} // the next answer asks again
}

/** @param {Response} answer */
function isJson(answer) {
	return answer.headers.get("Content-Type")?.startsWith("application/json") ?? false;
}
