// What has been sent and not acknowledged. It outlives a reload of the page, in the tab's own storage.

const storageKey = "chat.outbox"
const patience = 10_000 // milliseconds in which a node that lives acknowledges

export class Outbox {
	#pending = new Map() // id to text, in the order in which they were written
	#connection
	#timer = 0

	constructor() {
		try {
			this.#pending = new Map(JSON.parse(sessionStorage.getItem(storageKey) ?? "[]"))
		} catch {
			// What is stored there is not ours, or storage is off: begin with nothing.
		}
	}

	use(connection) {
		this.#connection = connection
	}

	has(id) {
		return this.#pending.has(id)
	}

	entries() {
		return [...this.#pending]
	}

	// add sends a message, and sends it again on each new connection until it is settled: the id, made here, tells the
	// nodes that it is the same one.
	add(id, text) {
		this.#pending.set(id, text)
		this.#changed()
		this.#send(id, text)
	}

	resend() {
		for (const [id, text] of this.#pending) {
			this.#send(id, text)
		}
		this.#watch()
	}

	settle(id) {
		this.#pending.delete(id)
		this.#changed()
	}

	#send(id, text) {
		this.#connection.send({ type: "say", id, text })
	}

	#changed() {
		try {
			sessionStorage.setItem(storageKey, JSON.stringify(this.entries()))
		} catch {
			// Storage is off or full: then a reload forgets them.
		}
		this.#watch()
	}

	// watch gives up the connection when nothing is acknowledged on it any more.
	#watch() {
		clearTimeout(this.#timer)
		if (this.#pending.size > 0) {
			this.#timer = setTimeout(() => this.#connection.connected && this.#connection.renew(), patience)
		}
	}
}
