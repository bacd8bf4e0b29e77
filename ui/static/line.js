// @ts-check
// The line to this page's server. Gradio 6.31 takes one request that gets lost for the end: it says so in red, answers
// nothing more and loads the page anew. Here it is sent once more; what is lost then may not be done, and that is said.
// All of these may be done twice: looks, checks, and orders that are the same the second time.

const ASKED = "/gradio_api/run/predict"; // what does not go through Gradio's queue
const AGAIN_MS = 500;
const MOST_MS = 60_000; // longer than the page's server waits for the gateway

const AWAY = "This page's server does not answer. What is pressed meanwhile may not be done.";

const words = document.createElement("p");
words.className = "notice line";
words.setAttribute("role", "status");

let isLost = false;

export function watchLine() {
	document.body.append(words);
	const send = window.fetch.bind(window);
	window.fetch = async (input, init) => {
		const url = new URL(input instanceof Request ? input.url : input, location.href);
		if (!url.pathname.endsWith(ASKED)) return send(input, init);
		for (const pause of [AGAIN_MS, 0]) {
			const answer = await send(input, { ...init, signal: AbortSignal.timeout(MOST_MS) }).catch(() => null);
			if (answer && isOfPage(answer)) {
				if (isLost) await hear(send, url);
				return answer;
			}
			isLost = true;
			if (pause) await new Promise((over) => setTimeout(over, pause));
		}
		if (words.textContent !== AWAY) words.textContent = AWAY;
		return Response.json({ error: AWAY }, { status: 503 });
	};
}

/**
 * The server answers again. If it was restarted meanwhile, what it serves now may be another page.
 * @param {typeof fetch} send
 * @param {URL} asked
 */
async function hear(send, asked) {
	const url = new URL(asked);
	url.pathname = asked.pathname.replace("run/predict", "app_id");
	const answer = await send(url, { signal: AbortSignal.timeout(5000) }).catch(() => null);
	if (!answer?.ok) return; // the next answer asks again
	const { app_id } = await answer.json();
	if (app_id !== /** @type {any} */ (window).gradio_config.app_id) location.reload();
	isLost = false;
	words.textContent = "";
}

/**
 * Tell whether the page's server said it, and no proxy before it: that answers in JSON, with 500 at the worst.
 * @param {Response} answer
 */
function isOfPage(answer) {
	const isJson = answer.headers.get("Content-Type")?.startsWith("application/json") ?? false;
	return isJson && answer.status <= 500;
}
