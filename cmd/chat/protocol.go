package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The protocol between browser and node: JSON, one object a WebSocket message. The browser says hello first and is
// welcomed; from then on both say what they have to.

// The bounds of what people write, in characters. The page counts UTF-16 units, which are never fewer.
const (
	maxName = 40
	maxText = 2000
)

// maxRequest bounds a message of a browser, in bytes: text with every character escaped, and what is around it.
const maxRequest = 12*(maxText+maxName) + 1024

// maxHello bounds the first one, which also tells what the browser has.
func maxHello(keep int) int64 {
	const maxRef = 128
	return maxRequest + int64(keep)*maxRef
}

// request is a message of a browser.
type request struct {
	Type string `json:"type"` // hello, name, say
	ID   string `json:"id"`   // of say
	Name string `json:"name"` // of hello and name
	Text string `json:"text"` // of say
	Have []ref  `json:"have"` // of hello: the messages that it has
}

// The answers of a node.
type (
	// welcome brings a browser up to date.
	welcome struct {
		Type     string    `json:"type"`
		Node     int       `json:"node"`
		PID      int       `json:"pid"`
		Keep     int       `json:"keep"`     // how many messages are kept
		Messages []message `json:"messages"` // that the browser does not have
		Gone     []string  `json:"gone"`     // that it has, and no node
	}
	// delivery is a new message, or a message that has got another place.
	delivery struct {
		Type    string  `json:"type"`
		Message message `json:"message"`
	}
	// receipt says that every node has the message: "ack", or with a reason that it was not accepted: "refused".
	receipt struct {
		Type string `json:"type"`
		ID   string `json:"id"`
		Why  string `json:"why,omitempty"`
	}
	// crowd is the people who are online.
	crowd struct {
		Type   string   `json:"type"`
		People []person `json:"people"`
	}
)

var idPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{16,64}$`)

// errID is fatal for the connection: no answer could name such a message.
var errID = errors.New("id must be 16 to 64 letters, digits, - and _")

func checkID(id string) error {
	if !idPattern.MatchString(id) {
		return errID
	}
	return nil
}

// cleanText returns the text as it is kept, or why it is not.
func cleanText(text string) (clean, why string) {
	text = strings.TrimSpace(text)
	switch n := utf8.RuneCountInString(text); {
	case n == 0:
		return "", "it is empty"
	case n > maxText:
		return "", fmt.Sprintf("it has %d characters, more than %d", n, maxText)
	}
	return text, ""
}

// cleanName returns the name in one line, or why it cannot be one.
func cleanName(name string) (string, error) {
	name = strings.Join(strings.Fields(name), " ")
	n := utf8.RuneCountInString(name)
	switch {
	case n == 0:
		return "", errors.New("name is empty")
	case n > maxName:
		return "", fmt.Errorf("name has %d characters, more than %d", n, maxName)
	case strings.ContainsFunc(name, unicode.IsControl):
		return "", errors.New("name has control characters")
	}
	return name, nil
}
