/** What `page_head.html` begins and `studio.js` completes; see there. */
interface Darkroom {
	/** Calls that came before the modules: name and arguments. */
	waiting: [string, any[]][];
	connect(element: Element, trigger: (event: string, detail: object) => void): void;
	apply(news: import("./feed.js").News | null): void;
	restore(fields: Record<string, unknown>): void;
	/** What this tab's form said when the page last went away. */
	left(): Record<string, unknown>;
	[verb: string]: any;
}

interface Window {
	darkroom: Darkroom;
}
