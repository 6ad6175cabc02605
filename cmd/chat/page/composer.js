// Where a message is written.

const form = document.getElementById("composer")
const text = document.getElementById("text")
const left = document.getElementById("left")
const send = document.getElementById("send")
const tellLeft = 200 // characters

export function compose(say) {
	text.addEventListener("input", update)
	text.addEventListener("keydown", (event) => {
		if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
			event.preventDefault()
			form.requestSubmit()
		}
	})
	form.addEventListener("submit", (event) => {
		event.preventDefault()
		const message = text.value.trim()
		if (message) {
			text.value = ""
			update()
			say(message)
		}
		text.focus()
	})
	update()
}

// refill gives back what a node has refused, unless the reader writes something else already.
export function refill(message) {
	if (!text.value) {
		text.value = message
		update()
	}
}

export function focusComposer() {
	text.focus()
}

function update() {
	send.disabled = text.value.trim() === ""
	const rest = text.maxLength - text.value.length
	left.hidden = rest > tellLeft
	left.textContent = `${rest} left`
	text.style.height = "auto"
	text.style.height = `${text.scrollHeight + text.offsetHeight - text.clientHeight}px`
}
