// Who is online, on which node.

import { chip, element, hue } from "./element.js"

export function showPeople(people, me) {
	const list = document.getElementById("people-list")
	list.replaceChildren(...people.map((person) => {
		const li = element("li")
		const avatar = element("span", "avatar", [...person.name][0]?.toUpperCase())
		avatar.setAttribute("aria-hidden", "true")
		avatar.style.setProperty("--hue", hue(person.name))
		const name = element("bdi", "name", person.name)
		name.title = person.name
		const nodes = element("span", "nodes")
		nodes.append(...person.nodes.map(chip))
		if (person.name === me) {
			nodes.append(element("span", "you", "you"))
		}
		li.append(avatar, name, nodes)
		return li
	}))
	document.getElementById("people-count").textContent = people.length
	document.getElementById("people-count-short").textContent = people.length
}
