// The products of one page of the list, a price that is being changed, and the nodes that are asked.

const $ = (id) => document.getElementById(id)
const lookEvery = 2000 // milliseconds, for what is changed in other windows
const times = 12

let starts = [0] // the ids after which the pages begin, up to the one that is shown
let next = 0
let products = []
let asked = null // a product

$("previous").addEventListener("click", () => turn(() => starts.pop()))
$("next").addEventListener("click", () => turn(() => starts.push(next)))
$("ask").addEventListener("click", () => ask(asked))
setInterval(() => document.hidden || look(), lookEvery)
await look()
choose(products[0])

async function turn(move) {
	move()
	products = []
	await look()
	$("products-title").scrollIntoView({ block: "nearest" })
}

// look shows the list as it is now. A price that is being typed stays.
async function look() {
	const after = starts.at(-1)
	let list
	try {
		const response = await fetch(`/products?close&after=${after}`)
		list = await response.json()
		if (!response.ok) {
			throw new Error(list.error)
		}
	} catch (error) {
		say(`The list could not be read: ${error.message}`, "bad")
		return
	}
	if (after !== starts.at(-1)) {
		return // another page has been chosen meanwhile
	}
	if ($("state").dataset.kind === "bad") {
		say("")
	}
	next = list.next ?? 0
	$("previous").disabled = starts.length < 2
	$("next").disabled = next === 0
	products = list.products.map((p) => newer(p, products.find((old) => old.id === p.id)))
	if (!$("products").querySelector("input")) {
		show()
	}
}

// newer keeps an answer to a change from being overwritten by a list that was on its way.
function newer(p, old) {
	return old && old.version > p.version ? old : p
}

function show() {
	const focused = document.activeElement?.id
	$("products").replaceChildren(...products.map(row))
	if (focused) {
		$(focused)?.focus()
	}
}

function row(p) {
	const tr = document.createElement("tr")
	tr.id = `product-${p.id}`
	tr.classList.toggle("chosen", p.id === asked?.id)
	const name = button(`name-${p.id}`, p.name, "link", () => ask(choose(p)))
	const price = button(`price-${p.id}`, money(p.price), "price", () => edit(p, price))
	price.setAttribute("aria-label", `Change the price of ${p.name}, ${money(p.price)}`)
	tr.append(cell(p.id), cell(name), cell(price, "right"), cell(p.version, "right version"))
	return tr
}

function cell(content, className = "") {
	const td = document.createElement("td")
	td.className = className
	td.append(content)
	return td
}

function button(id, text, className, click) {
	const b = document.createElement("button")
	Object.assign(b, { id, type: "button", className, textContent: text, onclick: click })
	return b
}

// edit puts a field in the place of the price. Enter saves, Escape and leaving the field do not.
function edit(p, place) {
	const input = document.createElement("input")
	Object.assign(input, { value: money(p.price), inputMode: "decimal", ariaLabel: `New price of ${p.name}`, autocomplete: "off" })
	place.replaceWith(input)
	input.select()
	let done = false
	const close = (focus) => {
		if (!done) {
			done = true // show takes the field away, which makes it lose the focus once more
			show()
			focus && $(`price-${p.id}`)?.focus()
		}
	}
	input.onblur = () => close(false)
	input.onkeydown = (event) => {
		if (event.key === "Escape") {
			close(true)
		}
		if (event.key === "Enter") {
			event.preventDefault() // the button gets the focus before the key would press it
			const price = cents(input.value)
			if (price === null) {
				say(`${input.value} is no price: want one as 19.95`, "bad")
				return
			}
			close(true)
			save({ ...p, price })
		}
	}
}

async function save(p) {
	choose(p)
	try {
		const response = await fetch(`/products/${p.id}`, { method: "PUT", body: JSON.stringify(p) })
		const answer = await response.json()
		const node = response.headers.get("Node")
		if (response.status === 409) {
			replace(answer.current)
			say(`Not saved: somebody else has changed it, it costs ${money(answer.current.price)} now.`, "bad")
			return
		}
		if (!response.ok) {
			throw new Error(answer.error)
		}
		replace(answer)
		const unconfirmed = response.headers.get("Unconfirmed")
		say(unconfirmed ? `Saved, but: ${unconfirmed}` : `Saved by node ${node}: version ${answer.version}.`, unconfirmed ? "bad" : "good")
		await ask(answer)
	} catch (error) {
		say(`Perhaps not saved: ${error.message}`, "bad")
	}
}

function replace(p) {
	products = products.map((old) => (old.id === p.id ? p : old))
	choose(p)
}

function choose(p) {
	asked = p ?? null
	$("ask").disabled = !p
	$("asked").textContent = p ? `${p.name} (${p.id}). Each answer comes on a connection of its own, so from any node.` : "There is no product."
	if (!$("products").querySelector("input")) {
		show()
	}
	return p
}

// ask asks for a product many times. With "close" each connection ends with its answer, so the kernel chooses anew.
async function ask(p) {
	const list = $("answers")
	const answers = Array.from({ length: times }, () => list.ownerDocument.createElement("li"))
	list.replaceChildren(...answers)
	await Promise.all(answers.map((li) => askOnce(p.id, li)))
}

async function askOnce(id, li) {
	try {
		const response = await fetch(`/products/${id}?close`)
		const answer = await response.json()
		if (!response.ok) {
			throw new Error(answer.error)
		}
		const node = response.headers.get("Node")
		const source = response.headers.get("Source")
		li.dataset.node = node
		li.dataset.price = answer.price
		const chip = document.createElement("span")
		chip.className = "chip"
		chip.style.setProperty("--hue", (Number(node) * 137) % 360)
		chip.textContent = `node ${node}`
		li.append(chip, part(money(answer.price), "cost"), part(`v${answer.version}`, "soft"),
			part(source === "cache" ? `cache, ${age(response.headers.get("Value-Age"))} old` : "database", source))
		$("kill").textContent = `kill -9 ${response.headers.get("Worker")}    # node ${node}`
	} catch (error) {
		li.append(part(`no answer: ${error.message}`, "bad"))
	}
}

function part(text, className) {
	const span = document.createElement("span")
	span.className = className
	span.textContent = text
	return span
}

function age(seconds) {
	return seconds < 1 ? `${Math.round(seconds * 1000)} ms` : `${Number(seconds).toFixed(1)} s`
}

function say(text, kind = "") {
	$("state").textContent = text
	$("state").dataset.kind = kind
}

function money(price) {
	return `${Math.floor(price / 100)}.${String(price % 100).padStart(2, "0")}`
}

// cents reads a price exactly, without a detour over fractions.
function cents(text) {
	const match = /^\s*(\d{1,9})(?:[.,](\d{1,2}))?\s*$/.exec(text)
	return match ? Number(match[1]) * 100 + Number((match[2] ?? "").padEnd(2, "0")) : null
}
