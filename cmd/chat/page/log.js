// The conversation, in the order that the nodes agree on: by time, then by node.

import { chip, element, hue } from "./element.js"

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" })
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" })
const last = Number.MAX_SAFE_INTEGER // the place of what no node has taken yet
const groupFor = 5 * 60 * 1_000_000 // microseconds within which messages of one person stand together

export class Log {
	#list
	#scroller
	#newer
	#empty
	#entries = [] // in order
	#byID = new Map()
	#keep = 1000
	#top = 0 // where the scroller was
	#stick = true // the end is in view, and stays there whatever happens to sizes

	constructor({ list, scroller, newer, empty }) {
		this.#list = list
		this.#scroller = scroller
		this.#newer = newer
		this.#empty = empty
		newer.addEventListener("click", () => this.toEnd())
		scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true })
		const observer = new ResizeObserver(() => this.#stick && this.toEnd())
		observer.observe(scroller)
		observer.observe(list)
	}

	// known returns what the nodes have told: a node sends what is not among it.
	known() {
		return this.#entries.filter((entry) => entry.id && entry.at !== last).map(({ id, at, node }) => ({ id, at, node }))
	}

	// welcome takes what was missed, and lets go what died with its node before any other had it. It is one change, so
	// that it is not read out.
	welcome({ messages, gone, keep, isMine }) {
		this.#keep = keep
		this.#scroller.setAttribute("aria-busy", "true")
		this.#change(() => {
			gone.map((id) => this.#byID.get(id)).forEach((entry) => entry && this.#remove(entry))
			messages.forEach((message) => this.#put(message, isMine(message)))
		})
		this.#scroller.removeAttribute("aria-busy")
	}

	// add takes a message of a node. One that is there already gets the place that the nodes agree on.
	add(message, mine) {
		this.#change(() => this.#put(message, mine))
	}

	// pend shows a message as one that is not acknowledged, at the end as long as no node has taken it.
	pend(id, name, text) {
		if (!this.#byID.has(id)) {
			this.#change(() => this.#put({ id, at: last, node: 0, name, text }, true), true)
		}
		this.#byID.get(id).element.classList.add("pending")
	}

	settle(id) {
		this.#byID.get(id)?.element.classList.remove("pending")
	}

	drop(id) {
		const entry = this.#byID.get(id)
		if (entry) {
			this.#change(() => this.#remove(entry))
		}
	}

	// note tells something of this browser's own, after all that is there now.
	note(text) {
		const before = this.#entries.findLast((entry) => entry.at !== last)
		const li = element("li", "note", text)
		this.#change(() => this.#insert({ at: before?.at ?? 0, node: before?.node ?? 0, element: li }))
	}

	toEnd() {
		this.#scroller.scrollTop = this.#scroller.scrollHeight
		this.#top = this.#scroller.scrollTop
		this.#newer.hidden = true
		this.#stick = true
	}

	// change keeps the end in view if it was, and else the place at which the reader is.
	#change(f, toEnd = false) {
		this.#scrolled() // its event may still be on the way
		const count = this.#entries.length
		f()
		this.#empty.hidden = this.#entries.length > 0
		if (toEnd || this.#stick) {
			this.toEnd()
		} else if (this.#entries.length > count) {
			this.#newer.hidden = false
		}
	}

	// scrolled also comes when the reader has not scrolled, but sizes have changed: that never unsticks.
	#scrolled() {
		const up = this.#scroller.scrollTop < this.#top
		this.#top = this.#scroller.scrollTop
		if (this.#atEnd()) {
			this.#stick = true
			this.#newer.hidden = true
		} else if (up) {
			this.#stick = false
		}
	}

	#atEnd() {
		const { scrollHeight, scrollTop, clientHeight } = this.#scroller
		return scrollHeight - scrollTop - clientHeight < 40
	}

	#put(message, mine) {
		const there = this.#byID.get(message.id)
		if (there) {
			if (there.at === message.at && there.node === message.node) {
				return
			}
			this.#remove(there)
		}
		const entry = { ...message, element: render(message, mine) }
		entry.element.classList.toggle("pending", there?.element.classList.contains("pending") ?? false)
		this.#byID.set(message.id, entry)
		this.#insert(entry)
		while (this.#entries.length > this.#keep) {
			this.#remove(this.#entries[0])
		}
	}

	#insert(entry) {
		const i = this.#entries.findLastIndex((other) => !before(entry, other)) + 1
		this.#list.insertBefore(entry.element, this.#entries[i]?.element ?? null)
		this.#entries.splice(i, 0, entry)
		this.#group(i)
		this.#group(i + 1)
	}

	#remove(entry) {
		const i = this.#entries.indexOf(entry)
		this.#entries.splice(i, 1)
		this.#byID.delete(entry.id)
		entry.element.remove()
		this.#group(i)
	}

	// group lets the name away where the same person goes on.
	#group(i) {
		const entry = this.#entries[i]
		const above = this.#entries[i - 1]
		entry?.element.classList.toggle("continued", Boolean(above?.id) && above.name === entry.name &&
			above.element.classList.contains("mine") === entry.element.classList.contains("mine") &&
			(entry.at === last || entry.at - above.at < groupFor))
	}
}

function before(a, b) {
	return a.at !== b.at ? a.at < b.at : a.node < b.node
}

function render(message, mine) {
	const li = element("li", mine ? "message mine" : "message")
	const name = element("bdi", "name", message.name)
	const avatar = element("span", "avatar", [...message.name][0]?.toUpperCase())
	avatar.setAttribute("aria-hidden", "true")
	avatar.style.setProperty("--hue", hue(message.name))
	const text = element("p", "text", message.text)
	text.dir = "auto"
	const meta = element("span", "meta")
	if (message.at === last) {
		meta.append(element("span", "sending", "sending…"))
	} else {
		meta.append(chip(message.node), time(message.at), element("span", "sending", "sending…"))
		if (mine) {
			const tick = element("span", "tick", "✓")
			tick.title = "Acknowledged: every node has it"
			meta.append(tick)
		}
	}
	const bubble = element("div", "bubble")
	bubble.append(name, text, meta)
	li.append(avatar, bubble)
	return li
}

function time(at) {
	const date = new Date(at / 1000)
	const time = element("time", "", clock.format(date))
	time.dateTime = date.toISOString()
	time.title = day.format(date)
	return time
}
