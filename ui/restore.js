// js_on_load of #restore: a picture that is chosen, or dropped anywhere, goes to the page's server, which reads its settings.
const send = async (file) => {
	let said;
	try {
		if (file.size > Number(input.dataset.most)) throw new Error("That file is too large to be a picture of this kind.");
		const answer = await fetch("settings", { method: "POST", body: file });
		if (answer.ok) said = { restored: await answer.json(), problem: "" };
		else said = { restored: null, problem: answer.status < 500 ? await answer.text() : "The page could not read it." };
	} catch (error) {
		said = { restored: null, problem: error instanceof TypeError ? "The page does not answer." : error.message };
	}
	trigger("upload", said);
};
const input = element.querySelector("input");
input.addEventListener("change", () => {
	if (input.files.length) send(input.files[0]);
	input.value = "";
});
const carriesFiles = (event) => event.dataTransfer && [...event.dataTransfer.types].includes("Files");
document.addEventListener("dragover", (event) => {
	if (!carriesFiles(event)) return;
	event.preventDefault();
	document.documentElement.classList.add("dropping");
});
document.addEventListener("dragleave", (event) => {
	if (!event.relatedTarget) document.documentElement.classList.remove("dropping");
});
document.addEventListener("drop", (event) => {
	document.documentElement.classList.remove("dropping");
	if (!carriesFiles(event)) return;
	event.preventDefault();
	if (event.dataTransfer.files.length) send(event.dataTransfer.files[0]);
});
