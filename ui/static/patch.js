// @ts-check
// Turn an element into another one with as little change as will do: what stays is the same node, so that its focus,
// its loaded picture and its open `<details>` stay too.

/** Attributes that are the browser's own: a page's HTML never has them as they are now. */
const OURS = new Set(["open", "aria-pressed", "hidden", "data-favourite", "data-seen", "data-watched", "data-comparing"]);

/**
 * @param {Element} from is changed
 * @param {Element} to is used up
 */
export function patch(from, to) {
	if (from instanceof HTMLTimeElement && from.dateTime === /** @type {HTMLTimeElement} */ (to).dateTime) return;
	const developed = from.matches("figure.blank") && to.matches("figure.done") ? from.querySelector(".preview") : null;
	patchAttributes(from, to);
	patchChildren(from, to);
	if (developed?.hasAttribute("data-seen")) keepUntilLoaded(developed, from);
}

/**
 * @param {Element} from
 * @param {Element} to
 */
function patchAttributes(from, to) {
	for (const { name } of [...from.attributes]) {
		if (!to.hasAttribute(name) && !OURS.has(name)) from.removeAttribute(name);
	}
	for (const { name, value } of to.attributes) {
		if (from.getAttribute(name) !== value && !OURS.has(name)) from.setAttribute(name, value);
	}
}

/**
 * @param {Element} from
 * @param {Element} to
 */
function patchChildren(from, to) {
	let at = from.firstChild;
	for (const wanted of [...to.childNodes]) {
		let same = at;
		while (same && !alike(same, wanted)) same = same.nextSibling;
		if (!same) {
			from.insertBefore(wanted, at);
			continue;
		}
		while (at && at !== same) at = removed(at);
		if (same instanceof Element) patch(same, /** @type {Element} */ (wanted));
		else if (same.nodeValue !== wanted.nodeValue) same.nodeValue = wanted.nodeValue;
		at = same.nextSibling;
	}
	while (at) at = removed(at);
}

/** @param {ChildNode} node */
function removed(node) {
	const next = node.nextSibling;
	node.remove();
	return next;
}

/**
 * @param {Node} one
 * @param {Node} other
 */
function alike(one, other) {
	if (one.nodeName !== other.nodeName) return false;
	return !(one instanceof HTMLElement && other instanceof HTMLElement) || key(one) === key(other);
}

/** @param {HTMLElement} element */
function key(element) {
	return [element.id, element.dataset.do, element.dataset.index, element.classList[0]].join(" ");
}

/**
 * Leave the preview on the paper until the finished picture has come.
 * @param {Element} preview
 * @param {Element} figure
 */
function keepUntilLoaded(preview, figure) {
	const picture = figure.querySelector("img.print");
	if (!picture) return;
	picture.before(preview);
	for (const event of ["load", "error"]) picture.addEventListener(event, () => preview.remove(), { once: true });
	if (picture instanceof HTMLImageElement) picture.loading = "eager";
}
