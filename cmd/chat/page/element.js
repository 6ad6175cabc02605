// Elements made of text only: what people write is never markup.

export function element(tag, className = "", text = "") {
	const e = document.createElement(tag)
	e.className = className
	e.textContent = text
	return e
}

// chip is the label of a node, in a colour of its own.
export function chip(node) {
	const e = element("span", "chip", `node ${node}`)
	e.style.setProperty("--hue", String((node * 137.5 + 20) % 360)) // the golden angle: neighbours differ
	return e
}

// hue is the colour of a name.
export function hue(name) {
	let sum = 0
	for (const character of name) {
		sum = (sum * 31 + character.codePointAt(0)) % 3600
	}
	return String(sum / 10)
}
