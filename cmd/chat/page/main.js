// Chat in a browser: it sends what is written to the node that it is on, and shows what the nodes tell.

import { compose, focusComposer, refill } from "./composer.js"
import { Connection } from "./connection.js"
import { Log } from "./log.js"
import { askName, storedName } from "./name.js"
import { Outbox } from "./outbox.js"
import { showPeople } from "./people.js"

const $ = (id) => document.getElementById(id)
const log = new Log({ list: $("log"), scroller: $("scroller"), newer: $("newer"), empty: $("empty") })
const outbox = new Outbox()
const sent = sentIDs()
let name = storedName()
let node = null // that we are on, or were on last
let greeted = "" // the name that this connection's node knows
let unread = 0

const connection = new Connection({
	greet,
	receive,
	tell: showState,
})
outbox.use(connection)
compose(say)
pendAll()
$("me").addEventListener("click", () => askName(name, rename))
$("people-toggle").addEventListener("click", togglePeople)
document.addEventListener("visibilitychange", () => countUnread(0))
if (name) {
	enter()
} else {
	askName("", rename)
}

function enter() {
	$("my-name").textContent = name
	$("me").hidden = false
	connection.open()
	focusComposer()
}

function rename(chosen) {
	const joined = name !== ""
	name = chosen
	if (!joined) {
		enter()
		return
	}
	$("my-name").textContent = name
	tellName()
	focusComposer()
}

function greet() {
	greeted = name
	return { type: "hello", name, have: log.known() }
}

// tellName tells a new name. Without a connection the next greeting does, or the welcome when it was too late for that.
function tellName() {
	if (greeted !== name && connection.send({ type: "name", name })) {
		greeted = name
	}
}

function say(text) {
	const id = newID()
	sent.add(id)
	log.pend(id, name, text)
	outbox.add(id, text)
}

function receive(message) {
	switch (message.type) {
	case "welcome":
		welcome(message)
		break
	case "message":
		log.add(message.message, sent.has(message.message.id))
		if (document.visibilityState === "hidden") {
			countUnread(unread + 1)
		}
		break
	case "ack":
		outbox.settle(message.id)
		log.settle(message.id)
		break
	case "refused":
		refuse(message)
		break
	case "online":
		showPeople(message.people, name)
		break
	}
}

// welcome makes the page show what the node has: neither more nor less, but for what it is still to acknowledge.
function welcome({ node: id, pid, keep, messages, gone }) {
	log.welcome({ messages, gone, keep, isMine: (message) => sent.has(message.id) })
	pendAll()
	if (node !== null && node !== id) {
		log.note(`The connection to node ${node} was lost. You are on node ${id} now.`)
	}
	node = id
	$("kill-node").textContent = `node ${id}`
	$("kill-command").textContent = `kill -9 ${pid}`
	tellName()
	outbox.resend()
}

function pendAll() {
	outbox.entries().forEach(([id, text]) => log.pend(id, name, text))
}

function refuse({ id, why }) {
	const text = outbox.entries().find(([pending]) => pending === id)?.[1]
	outbox.settle(id)
	log.drop(id)
	log.note(`Not sent: ${why}.`)
	refill(text ?? "")
}

function showState(state) {
	$("state").dataset.state = state
	const connected = state === "connected"
	$("state-words").textContent = connected ? "Connected to" : node === null ? "Connecting…" : "Reconnecting…"
	$("state-node").textContent = connected ? `node ${node}` : ""
	$("kill").hidden = !connected // the process may be gone, and its number another's
}

function togglePeople() {
	const open = document.body.classList.toggle("show-people")
	$("people-toggle").setAttribute("aria-expanded", String(open))
}

function countUnread(count) {
	unread = count
	document.title = count > 0 ? `(${count}) chat` : "chat"
}

function newID() {
	const bytes = crypto.getRandomValues(new Uint8Array(12))
	return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_")
}

// sentIDs remembers which messages are this tab's own, through a reload of the page.
function sentIDs() {
	const key = "chat.sent"
	const bound = 1000
	let ids = []
	try {
		ids = [...JSON.parse(sessionStorage.getItem(key) ?? "[]")]
	} catch {
		// Storage is off, or what is stored there is not ours.
	}
	return {
		has: (id) => ids.includes(id),
		add(id) {
			ids = [...ids, id].slice(-bound)
			try {
				sessionStorage.setItem(key, JSON.stringify(ids))
			} catch {
				// Storage is off or full: after a reload they look like anybody's.
			}
		},
	}
}
