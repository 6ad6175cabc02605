// A WebSocket to whichever node the kernel chooses, opened again whenever it ends.

const firstDelay = 100 // milliseconds
const longestDelay = 4000
const welcomeTimeout = 5000 // a node that hangs takes connections, as the kernel does that, and says nothing on them

export class Connection {
	#socket = null
	#timer = 0 // until the next attempt; 0 while there is one
	#hung = 0 // until an attempt is given up
	#attempts = 0
	#welcomed = false
	#greet
	#receive
	#tell

	// greet returns what is sent first on each connection, receive gets what the node says, and tell gets the state:
	// "connecting", "connected", "waiting".
	constructor({ greet, receive, tell }) {
		this.#greet = greet
		this.#receive = receive
		this.#tell = tell
		addEventListener("online", () => this.retry())
		addEventListener("pageshow", () => this.retry())
		document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.retry())
	}

	get connected() {
		return this.#welcomed
	}

	open() {
		clearTimeout(this.#timer)
		this.#timer = 0
		clearTimeout(this.#hung)
		this.#hung = setTimeout(() => this.renew(), welcomeTimeout)
		this.#tell("connecting")
		const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/socket`)
		this.#socket = socket
		socket.onopen = () => socket.send(JSON.stringify(this.#greet()))
		socket.onmessage = (event) => socket === this.#socket && this.#take(JSON.parse(event.data))
		socket.onclose = () => socket === this.#socket && this.#lost()
	}

	// send tells whether there was a connection to send on.
	send(message) {
		if (!this.#welcomed) {
			return false
		}
		this.#socket.send(JSON.stringify(message))
		return true
	}

	// renew gives up a connection on which nothing comes any more.
	renew() {
		const old = this.#socket
		this.#lost()
		old?.close()
	}

	// retry does not wait for the next attempt, when that is what happens.
	retry() {
		if (this.#timer) {
			this.open()
		}
	}

	#take(message) {
		if (message.type === "welcome") {
			clearTimeout(this.#hung)
			this.#welcomed = true
			this.#attempts = 0
			this.#receive(message)
			this.#tell("connected")
			return
		}
		this.#receive(message)
	}

	#lost() {
		clearTimeout(this.#hung)
		clearTimeout(this.#timer)
		this.#socket = null
		this.#welcomed = false
		// Half of the delay is by chance: all browsers of a node that died come back, and not all at once.
		const delay = Math.min(firstDelay * 2 ** this.#attempts++, longestDelay)
		this.#timer = setTimeout(() => this.open(), delay * (0.5 + Math.random() / 2))
		this.#tell("waiting")
	}
}
