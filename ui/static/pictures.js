// @ts-check
// A picture as its figure in the feed tells it.

/**
 * @typedef {object} Picture
 * @property {string} key "JOB/INDEX"
 * @property {string} job
 * @property {number} index
 * @property {string} seed
 * @property {string} file the original's address
 * @property {string} name under which it is saved
 * @property {string} thumbnail
 * @property {string} alt
 * @property {number} width
 * @property {number} height
 * @property {HTMLElement} figure
 */

/**
 * The picture that a button belongs to: of its figure, or named by `data-job` and `data-index` in a dialog.
 * @param {HTMLElement} button
 */
export function pictureOf(button) {
	const figure = /** @type {HTMLElement | null} */ (button.closest("figure.paper.done"));
	if (figure) return picture(figure);
	const { job, index } = button.dataset;
	return job === undefined || index === undefined ? undefined : find(job, Number(index));
}

/**
 * @param {string} job
 * @param {number} index
 */
export function find(job, index) {
	const figures = document.getElementById(`job-${job}`)?.querySelectorAll("figure.paper.done") ?? [];
	const figure = /** @type {HTMLElement[]} */ ([...figures]).find((one) => one.dataset.index === String(index));
	return figure && picture(figure);
}

/** All pictures that the feed shows now, in its order. */
export function shown() {
	const figures = /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("#feed figure.paper.done"));
	return [...figures].filter((figure) => figure.offsetParent !== null).map(picture);
}

/**
 * @param {HTMLElement} figure
 * @returns {Picture}
 */
function picture(figure) {
	const { job = "", index = "0", seed = "", file = "", name = "", width = "1", height = "1" } = figure.dataset;
	const image = figure.querySelector("img");
	return {
		key: `${job}/${index}`,
		job,
		index: Number(index),
		seed,
		file,
		name,
		thumbnail: image?.getAttribute("src") ?? file,
		alt: image?.alt ?? "",
		width: Number(width),
		height: Number(height),
		figure,
	};
}

/** @param {Picture} picture */
export function linkTo(picture) {
	return new URL(`#job-${picture.job}-${picture.index}`, location.href).href;
}

/**
 * The job and picture that an address names: `#job-ID`, or `#job-ID-INDEX`.
 * @param {string} hash
 */
export function linked(hash) {
	const found = /^#job-([0-9a-z]{26})(?:-(\d+))?$/.exec(hash);
	return found && { job: found[1], index: Number(found[2] ?? 0) };
}
