/** What `page_head.html` begins and `studio.js` completes; see there. */
interface Darkroom {
	/** Calls that came before the modules: name and arguments. */
	waiting: [string, any[]][];
	connect(element: Element, trigger: (event: string, detail: object) => void): void;
	apply(told: import("./feed.js").Told | null): void;
	/** What each look tells Python. */
	showing?(): object;
	restore(fields: Record<string, unknown>): void;
	/** What this tab's form said when the page last went away. */
	left(): Record<string, unknown>;
	/** Generate was answered. */
	sent?(): void;
	[verb: string]: any;
}

interface Window {
	darkroom: Darkroom;
}
