// The reader's own name: each tab has its own, and a new tab begins with the one chosen last.

const key = "chat.name"

export function storedName() {
	try {
		return sessionStorage.getItem(key) ?? localStorage.getItem(key) ?? ""
	} catch {
		return "" // storage is off
	}
}

function store(name) {
	try {
		sessionStorage.setItem(key, name)
		localStorage.setItem(key, name)
	} catch {
		// Storage is off: the name is asked for again after a reload.
	}
}

// askName shows the dialog, and calls done with a name when one was chosen. Without an old name there is no way around.
export function askName(old, done) {
	const dialog = document.getElementById("who")
	const input = document.getElementById("name")
	const button = dialog.querySelector("button")
	input.value = old
	button.textContent = old ? "Change" : "Join"
	dialog.oncancel = (event) => old || event.preventDefault()
	document.getElementById("who-form").onsubmit = (event) => {
		event.preventDefault()
		const name = input.value.trim().replace(/\s+/gu, " ")
		if (!name) {
			input.value = ""
			input.reportValidity()
			return
		}
		store(name)
		dialog.close()
		done(name)
	}
	dialog.showModal()
	input.select()
}
